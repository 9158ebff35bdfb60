"""The result of one run as a text table; several side by side: `comparison.py`."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from gan_registry.evaluation.directions import group_metrics, metric_kinds, with_arrow
from gan_registry.formatting import align, format_cell

_BASE_COLUMNS = {
    "share_data": "data",
    "share_drawn": "drawn",
    "share_generated": "generated",
}


def result_table(result: Mapping[str, Any], max_rows: int = 12) -> str:
    """Writes what was found as tables: a row a group, the groups' metrics, then all metrics.

    Args:
        result: The content of `result.json`.
        max_rows: With more groups than this, those furthest below their share in the data are
            shown.
    """
    lines: list[str] = []
    chosen: list[str] = []
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
    directions = result.get("directions") or {}
    own = group_metrics(result)
    if own:
        heads = [
            with_arrow(name if not kind else f"{name}, {kind}", directions.get(name))
            for name, kind in own.values()
        ]
        rows = [["group", *heads]]
        rows += [[name, *(number(groups[name].get(key)) for key in own)] for name in chosen]
        lines += [*align(rows), ""]
    kinds = metric_kinds(result)
    names = list(dict.fromkeys(name for values in kinds.values() for name in values))
    rows = [["metric", *(kind or "plain" for kind in kinds)]]
    rows += [
        [
            with_arrow(name, directions.get(name)),
            *(number(values.get(name)) for values in kinds.values()),
        ]
        for name in names
    ]
    lines += align(rows)
    if result.get("num_real") is not None:
        features = (result.get("features") or {}).get("name")
        seen = f", by the features {features}" if features else ""
        lines.append(
            f"({result['num_generated']:,} generated samples against {result['num_real']:,} real "
            f"ones{seen})"
        )
    return "\n".join(lines)


def number(value: Any) -> str:
    """Writes a number with four significant digits; a dash for a missing one."""
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return "–"
    return f"{value:.4g}"


def _shortfall(entry: Mapping[str, Any]) -> float:
    generated = entry.get("share_generated")
    data = entry.get("share_data") or 0.0
    return (generated or 0.0) / data if data else math.inf
