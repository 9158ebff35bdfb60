"""Several runs side by side, with mean and standard deviation over seeds."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from gan_registry.evaluation.metric_directions import direction_of, with_arrow
from gan_registry.evaluation.tables import number
from gan_registry.formatting import align


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
    """

    columns: Mapping[str, Sequence[Mapping[str, Any]]]
    rows: Sequence[Row]

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

    def table(self, bold: bool = False) -> str:
        """Writes it as a text table.

        Args:
            bold: Set off the best cells of each row, with the terminal's codes.
        """
        rows = [["", *(f"{label} (n={len(runs)})" for label, runs in self.columns.items())]]
        for row in self.rows:
            cells = []
            for cell, runs in zip(row.cells, self.columns.values(), strict=True):
                text = mean_and_deviation(cell.values)
                all_have_it = len(cell.values) in (0, len(runs))
                cells.append(text if all_have_it else f"{text} (n={len(cell.values)})")
            rows.append([with_arrow(row.name, row.direction), *cells])
        chosen = {
            (place + 1, column + 1) for place, row in enumerate(self.rows) for column in row.best
        }
        lines = align(rows, chosen if bold else ())
        return "\n".join([*lines, *([""] if self.findings else []), *self.findings])

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
    settings = [{}] * len(results) if settings is None else settings
    differing = _differing(results, settings)
    columns: dict[str, list[Mapping[str, Any]]] = {}
    for result, made in zip(results, settings, strict=True):
        label = f"{result.get('config')} / {result.get('sampler')} / {result.get('steps')} steps"
        label += "".join(f" / {key}={made[key]}" for key in differing if key in made)
        # Two runs of one seed are no evidence of how little seeds matter.
        seed = result.get("seed")
        while seed is not None and any(r.get("seed") == seed for r in columns.get(label, ())):
            label += f" / seed {seed} again"
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
    return Comparison(columns, rows)


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


def mean_and_deviation(values: Sequence[float]) -> str:
    """Writes the mean, with ± the sample standard deviation where there are several values."""
    if not values:
        return "–"
    mean = statistics.fmean(values)
    if len(values) == 1:
        return number(mean)
    return f"{number(mean)} ± {number(statistics.stdev(values))}"
