"""Checks what a metric gives: it may be anybody's."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from torch import Tensor

from gan_registry.errors import PluginError, UserError
from gan_registry.metrics.base import Metric

Values = dict[str, float | None]
Groups = dict[str, Values]


def as_metric(made: Any, title: str) -> Metric:
    """Returns what a factory made if it is a metric.

    Raises:
        PluginError: It is not.
    """
    if isinstance(made, Metric):
        return made
    raise PluginError(f"{title} is a {type(made).__name__}, not a Metric.")


class Findings:
    """What several metrics computed.

    Attributes:
        overall: Name → number, None if there is none.
        groups: Group → (name → number).
    """

    def __init__(self) -> None:
        self.overall: Values = {}
        self.groups: Groups = {}
        self._authors: dict[tuple[str | None, str], str] = {}

    def add(self, title: str, values: Any) -> None:
        """Adds what a metric computed, all of it or nothing.

        Args:
            title: What to call the metric.
            values: Name → number or None; `groups` may hold group → (name → number or None).

        Raises:
            PluginError: The values are of another form.
            UserError: Another metric gave a value of that name.
        """
        values = dict(_mapping(title, values, "its results"))
        by_group = _mapping(title, values.pop("groups", {}), "groups")
        parts: dict[str | None, Values] = {None: _numbers(title, values)}
        for group, entries in by_group.items():
            parts[group] = _numbers(title, _mapping(title, entries, f"group {group!r}"))
        for place, part in parts.items():
            for key in part:
                other = self._authors.setdefault((place, key), title)
                if other != title:
                    raise UserError(
                        f"{title} and {other[0].lower()}{other[1:]} both give {key!r}; ask for one "
                        "of them at a time."
                    )
        for place, part in parts.items():
            target = self.overall if place is None else self.groups.setdefault(place, {})
            target.update(part)


def _mapping(title: str, value: Any, what: str) -> Mapping[str, Any]:
    if isinstance(value, Mapping):
        return value
    raise PluginError(f"{title} returned {type(value).__name__} as {what}, not a mapping.")


def _numbers(title: str, values: Mapping[str, Any]) -> Values:
    for key, value in values.items():
        scalar = value is None or isinstance(value, (int, float, np.number))
        if not (scalar or (isinstance(value, Tensor) and value.numel() == 1)):
            raise PluginError(f"{title} returned {type(value).__name__} as {key!r}, not a number.")
    return {key: None if value is None else float(value) for key, value in values.items()}
