"""The result of one run as a text table; several side by side: `comparison.py`."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from typing import Any

from gan_registry.evaluation.metric_directions import group_metrics, metric_kinds, with_arrow
from gan_registry.evaluation.shown_result import KEPT, as_shown, kept_title
from gan_registry.formatting import DASH, align, format_cell, is_number

_SHARE = "share_"
"""An entry of a group that begins so is a share, whoever contributed it."""


def result_table(result: Mapping[str, Any], max_rows: int = 12) -> str:
    """Writes what was found as tables: a row a group, the groups' metrics, then all metrics.

    Args:
        result: The content of `result.json`.
        max_rows: With more groups than this, those furthest below their share in the data are
            shown.

    What was measured of a generator that was kept on the way stands in columns "before".
    """
    result, notes = as_shown(result)
    titles = _titles(result)
    groups: Mapping[str, Mapping[str, Any]] = result.get("groups") or {}
    shown = list(groups)
    if len(shown) > max_rows:
        shown = sorted(shown, key=lambda name: _shortfall(groups[name]))[:max_rows]
    lines: list[str] = []
    own = group_metrics(result)
    if groups:
        columns = _columns(groups.values(), own)
        rows = [["group", *(_heading(key, titles) for key in columns)]]
        rows += [[name, *(_cell(key, groups[name].get(key)) for key in columns)] for name in shown]
        lines += align(rows)
        if len(groups) > max_rows:
            lines.append(f"({len(groups) - max_rows} more groups in result.json)")
        lines.append("")
    directions = result.get("directions") or {}
    if own:
        heads = [
            with_arrow(f"{name}, {titles[kind]}" if kind else name, directions.get(name))
            for name, kind in own.values()
        ]
        rows = [["group", *heads]]
        rows += [[name, *(number(groups[name].get(key)) for key in own)] for name in shown]
        lines += [*align(rows), ""]
    kinds = metric_kinds(result)
    names = list(dict.fromkeys(name for values in kinds.values() for name in values))
    rows = [["metric", *(titles[kind] for kind in kinds)]]
    rows += [
        [
            with_arrow(name, directions.get(name)),
            *(number(values.get(name)) for values in kinds.values()),
        ]
        for name in names
    ]
    lines += align(rows)
    lines += [f"({note})" for note in notes]
    if result.get("num_real") is not None:
        features = (result.get("features") or {}).get("name")
        seen = f", by the features {features}" if features else ""
        lines.append(
            f"({result['num_generated']:,} generated samples against {result['num_real']:,} real "
            f"ones{seen})"
        )
    return "\n".join(lines)


def _titles(result: Mapping[str, Any]) -> dict[str, str]:
    """Returns what each kind of samples is called."""
    kept = result.get("kept") or {}
    before = {f"{KEPT}{name}": kept_title(name, kept) for name in kept}
    return {kind: before.get(kind, kind or "plain") for kind in metric_kinds(result)}


def _columns(entries: Collection[Mapping[str, Any]], own: Collection[str]) -> list[str]:
    """Returns which numbers of groups to show: what the host counted, and what plugins contributed.

    The share in the data, other shares, the generated ones, other numbers; of each of these in the
    order of the result. `own` are keys that have a table of their own.
    """
    keys = dict.fromkeys(k for entry in entries for k, value in entry.items() if is_number(value))
    return sorted((key for key in keys if key != "count" and key not in own), key=_place)


def _place(key: str) -> int:
    if key == "share_data":
        return 0
    if key.startswith(f"share_generated_{KEPT}"):
        return 2
    if key.startswith("share_generated"):
        return 3
    return 1 if key.startswith(_SHARE) else 4


def _heading(key: str, titles: Mapping[str, str]) -> str:
    name = key.removeprefix(_SHARE)
    if name == key:
        return key
    kind = name.removeprefix("generated_")
    if kind.startswith(KEPT):
        return titles[kind]
    return name if kind == name else f"generated, {kind}"


def _cell(key: str, value: Any) -> str:
    if not is_number(value):
        return DASH
    return format_cell(value, "percent") if key.startswith(_SHARE) else number(value)


def number(value: Any) -> str:
    """Writes a number with four significant digits; a dash for a missing one."""
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return DASH
    return f"{value:.4g}"


def _shortfall(entry: Mapping[str, Any]) -> float:
    generated = entry.get("share_generated")
    data = entry.get("share_data") or 0.0
    return (generated or 0.0) / data if data else math.inf
