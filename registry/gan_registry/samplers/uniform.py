"""The sampler `uniform`: every sample once an epoch."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

import numpy as np
from numpy.typing import NDArray

from gan_registry.samplers.base import epoch_permutation
from gan_registry.samplers.epochs import EpochSampler

if TYPE_CHECKING:
    from gan_registry.live_run import LiveRun


class UniformSampler(EpochSampler):
    """Visits every sample once an epoch, in a new order each epoch.

    Args:
        num_samples: The number of samples N, at least 1.
        seed: The run's seed.
    """

    name: ClassVar[str] = "uniform"

    def __init__(self, num_samples: int, seed: int = 0) -> None:
        if num_samples < 1:
            raise ValueError(f"Argument `num_samples` must be at least 1, but got {num_samples}.")
        super().__init__(num_samples, seed)

    def order(self, epoch: int) -> NDArray[np.int64]:
        """Returns the dataset indices of an epoch, int64 [N]."""
        return epoch_permutation(self.num_samples, self.seed, epoch)


def build_uniform(run: LiveRun) -> UniformSampler:
    """Builds the sampler `uniform` of a run."""
    return UniformSampler(len(run.dataset), run.seed)
