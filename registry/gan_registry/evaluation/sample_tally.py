"""What is counted of generated samples whatever is measured, and which of them are kept."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from gan_registry.datasets.base import Dataset
from gan_registry.datasets.fetching import fetch
from gan_registry.datasets.imbalance import Thinned
from gan_registry.evaluation.contributions import add_values
from gan_registry.training.run import Run

DIRECTIONS = {
    "modes_covered": "up",
    "high_quality": "up",
    "other": "down",
    "non_finite": "down",
    "acceptance_rate": "none",
}
"""Which way is better, of what is measured without any metric being asked for."""

_KEPT_IMAGES = 256
_KEPT_POINTS = 10_000


class Tally:
    """Counts the `num` generated samples of a run, which come in batches.

    Attributes:
        count: How many there were so far.
    """

    def __init__(self, run: Run, num: int) -> None:
        dataset = run.dataset
        self._dataset = dataset
        self.count = 0
        self._non_finite = 0
        classifies = dataset.groups is not None and dataset.can_classify
        self._groups = np.zeros(len(dataset.group_names) + 1, np.int64) if classifies else None
        limit = _KEPT_IMAGES if dataset.kind == "image" else _KEPT_POINTS
        self._limit = min(limit, num)
        needs_all = _measures(dataset) or run.hooks.implements("gan_metrics")
        self._wanted = num if needs_all else self._limit
        self._batches: list[Tensor] = []

    def add(self, x: Tensor) -> NDArray[np.int64] | None:
        """Counts a batch [b, ...]; returns its groups [b] where the dataset can tell."""
        x = x.cpu()
        if self.count < self._wanted:
            self._batches.append(x[: self._wanted - self.count])
        self.count += len(x)
        self._non_finite += int((~torch.isfinite(x.flatten(1)).all(1)).sum())
        if self._groups is None:
            return None
        groups = self._dataset.classify(x)
        self._groups += np.bincount(groups + 1, minlength=len(self._groups))
        return groups

    def shares(self) -> dict[str, float]:
        """Returns the share of each group, and of `other`, among the samples."""
        if self._groups is None:
            return {}
        names = ["other", *self._dataset.group_names]
        return {
            name: float(count / max(self.count, 1))
            for name, count in zip(names, self._groups, strict=True)
        }

    def kept(self) -> NDArray[Any]:
        """Returns the first 256 images or 10,000 points."""
        return torch.cat(self._batches)[: self._limit].numpy()

    def metrics(self, run: Run) -> dict[str, Any]:
        """Returns the dataset's own metrics, the plugins', and the share that is not finite.

        Raises:
            PluginError: A plugin reports a metric that there is already.
        """
        samples = torch.cat(self._batches)
        found: dict[str, Any] = {}
        if self._wanted >= self.count:
            found.update(self._dataset.evaluate_generated(samples))
        found["non_finite"] = self._non_finite / max(self.count, 1)
        if run.hooks.implements("gan_metrics"):
            count = min(len(samples), len(self._dataset))
            rng = np.random.Generator(np.random.PCG64(np.random.SeedSequence([run.seed, count])))
            chosen = rng.choice(len(self._dataset), count, replace=False)
            real, _ = fetch(self._dataset, chosen)
            add_values(found, run.hooks.metrics(run, real, samples), "A plugin's gan_metrics")
        return found


def _measures(dataset: Dataset) -> bool:
    """Whether a dataset has metrics of its own; of a part of one, whether the whole has."""
    while isinstance(dataset, Thinned):
        dataset = dataset.dataset
    return type(dataset).evaluate_generated is not Dataset.evaluate_generated
