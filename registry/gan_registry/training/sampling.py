"""Which training sample stands at which position of the endless stream of batches.

Batch t of B samples is positions [tB, (t+1)B) of one stream. A sampler maps positions to dataset
indices and is a pure function of (seed, position, weights active there): any batch can be drawn
again, by any process, which is what makes resuming exact and ranks agree.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from gan_registry.errors import UserError

if TYPE_CHECKING:
    from gan_registry.training.run import Run


@runtime_checkable
class IndexSampler(Protocol):
    """What the host asks of a sampler (catalog `samplers`)."""

    num_samples: int

    def draw(self, start: int, stop: int) -> NDArray[np.int64]:
        """Returns the dataset indices at stream positions [start, stop)."""
        ...

    def set_weights(self, weights: NDArray[np.float64], start: int) -> None:
        """Draws by `weights` [N] from stream position `start` on."""
        ...

    def state_dict(self) -> dict[str, Any]:
        """Returns tensors and plain values from which the sampler can be restored."""
        ...

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restores what `state_dict` returned."""
        ...


def epoch_permutation(num_samples: int, seed: int, epoch: int) -> NDArray[np.int64]:
    """Returns the order of an epoch of uniform sampling without replacement.

    Epoch e covers stream positions [eN, (e+1)N).

    Args:
        num_samples: The number of samples N.
        seed: The run's seed.
        epoch: The epoch's number, from 0.

    Returns:
        A permutation of 0 … N−1, int64 [N].
    """
    rng = np.random.Generator(np.random.PCG64(np.random.SeedSequence([seed, epoch])))
    return rng.permutation(num_samples)


class UniformSampler:
    """Visits every sample once an epoch, in a new order each epoch.

    Args:
        num_samples: The number of samples N, at least 1.
        seed: The run's seed.
    """

    def __init__(self, num_samples: int, seed: int = 0) -> None:
        if num_samples < 1:
            raise ValueError(f"Argument `num_samples` must be at least 1, but got {num_samples}")
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
        """Does nothing, as there is no state."""


def build_uniform(run: Run) -> UniformSampler:
    """Builds the sampler `uniform` of a run."""
    return UniformSampler(len(run.dataset), run.seed)
