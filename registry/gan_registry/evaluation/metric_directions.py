"""Which way is better: reads `directions` of a result, for tables and reports."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

ARROWS = {"up": "↑", "down": "↓"}


def with_arrow(name: str, direction: str | None) -> str:
    """Writes ↑ after what should be high and ↓ after what should be low."""
    return f"{name} {ARROWS[direction]}" if direction in ARROWS else name


def metric_kinds(result: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    """Returns the metrics of each kind of samples: "" for plain ones, else a post-processor."""
    return {
        key.removeprefix("metrics").removeprefix("_"): values
        for key, values in result.items()
        if (key == "metrics" or key.startswith("metrics_")) and isinstance(values, Mapping)
    }


def group_metrics(result: Mapping[str, Any]) -> dict[str, tuple[str, str]]:
    """Returns the metrics that groups have: key in a group's entry → (metric, kind of samples).

    What plugins say of groups, and the shares, have no direction and are left out.
    """
    directions = result.get("directions") or {}
    groups = result.get("groups") or {}
    present = {key for entry in groups.values() for key in entry}
    return {
        f"{name}_{kind}" if kind else name: (name, kind)
        for name in directions
        for kind in metric_kinds(result)
        if (f"{name}_{kind}" if kind else name) in present
    }


def direction_of(path: str, result: Mapping[str, Any]) -> str | None:
    """Returns the direction of a number in a result (`result.json`), None if it is not known.

    Its path is "metrics/fid", "metrics_NAME/fid" or "groups/GROUP/precision_NAME".
    """
    section, _, rest = path.partition("/")
    directions: Mapping[str, str] = result.get("directions") or {}
    if section.startswith("metrics"):
        return directions.get(rest)
    if section != "groups":
        return None
    name = group_metrics(result).get(rest.rpartition("/")[2])
    return None if name is None else directions.get(name[0])
