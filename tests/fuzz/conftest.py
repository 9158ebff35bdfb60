"""Lets the tests here import `tests.fuzz`, as `python -m tests.fuzz` does."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
