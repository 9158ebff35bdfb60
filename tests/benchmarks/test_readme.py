"""benchmarks/README.md names all that can be run."""

from __future__ import annotations

import re
from pathlib import Path

from benchmarks.speed import BENCHMARKS

FOLDER = Path(__file__).resolve().parents[2] / "benchmarks"
TEXT = (FOLDER / "README.md").read_text(encoding="utf-8")


def test_every_measurement_of_speed_has_a_row():
    table = TEXT.partition("| name | what is measured |")[2].partition("\n\n")[0]
    assert set(re.findall(r"^\| `(\w+)` \|", table, re.MULTILINE)) == set(BENCHMARKS)


def test_every_claim_with_a_command_of_its_own_has_a_row():
    own = {
        path.stem
        for path in (FOLDER / "claims").glob("[a-z]*.py")
        if '__name__ == "__main__"' in path.read_text(encoding="utf-8")
    }
    assert set(re.findall(r"^\| `python -m benchmarks\.claims\.(\w+)`", TEXT, re.MULTILINE)) == own
