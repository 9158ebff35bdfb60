"""Generated cases, thousands of them, of what must never end in a traceback, a hang or half a file.

`pytest tests/fuzz` checks the same few of each target every time; `python -m tests.fuzz` goes on
for as long as it is told to, with other cases for each seed.
"""

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]

# For `python -m tests.fuzz`, which no conftest.py prepares.
for _folder in (ROOT / "tests" / "helpers",):
    if str(_folder) not in sys.path:
        sys.path.insert(0, str(_folder))
