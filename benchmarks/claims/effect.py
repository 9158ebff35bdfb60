"""How far the groups' shares among generated samples are from the data's."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from gan_registry.datasets.base import Dataset


def effect(dataset: Dataset, samples: Tensor) -> dict[str, float]:
    """Compares the shares of groups.

    Args:
        dataset: A dataset with groups that classifies samples.
        samples: Generated ones [n, ...].

    Returns:
        The total variation `distance`, "other" included, the share of the `smallest` group (the
        mean of equally small ones) and `smallest_in_data`.
    """
    assert dataset.groups is not None
    data, made = _shares(dataset, dataset.groups), _shares(dataset, dataset.classify(samples))
    smallest = data[1:] == data[1:].min()
    return {
        "distance": float(np.abs(made - data).sum() / 2),
        "smallest": float(made[1:][smallest].mean()),
        "smallest_in_data": float(data[1:].min()),
    }


def _shares(dataset: Dataset, groups: NDArray[np.int64]) -> NDArray[np.float64]:
    """Returns the share of `other` and of each group, [G + 1]."""
    counts = np.bincount(groups + 1, minlength=len(dataset.group_names) + 1)
    return np.asarray(counts / max(len(groups), 1), np.float64)
