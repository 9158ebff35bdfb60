"""Lets the tests here import `tests.fuzz`, as `python -m tests.fuzz` does."""

import sys
from pathlib import Path

# At the end: the packages that are tested are those that are installed, not those beside the tests.
sys.path.append(str(Path(__file__).resolve().parents[2]))
