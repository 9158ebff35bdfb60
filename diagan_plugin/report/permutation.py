"""A permutation test of whether any group's mean is above that of the others."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

_PERMUTED = 20_000
"""Samples that are permuted at most; of larger groups a part is drawn at random."""


def max_permutation_p(
    values: Floats, slot: NDArray[np.int64], seed: int, permutations: int
) -> Floats:
    """Computes one-sided p-values by permutations of the largest statistic over groups.

    The statistic is sqrt(n·m/N)·(mean of the group − mean of its m others): for fixed values it
    grows with the two-sample t, so that both give the same p. The maximum over groups controls the
    chance of any false finding (Westfall and Young, 1993, single step). Values [N] are finite, and
    the groups `slot` [N] numbered 0 … G−1 without gaps, G ≥ 2.

    Returns:
        p [G], at least 1 / (permutations + 1).
    """
    rng = np.random.Generator(np.random.PCG64(np.random.SeedSequence([int(seed), 0xD1A])))
    if values.size > _PERMUTED:
        values, slot = _subsample(values, slot, rng)
    order = np.argsort(slot, kind="stable")
    values, slot = values[order] - values.mean(), slot[order]
    size = np.bincount(slot).astype(np.float64)
    starts = np.concatenate([[0], np.cumsum(size)[:-1]]).astype(np.int64)
    # With centred values the statistic is the group's sum times this.
    factor = np.sqrt(values.size / (size * (values.size - size)))
    observed = np.add.reduceat(values, starts) * factor
    # Sums in another order differ in their last bits; without a tolerance ties would be lost.
    observed -= 1e-9 * np.abs(values).max(initial=0.0)
    exceeded = np.zeros(size.size)
    block = max(1, 2_000_000 // values.size)
    for start in range(0, permutations, block):
        rows = min(block, permutations - start)
        shuffled = rng.permuted(np.broadcast_to(values, (rows, values.size)), axis=1)
        largest = (np.add.reduceat(shuffled, starts, axis=1) * factor).max(axis=1)
        exceeded += (largest[:, None] >= observed[None, :]).sum(axis=0)
    p_values: Floats = (1.0 + exceeded) / (1.0 + permutations)
    return p_values


def _subsample(
    values: Floats, slot: NDArray[np.int64], rng: np.random.Generator
) -> tuple[Floats, NDArray[np.int64]]:
    """Keeps equally many samples of each group at most; small groups stay whole.

    What is kept depends on groups only, never on values, so the test remains exact.
    """
    size = np.sort(np.bincount(slot))
    # The largest cap under which the kept samples fit.
    caps = (_PERMUTED - np.concatenate([[0], np.cumsum(size)[:-1]])) // np.arange(size.size, 0, -1)
    cap = max(1, int(caps.max()))
    shuffled = rng.permutation(values.size)
    order = shuffled[np.argsort(slot[shuffled], kind="stable")]
    starts = np.searchsorted(slot[order], slot[order], side="left")
    kept = order[np.arange(order.size) - starts < cap]
    return values[kept], slot[kept]
