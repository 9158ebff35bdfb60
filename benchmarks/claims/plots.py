"""Pictures of tables: for each case and column, a mark for each seed and a line at the mean."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from benchmarks.claims.declared import PLAIN, Column, Rows


def marks(
    columns: Sequence[Column], truth: str = "", log: Sequence[str] = ()
) -> Callable[[Rows, list[dict[str, Any]], Path], None]:
    """Returns a function that draws columns of a claim's table.

    Args:
        columns: Which, a picture each.
        truth: The key of what the first column should be, drawn as a dashed line.
        log: Keys of columns whose axis is logarithmic.
    """

    def plot(rows: Rows, contents: list[dict[str, Any]], path: Path) -> None:
        from matplotlib.figure import Figure
        from matplotlib.ticker import LogLocator, NullFormatter, StrMethodFormatter

        cases = list(dict.fromkeys(case for case, _, _ in rows))
        height = max(len({(method, kind) for _, method, kind in rows}) * 0.25 + 0.8, 1.6)
        figure = Figure((3 * len(columns) + 1, height * len(cases)), layout="constrained")
        axes = figure.subplots(len(cases), len(columns), squeeze=False, sharey="row")
        for line, case in zip(axes, cases, strict=True):
            shown = {key[1:]: by_seed for key, by_seed in rows.items() if key[0] == case}
            names = [method if kind == PLAIN else f"{method}, {kind}" for method, kind in shown]
            for axis, column in zip(line, columns, strict=True):
                for place, by_seed in enumerate(shown.values()):
                    found = [
                        x for row in by_seed.values() if (x := row.get(column.key)) is not None
                    ]
                    axis.plot(found, [place] * len(found), "o", alpha=0.5, markersize=4)
                    if found:
                        axis.plot([statistics.fmean(found)], [place], "k|", markersize=14)
                axis.set(xlabel=column.title, yticks=range(len(names)), yticklabels=names)
                if column.key in log:
                    axis.set_xscale("log")
                    axis.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
                    axis.xaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
                    axis.xaxis.set_minor_formatter(NullFormatter())
            line[0].invert_yaxis()
            goal = next(iter(next(iter(shown.values())).values())).get(truth)
            if goal is not None:
                line[0].axvline(goal, linestyle="--", color="grey")
            line[0].set_title(case, loc="left")
        figure.savefig(path, dpi=100)

    return plot
