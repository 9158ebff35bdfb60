"""Which training sample stands at which position of the endless stream of batches.

Batch t of B samples is positions [tB, (t+1)B) of one stream. A sampler maps positions to dataset
indices and is a pure function of (seed, position, weights active there): any batch can be drawn
again, by any process, which is what makes resuming exact and ranks agree.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from gan_registry.errors import UserError
from gan_registry.samplers.base import epoch_permutation

if TYPE_CHECKING:
    from gan_registry.live_run import LiveRun


class UniformSampler:
    """Visits every sample once an epoch, in a new order each epoch.

    Args:
        num_samples: The number of samples N, at least 1.
        seed: The run's seed.
    """

    def __init__(self, num_samples: int, seed: int = 0) -> None:
        if num_samples < 1:
            raise ValueError(f"Argument `num_samples` must be at least 1, but got {num_samples}.")
        self.num_samples = num_samples
        self.seed = seed
        self._epoch = -1
        self._order: NDArray[np.int64] = np.empty(0, np.int64)

    def draw(self, start: int, stop: int) -> NDArray[np.int64]:
        """Returns the dataset indices at stream positions [start, stop), int64."""
        pieces = []
        while start < stop:
            epoch, offset = divmod(start, self.num_samples)
            if epoch != self._epoch:
                self._order = epoch_permutation(self.num_samples, self.seed, epoch)
                self._epoch = epoch
            piece = self._order[offset : offset + stop - start]
            pieces.append(piece)
            start += len(piece)
        return np.concatenate(pieces) if pieces else np.empty(0, np.int64)

    def set_weights(self, weights: NDArray[np.float64], start: int) -> None:
        """Refuses: uniform sampling has no weights.

        Raises:
            UserError: Always.
        """
        raise UserError(
            "The sampler 'uniform' takes no weights; choose a weighted one with --sampler."
        )

    def state_dict(self) -> dict[str, Any]:
        """Returns nothing to remember: the order follows from the seed."""
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Checks that there is nothing to restore.

        Raises:
            ValueError: There is: the state is another sampler's.
        """
        if state:
            raise ValueError(f"a state of another sampler, with {', '.join(map(str, state))}")


def build_uniform(run: LiveRun) -> UniformSampler:
    """Builds the sampler `uniform` of a run."""
    return UniformSampler(len(run.dataset), run.seed)
