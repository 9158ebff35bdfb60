"""Several runs side by side, with mean and standard deviation over seeds."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from gan_registry.evaluation.metric_directions import direction_of
from gan_registry.evaluation.shown_result import with_counts

JOINT = " / "
"""Between the parts of a label."""


@dataclass(frozen=True)
class Cell:
    """A number of several runs that differ in the seed.

    Attributes:
        values: Of each run that has the number.
    """

    values: tuple[float, ...]

    @property
    def mean(self) -> float | None:
        """The mean, None if no run has the number."""
        return statistics.fmean(self.values) if self.values else None

    @property
    def deviation(self) -> float | None:
        """The standard deviation (n − 1), None for fewer than two runs."""
        return statistics.stdev(self.values) if len(self.values) > 1 else None


@dataclass(frozen=True)
class Row:
    """One number over all columns.

    Attributes:
        name: Where it is in the result, e.g. "metrics/fid".
        direction: "up", "down", "none", or None if no result says.
        cells: One a column.
    """

    name: str
    direction: str | None
    cells: tuple[Cell, ...]

    @property
    def best(self) -> frozenset[int]:
        """Numbers of the columns with the best mean; empty if there is nothing to choose."""
        means = {i: cell.mean for i, cell in enumerate(self.cells) if cell.mean is not None}
        if self.direction not in ("up", "down") or len(set(means.values())) < 2:
            return frozenset()
        best = (max if self.direction == "up" else min)(means.values())
        return frozenset(i for i, mean in means.items() if mean == best)


@dataclass(frozen=True)
class Comparison:
    """Runs side by side.

    Attributes:
        columns: Label → the results of its runs.
        rows: The numbers.
        common: Places in the labels of what all columns share: config, sampler, steps.
    """

    columns: Mapping[str, Sequence[Mapping[str, Any]]]
    rows: Sequence[Row]
    common: Sequence[int] = ()

    @property
    def names(self) -> list[str]:
        """What tells each column from the others, with the number of its runs."""
        names = []
        for label, runs in self.columns.items():
            parts = label.split(JOINT)
            own = JOINT.join(part for i, part in enumerate(parts) if i not in self.common)
            names.append(f"{own} (n={len(runs)})" if own else f"n={len(runs)}")
        return names

    @property
    def differing(self) -> list[Row]:
        """The rows of which not all columns have the same mean; last what some columns lack."""
        if len(self.columns) == 1:
            return list(self.rows)
        rows = [row for row in self.rows if len({cell.mean for cell in row.cells}) > 1]
        return sorted(rows, key=lambda row: any(cell.mean is None for cell in row.cells))

    def as_dict(self) -> dict[str, Any]:
        """Returns it as plain values, for JSON."""
        return {
            "columns": [
                {
                    "label": label,
                    **{key: runs[0].get(key) for key in ("config", "sampler", "steps")},
                    "seeds": [run.get("seed") for run in runs],
                }
                for label, runs in self.columns.items()
            ],
            "rows": [
                {
                    "name": row.name,
                    "direction": row.direction,
                    "cells": [
                        {"mean": cell.mean, "std": cell.deviation, "n": len(cell.values)}
                        for cell in row.cells
                    ],
                    "best": sorted(row.best),
                }
                for row in self.rows
            ],
            "findings": self.findings,
        }

    @property
    def findings(self) -> list[str]:
        """What was sick in some of the runs, a line each; numbers of such runs say little else."""
        return [
            f"{label}, seed {run.get('seed')}: {finding['name'].replace('_', ' ')} at step "
            f"{finding['step']}"
            for label, runs in self.columns.items()
            for run in runs
            for finding in run.get("health", ())
        ]


def compare(
    results: Sequence[Mapping[str, Any]], settings: Sequence[Mapping[str, Any]] | None = None
) -> Comparison:
    """Sets runs side by side: those that differ in the seed, and in nothing else, share a column.

    Args:
        results: The content of each run's `result.json`.
        settings: What each run was made with, `SECTION.key` → value, without the seed. Settings in
            which the runs differ are part of a column's label, but for those that only follow from
            the configuration's name, or, of plugins, from the sampler.
    """
    results = [with_counts(result) for result in results]
    settings = [{}] * len(results) if settings is None else settings
    differing = _differing(results, settings)
    columns: dict[str, list[Mapping[str, Any]]] = {}
    for result, made in zip(results, settings, strict=True):
        parts = [result.get("config"), result.get("sampler"), f"{result.get('steps')} steps"]
        parts += [f"{key}={made[key]}" for key in differing if key in made]
        label = JOINT.join(map(str, parts))
        # Two runs of one seed are no evidence of how little seeds matter.
        seed = result.get("seed")
        while seed is not None and any(r.get("seed") == seed for r in columns.get(label, ())):
            label += f"{JOINT}seed {seed} again"
        columns.setdefault(label, []).append(result)
    flat = [[flatten(result) for result in runs] for runs in columns.values()]
    names = dict.fromkeys(key for runs in flat for run in runs for key in run)
    rows = [
        Row(
            name,
            next((d for d in (direction_of(name, result) for result in results) if d), None),
            tuple(Cell(tuple(run[name] for run in runs if name in run)) for runs in flat),
        )
        for name in names
    ]
    places = zip(*(label.split(JOINT)[:3] for label in columns), strict=True)
    return Comparison(columns, rows, [i for i, parts in enumerate(places) if len({*parts}) == 1])


def _differing(
    results: Sequence[Mapping[str, Any]], settings: Sequence[Mapping[str, Any]]
) -> list[str]:
    """Returns the settings that tell runs apart which their names don't."""
    values_of: dict[str, list[Any]] = {}
    for made in settings:
        for key, value in made.items():
            if value not in values_of.setdefault(key, []):
                values_of[key].append(value)

    def follows(key: str, *names: str) -> bool:
        """Whether the value is the same in all runs of equal names."""
        seen: dict[tuple[Any, ...], Any] = {}
        return all(
            seen.setdefault(tuple(result.get(name) for name in names), made[key]) == made[key]
            for result, made in zip(results, settings, strict=True)
            if key in made
        )

    return sorted(
        key
        for key, values in values_of.items()
        if len(values) > 1
        and not follows(key, "config")
        and not (key.startswith("PLUGINS.") and follows(key, "config", "sampler"))
    )


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
