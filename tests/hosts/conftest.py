"""Helpers beside the tests can be imported, also by the processes that hosts start."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
