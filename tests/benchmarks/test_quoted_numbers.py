"""The numbers that README and docs quote are those of the committed results."""

from __future__ import annotations

import re
import shutil
import statistics
from pathlib import Path

import pytest

from benchmarks.claims import cells as cell_files
from benchmarks.claims import declared
from benchmarks.claims.declared import PLAIN, Rows
from benchmarks.claims.page import CONFIRMED_FROM, rows_of, write_page
from benchmarks.claims.pairs import distance, won

ROOT = Path(__file__).resolve().parents[2]
LEVELS = {"5 %": "95 %", "3 %": "97 %", "1 %": "99 %"}


@pytest.fixture(scope="module")
def confirmed() -> Rows:
    contents = cell_files.read_all(cell_files.RESULTS, "coloured_digits", "small")
    later = [content for content in contents if content["seed"] >= CONFIRMED_FROM]
    return rows_of(declared.load("coloured_digits"), later)


def lines(page: str, first_cell: str) -> list[list[str]]:
    """Returns the cells of the table whose head begins with a cell, without the head."""
    text = (ROOT / page).read_text(encoding="utf-8").replace("*", "")
    table = text[text.index(f"| {first_cell} |") :].partition("\n\n")[0]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in table.splitlines()][
        2:
    ]


def test_readme_has_the_means_of_the_confirmation(confirmed):
    names = {
        "without Dia": ("vanilla", PLAIN),
        "`--dia-rule feedback`": ("feedback", PLAIN),
        "`--dia-rule paper`, corrected (8 seeds)": ("paper", "drs"),
    }
    table = lines("README.md", "green is 5.0 % of the data")
    assert [line[0] for line in table] == list(names)
    for name, *shown in table:
        rows = confirmed[("95 %", *names[name])]
        assert len(rows) == (8 if "8 seeds" in name else 16)
        columns = ("share", "minor_recall", "major_recall", "fid")
        for text, column, scale in zip(shown, columns, (100, 1, 1, 1), strict=True):
            values = [scale * float(row[column] or 0.0) for row in rows.values()]
            digits = len(re.match(r"[\d.]+", text)[0].partition(".")[2])
            mean, deviation = statistics.fmean(values), statistics.stdev(values)
            assert text.removesuffix(" %") == f"{mean:.{digits}f} ± {deviation:.{digits}f}"


@pytest.mark.parametrize("level", LEVELS)
def test_dia_md_counts_the_pairs_of_the_confirmation(confirmed, level):
    (line,) = (one for one in lines("docs/dia.md", "rare colour") if one[0].startswith(level))
    mine = confirmed[LEVELS[level], "feedback", PLAIN]
    theirs = confirmed[LEVELS[level], "vanilla", PLAIN]
    both = [(mine[seed], theirs[seed]) for seed in mine if seed in theirs]
    counts = [
        sum(won(one, two) for one, two in both),
        sum(one["minor_recall"] > two["minor_recall"] for one, two in both),
        sum(
            distance(one["share"], one["truth"]) < distance(two["share"], two["truth"])
            for one, two in both
        ),
        sum(one["fid"] <= 1.05 * two["fid"] for one, two in both),
        sum(one["major_recall"] >= two["major_recall"] - 0.03 for one, two in both),
    ]
    assert line[1:] == [f"{counts[0]} of {len(both)}", *map(str, counts[1:])]


def test_the_page_of_results_is_that_of_the_committed_cells(tmp_path):
    shutil.copytree(ROOT / "benchmarks" / "pictures", tmp_path / "pictures")
    write_page(tmp_path / "RESULTS.md", cell_files.RESULTS, draw=False)
    written = (tmp_path / "RESULTS.md").read_text(encoding="utf-8")
    assert written == (ROOT / "benchmarks" / "RESULTS.md").read_text(encoding="utf-8")
