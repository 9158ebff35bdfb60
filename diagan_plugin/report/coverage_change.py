"""Which training samples a generator could have made, and which of these changed between two runs.

A training sample is *made* if it lies within the reach of a generated one: its distance to the
third nearest other generated sample, in feature space (recall of Kynkäänniemi et al., 2019). Two
draws from each generator are looked at: only what both say counts, as at the rim of the reach a
single draw is chance.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import binomtest
from torch import Tensor

from gan_registry.metrics.prdc import prdc_by_sample

ALPHA = 0.001
"""Chance of a false claim that is put up with; small, as neighbours are made or missed together."""

MIN_CHANGE = 0.01
"""Smallest net change that counts, as a share of the samples."""

Booleans = NDArray[np.bool_]
Integers = NDArray[np.int64]


@dataclass(frozen=True)
class Reach:
    """What two draws from a generator say of each training sample.

    Attributes:
        made: Within reach in both draws, bool [N].
        missed: In neither, bool [N].
    """

    made: Booleans
    missed: Booleans


def reach_of(real: Tensor, draws: Sequence[Tensor]) -> Reach:
    """Measures which training samples are within reach.

    Args:
        real: Features of the training samples, [N, D].
        draws: Features of generated samples, [M, D] each; M > 3, as each reaches as far as its
            third neighbour.
    """
    found = [prdc_by_sample(real, fake, k=3, results=["recall"])["recall"] for fake in draws]
    within: Booleans = np.stack([each.cpu().numpy().astype(bool) for each in found])
    made: Booleans = np.all(within, axis=0)
    missed: Booleans = ~np.any(within, axis=0)
    return Reach(made, missed)


@dataclass(frozen=True)
class Change:
    """How a set of training samples fared in one run and in another.

    Attributes:
        size: Samples of the set.
        missed: How many each of the two runs misses.
        recovered: How many the first misses and the second makes.
        lost: The other way round.
    """

    size: int
    missed: tuple[int, int]
    recovered: int
    lost: int

    def is_clear(self, tests: int = 1) -> bool:
        """Whether the two differ by more than chance (a sign test), and enough to matter.

        Args:
            tests: How many sets are looked at; the level is shared among them.
        """
        flips, net = self.recovered + self.lost, abs(self.recovered - self.lost)
        if net < max(MIN_CHANGE * self.size, 1):
            return False
        return bool(binomtest(self.recovered, flips, 0.5).pvalue <= ALPHA / tests)


@dataclass(frozen=True)
class Comparison:
    """Two runs on the same training samples.

    Attributes:
        before: What the first makes.
        after: What the second makes.
    """

    before: Reach
    after: Reach

    @property
    def recovered(self) -> Integers:
        """Indices of the samples that the first run misses and the second makes."""
        return np.flatnonzero(self.before.missed & self.after.made)

    @property
    def lost(self) -> Integers:
        """Indices of the samples that the first run makes and the second misses."""
        return np.flatnonzero(self.before.made & self.after.missed)

    def of(self, members: Booleans | None = None) -> Change:
        """Counts a set of samples, bool [N], or all."""
        kept = np.ones(len(self.before.made), np.bool_) if members is None else members
        return Change(
            int(kept.sum()),
            (int(self.before.missed[kept].sum()), int(self.after.missed[kept].sum())),
            int(kept[self.recovered].sum()),
            int(kept[self.lost].sum()),
        )
