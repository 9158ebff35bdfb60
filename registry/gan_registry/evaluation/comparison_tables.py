"""A comparison as tables: what differs and nothing else; groups are columns."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from gan_registry.evaluation.comparison import JOINT, Cell, Comparison, Row
from gan_registry.evaluation.metric_directions import with_arrow
from gan_registry.evaluation.tables import number
from gan_registry.files import atomic_write
from gan_registry.formatting import DASH, align, percent

_GROUPS, _SHARE = "groups/", "share_"


@dataclass(frozen=True)
class ComparedTable:
    """A table of numbers.

    Attributes:
        head: Headings of the columns, the first that of the names of rows.
        rows: Texts, as many as there are headings.
        best: (row, column) of the cells that are best.
        left_out: How many columns there was no room for.
    """

    head: Sequence[str]
    rows: Sequence[Sequence[str]]
    best: frozenset[tuple[int, int]]
    left_out: int = 0


def compared_tables(comparison: Comparison, width: int | None = None) -> list[ComparedTable]:
    """Returns the table of metrics and that of groups, each if there is something to say.

    Args:
        comparison: The runs.
        width: Characters of a line, beyond which no more groups are shown; None shows all, and
            names the number in each row.
    """
    metrics = [row for row in comparison.differing if not row.name.startswith(_GROUPS)]
    made = [_table_of_metrics(comparison, metrics)] if metrics else []
    shown: dict[str, dict[str, Row]] = {}
    for row in comparison.differing:
        if row.name.startswith(_GROUPS):
            group, _, key = row.name.removeprefix(_GROUPS).rpartition("/")
            shown.setdefault(key, {})[group] = row
    return [*made, _table_of_groups(comparison, shown, width)] if shown else made


def comparison_text(comparison: Comparison, bold: bool = False, width: int | None = None) -> str:
    """Writes a comparison for a terminal.

    Args:
        comparison: The runs.
        bold: Set off the best cells, with the terminal's codes.
        width: As in :func:`compared_tables`.
    """
    parts = [f"all: {said}"] if (said := said_of_all(comparison)) else []
    for table in compared_tables(comparison, width):
        chosen = {(row + 1, column) for row, column in table.best}
        lines = align([table.head, *table.rows], chosen if bold else ())
        if table.left_out:
            lines.append(f"({table.left_out} more groups, which differ less: --csv, --html)")
        parts.append("\n".join(lines))
    if same := len(comparison.rows) - len(comparison.differing):
        they = "1 number is" if same == 1 else f"{same} numbers are"
        parts.append(f"({they} the same in all columns)")
    return "\n\n".join([*parts, *(["\n".join(comparison.findings)] if comparison.findings else [])])


def said_of_all(comparison: Comparison) -> str:
    """Returns what all columns have in common, in the order of their labels."""
    parts = next(iter(comparison.columns)).split(JOINT)
    return ", ".join(parts[i] for i in comparison.common)


def write_csv(comparison: Comparison, path: Path) -> None:
    """Writes every number, a line for each and each column: also what is the same in all of them.

    Raises:
        UserError: The file cannot be written.
    """
    with atomic_write(path) as temporary, temporary.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(
            [
                "run",
                "config",
                "sampler",
                "steps",
                "group",
                "number",
                "direction",
                "mean",
                "std",
                "n",
            ]
        )
        for row in comparison.rows:
            name, group = _name(row), ""
            if row.name.startswith(_GROUPS):
                group, _, name = name.rpartition("/")
            for (label, runs), cell in zip(comparison.columns.items(), row.cells, strict=True):
                of_run = [runs[0].get(key) for key in ("config", "sampler", "steps")]
                numbers = [cell.mean, cell.deviation, len(cell.values)]
                writer.writerow([label, *of_run, group, name, row.direction or "", *numbers])


def _table_of_metrics(comparison: Comparison, rows: Sequence[Row]) -> ComparedTable:
    return ComparedTable(
        ["", *comparison.names],
        [[with_arrow(_name(row), row.direction), *_texts(comparison, row)] for row in rows],
        frozenset((place, i + 1) for place, row in enumerate(rows) for i in row.best),
    )


def _name(row: Row) -> str:
    """Returns "fid" for "metrics/fid" and "fid_drs" for "metrics_drs/fid", as groups have it."""
    if row.name.startswith(_GROUPS):
        return row.name.removeprefix(_GROUPS)
    section, _, name = row.name.partition("/")
    kind = section.removeprefix("metrics").removeprefix("_")
    return f"{name}_{kind}" if name and kind else name or section


def _table_of_groups(
    comparison: Comparison, shown: Mapping[str, Mapping[str, Row]], width: int | None
) -> ComparedTable:
    """Returns a table with a block of lines for each number, a line for each column of runs."""
    names, longest = comparison.names, max(len(with_arrow(key, "up")) for key in shown)
    groups = list(dict.fromkeys(group for rows in shown.values() for group in rows))
    lines: list[tuple[str, list[str]]] = []
    chosen = set[tuple[int, int]]()
    for key, rows in shown.items():
        arrow = with_arrow(key, next(iter(rows.values())).direction)
        texts = {group: _texts(comparison, row) for group, row in rows.items()}
        for i, name in enumerate(names):
            cells = [texts[group][i] if group in texts else DASH for group in groups]
            if all(cell == DASH for cell in cells):
                continue
            chosen |= {
                (len(lines), c) for c, g in enumerate(groups) if g in rows and i in rows[g].best
            }
            lines.append((f"{arrow:{longest}}  {name}", cells))
            if width is not None:
                arrow = ""
    spreads = [max(_spread(rows[g]) for rows in shown.values() if g in rows) for g in groups]
    widths = [max(len(g), *(len(cells[c]) for _, cells in lines)) for c, g in enumerate(groups)]
    room = None if width is None else width - max(len(head) for head, _ in lines)
    kept = _that_fit(spreads, widths, room)
    return ComparedTable(
        ["group", *(groups[c] for c in kept)],
        [[head, *(cells[c] for c in kept)] for head, cells in lines],
        frozenset((line, kept.index(c) + 1) for line, c in chosen if c in kept),
        len(groups) - len(kept),
    )


def _that_fit(spreads: Sequence[float], widths: Sequence[int], room: int | None) -> list[int]:
    """Returns the numbers of the columns for which there is room: those that differ most."""
    if room is None:
        return list(range(len(widths)))
    fitting = list[int]()
    for column in sorted(range(len(widths)), key=spreads.__getitem__, reverse=True):
        room -= 2 + widths[column]
        if room < 0 and fitting:
            break
        fitting.append(column)
    return sorted(fitting)


def _spread(row: Row) -> float:
    """Returns how far the columns lie apart, relative to their size."""
    means = [cell.mean for cell in row.cells if cell.mean is not None]
    size = max(map(abs, means), default=0.0)
    return (max(means) - min(means)) / size if size else 0.0


def _texts(comparison: Comparison, row: Row) -> list[str]:
    share, texts = row.name.rpartition("/")[2].startswith(_SHARE), list[str]()
    for cell, runs in zip(row.cells, comparison.columns.values(), strict=True):
        text = mean_and_deviation(cell, share)
        all_have_it = len(cell.values) in (0, len(runs))
        texts.append(text if all_have_it else f"{text} (n={len(cell.values)})")
    return texts


def mean_and_deviation(cell: Cell, share: bool = False) -> str:
    """Writes the mean, with ± the sample standard deviation where there are several values.

    Args:
        cell: The values.
        share: Write them in percent.
    """
    write = percent if share else number
    if cell.mean is None:
        return DASH
    if cell.deviation is None:
        return write(cell.mean)
    return f"{write(cell.mean)} ± {write(cell.deviation)}"
