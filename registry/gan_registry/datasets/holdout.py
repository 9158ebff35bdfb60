"""Keeps a share of a dataset out of the training, to see what D knows of samples it never saw."""

from __future__ import annotations

import numpy as np

from gan_registry.datasets.base import Dataset, Ints
from gan_registry.datasets.imbalance import Thinned
from gan_registry.datasets.labels import labels_of
from gan_registry.errors import UserError


def hold_out(dataset: Dataset, share: float, seed: int) -> tuple[Thinned, Thinned]:
    """Splits a dataset into what is trained on and what is held out, both in its order.

    Every class within every group gives its share, to within one sample, and keeps at least one.

    Args:
        dataset: The whole dataset, N samples.
        share: The share to hold out, in (0, 0.5].
        seed: What the choice follows from.

    Returns:
        What is left, about (1 - share) · N samples, and what is held out.

    Raises:
        UserError: Nothing would be held out.
    """
    strata, size = _strata(dataset), len(dataset)
    count = round(share * size)
    rng = np.random.Generator(np.random.PCG64(np.random.SeedSequence([seed])))
    # Evenly spaced in an order by stratum, random inside of each.
    order = np.lexsort((rng.random(size), strata))
    places = np.floor((np.arange(count) + rng.random()) * size / max(count, 1)).astype(np.int64)
    held = np.zeros(size, np.bool_)
    held[order[places]] = True
    # What is rare must not be lost to the training: a stratum of one sample keeps it.
    sizes, taken = np.bincount(strata), np.bincount(strata, weights=held)
    held[np.isin(strata, np.flatnonzero((sizes > 0) & (taken == sizes)))] = False
    if not held.any():
        raise UserError(
            f"DATA.holdout = {share:g} holds no sample out of the {size:,} of the dataset "
            f"{dataset.name!r}; raise it, or use more data."
        )
    return Thinned(dataset, np.flatnonzero(~held)), Thinned(dataset, np.flatnonzero(held))


def _strata(dataset: Dataset) -> Ints:
    """Returns the number of each sample's class within its group, int64 [N]."""
    parts = [labels_of(dataset)]
    if dataset.groups is not None:
        parts.append(dataset.groups)
    _, strata = np.unique(np.stack(parts), axis=1, return_inverse=True)
    return strata.reshape(-1).astype(np.int64)
