"""Metrics of the same manifolds, from one comparison of all pairs of samples.

Each of them alone would keep all features and compare all pairs, which is what takes long.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor

from gan_registry.metrics.base import Batch, MetricContext
from gan_registry.metrics.group_prdc import GroupPrecision, PartialRecall, shares
from gan_registry.metrics.prdc import PRDC, RESULTS, Coverage, Density, Precision, Recall, averages

METRICS: Mapping[str, type[PRDC]] = {
    "prdc": PRDC,
    "precision": Precision,
    "recall": Recall,
    "density": Density,
    "coverage": Coverage,
    "partial_recall": PartialRecall,
    "group_precision": GroupPrecision,
}
"""What can be joined, by its name in the catalog."""

_BY_GROUP = {"partial_recall": "recall", "group_precision": "precision"}


class _Joint(PRDC):
    """Several of `METRICS`; see :func:`join`."""

    names: ClassVar[frozenset[str]]

    def __init__(self, context: MetricContext) -> None:
        super().__init__(context)
        for name in sorted(self.names & _BY_GROUP.keys()):
            METRICS[name](context)  # refuses data without groups
        self._groups: dict[str, list[Tensor]] = {"partial_recall": [], "group_precision": []}

    def update_real(self, batch: Batch) -> None:
        """Keeps the features, and if need be the groups, of some real samples."""
        super().update_real(batch)
        self._keep_groups("partial_recall", batch)

    def update_fake(self, batch: Batch) -> None:
        """Keeps the features, and if need be the groups, of some generated samples."""
        super().update_fake(batch)
        self._keep_groups("group_precision", batch)

    def reset_fake(self) -> None:
        """Forgets the generated samples."""
        super().reset_fake()
        self._groups["group_precision"] = []

    def compute(self) -> dict[str, Any]:
        """Returns what each of the metrics would.

        Raises:
            UserError: There are too few samples, or features that are NaN or infinite.
        """
        samples = self.by_sample()
        overall = {name for key in self.names - _BY_GROUP.keys() for name in METRICS[key].results}
        found: dict[str, Any] = averages(
            {name: samples[name] for name in self.results if name in overall}, self.k_density
        )
        groups: dict[str, dict[str, float]] = {}
        for name in sorted(self.names & _BY_GROUP.keys()):
            (value,) = METRICS[name].directions
            by_number = shares(samples[_BY_GROUP[name]], torch.cat(self._groups[name]))
            for number, share in by_number.items():
                groups.setdefault(self.context.group_names[number], {})[value] = share
        return {**found, "groups": groups} if groups else found

    def _keep_groups(self, name: str, batch: Batch) -> None:
        if name not in self.names:
            return
        if batch.groups is None:
            raise ValueError("Argument `batch` must have groups, but got None.")
        self._groups[name].append(batch.groups.detach())


def join(chosen: Collection[str]) -> type[PRDC]:
    """Makes one metric of several, which gives what all of them would.

    Args:
        chosen: Names out of `METRICS`.
    """
    needed = {result for name in chosen for result in METRICS[name].results}

    class Joint(_Joint):
        names = frozenset(chosen)
        results = tuple(result for result in RESULTS if result in needed)
        title = ", ".join(chosen)
        needs = frozenset[Any]().union(*(METRICS[name].needs for name in chosen))
        directions: ClassVar[Mapping[str, Any]] = {
            key: value for name in chosen for key, value in METRICS[name].directions.items()
        }

    return Joint
