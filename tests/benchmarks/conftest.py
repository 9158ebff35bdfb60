"""The benchmarks are not installed: they are imported from the checkout, where there is one."""

from __future__ import annotations

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]

if (ROOT / "benchmarks").is_dir():
    sys.path.append(str(ROOT))  # last: the installed packages go before those of the checkout
else:
    collect_ignore_glob = ["*"]
