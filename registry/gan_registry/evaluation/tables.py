"""Results as text tables: of one run, and of several side by side."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from typing import Any

from gan_registry.report.formatting import format_cell

_BASE_COLUMNS = {
    "share_data": "data",
    "share_drawn": "drawn",
    "share_generated": "generated",
}


def result_table(result: Mapping[str, Any], max_rows: int = 12) -> str:
    """Writes what a run found as a table: a row a group, then the metrics.

    Args:
        result: The content of `result.json`.
        max_rows: With more groups than this, those furthest below their share in the data are
            shown.
    """
    lines = []
    groups: Mapping[str, Mapping[str, Any]] = result.get("groups") or {}
    if groups:
        columns = dict(_BASE_COLUMNS)
        for entry in groups.values():
            for key in entry:
                if key.startswith("share_generated_"):
                    columns[key] = f"generated, {key.removeprefix('share_generated_')}"
        columns = {
            k: v for k, v in columns.items() if any(g.get(k) is not None for g in groups.values())
        }
        extra = [k for k in ("ldrm", "ldrv", "score") if any(k in g for g in groups.values())]
        chosen = list(groups)
        if len(chosen) > max_rows:
            chosen.sort(key=lambda name: _shortfall(groups[name]))
            chosen = chosen[:max_rows]
        rows = [["group", *columns.values(), *extra]]
        rows += [
            [name, *(format_cell(groups[name].get(k), "percent") for k in columns)]
            + [number(groups[name].get(k)) for k in extra]
            for name in chosen
        ]
        lines += align(rows)
        if len(groups) > max_rows:
            lines.append(f"({len(groups) - max_rows} more groups in result.json)")
        lines.append("")
    kinds = {
        key.removeprefix("metrics").lstrip("_") or "plain": values
        for key, values in result.items()
        if key.startswith("metrics") and isinstance(values, Mapping)
    }
    names = list(dict.fromkeys(name for values in kinds.values() for name in values))
    rows = [["metric", *kinds]]
    rows += [[name, *(number(values.get(name)) for values in kinds.values())] for name in names]
    return "\n".join(lines + align(rows))


def compare_table(
    results: Sequence[Mapping[str, Any]], settings: Sequence[Mapping[str, Any]] | None = None
) -> str:
    """Writes runs side by side: runs that differ in the seed, and in nothing else, share a column.

    Cells are the mean over the seeds, with the standard deviation (n − 1) where there are several.

    Args:
        results: The content of each run's `result.json`.
        settings: What each run was made with, `SECTION.key` → value, without the seed. Settings in
            which the runs differ are written above the column.
    """
    settings = [{}] * len(results) if settings is None else settings
    values_of: dict[str, list[Any]] = {}
    for made in settings:
        for key, value in made.items():
            if value not in values_of.setdefault(key, []):
                values_of[key].append(value)
    differing = sorted(key for key, values in values_of.items() if len(values) > 1)
    columns: dict[str, list[Mapping[str, Any]]] = {}
    for result, made in zip(results, settings, strict=True):
        label = f"{result.get('config')} / {result.get('sampler')} / {result.get('steps')} steps"
        label += "".join(f" / {key}={made[key]}" for key in differing if key in made)
        # Two runs of one seed are no evidence of how little seeds matter.
        seed = result.get("seed")
        while seed is not None and any(r.get("seed") == seed for r in columns.get(label, ())):
            label += f" / seed {seed} again"
        columns.setdefault(label, []).append(result)
    flat = {label: [flatten(result) for result in runs] for label, runs in columns.items()}
    names = list(dict.fromkeys(key for runs in flat.values() for run in runs for key in run))
    rows = [["", *(f"{label} (n={len(runs)})" for label, runs in flat.items())]]
    for name in names:
        cells = []
        for runs in flat.values():
            values = [run[name] for run in runs if name in run]
            cell = mean_and_deviation(values)
            cells.append(cell if len(values) in (0, len(runs)) else f"{cell} (n={len(values)})")
        rows.append([name, *cells])
    return "\n".join(align(rows))


def flatten(result: Mapping[str, Any]) -> dict[str, float]:
    """Returns every measured number of a result: `metrics/…`, `metrics_NAME/…`, `groups/…`."""
    flat: dict[str, float] = {}

    def visit(prefix: str, value: Any) -> None:
        if isinstance(value, Mapping):
            for key, item in value.items():
                visit(f"{prefix}/{key}", item)
        elif isinstance(value, (int, float)) and not isinstance(value, bool):
            flat[prefix] = float(value)

    for key, value in result.items():
        if key.startswith("metrics") or key in ("groups", "seconds"):
            visit(key, value)
    return flat


def mean_and_deviation(values: Sequence[float]) -> str:
    """Writes the mean, with ± the sample standard deviation where there are several values."""
    if not values:
        return "–"
    mean = statistics.fmean(values)
    if len(values) == 1:
        return number(mean)
    return f"{number(mean)} ± {number(statistics.stdev(values))}"


def number(value: Any) -> str:
    """Writes a number with four significant digits; a dash for a missing one."""
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return "–"
    return f"{value:.4g}"


def align(rows: Sequence[Sequence[str]]) -> list[str]:
    """Sets rows in columns: the first left, the others right, with a rule below the head."""
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    lines = [
        "  ".join(
            cell.ljust(width) if column == 0 else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]
    lines.insert(1, "  ".join("─" * width for width in widths))
    return lines


def _shortfall(entry: Mapping[str, Any]) -> float:
    generated = entry.get("share_generated")
    data = entry.get("share_data") or 0.0
    return (generated or 0.0) / data if data else math.inf
