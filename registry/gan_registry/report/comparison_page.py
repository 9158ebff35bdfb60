"""Several runs side by side as a page."""

from __future__ import annotations

from gan_registry.evaluation.comparison import Comparison
from gan_registry.evaluation.comparison_tables import compared_tables, said_of_all
from gan_registry.report.document import Block, Column, Report, Table, Text


def comparison_page(comparison: Comparison) -> Report:
    """Returns the page of a comparison: what was sick, then all that differs, groups as columns."""
    report = Report("Runs side by side", said_of_all(comparison))
    if comparison.findings:
        said = Text("\n\n".join(comparison.findings), "warning")
        report.add_section("Signs of sick training", said, order=10, anchor="sick")
    tables: list[Block] = [
        Table(
            [table.head[0], *(Column(title, align="right") for title in table.head[1:])],
            [
                [f"{cell} ✓" if (line, column) in table.best else cell
                 for column, cell in enumerate(cells)]
                for line, cells in enumerate(table.rows)
            ],
            "Mean ± standard deviation over seeds. ↑: more is better; ↓: less is better; ✓: best.",
        )
        for table in compared_tables(comparison)
    ]  # fmt: skip
    shown = tables or [Text("These runs differ in no number.", "note")]
    report.add_section("What differs", *shown, order=20, anchor="differences")
    return report
