"""Which training sample stands at which position of the endless stream of batches.

Batch t of B samples is positions [tB, (t+1)B) of one stream. A sampler maps positions to dataset
indices and is a pure function of (seed, position, weights active there): any batch can be drawn
again, by any process, which is what makes resuming exact and ranks agree.
"""

from __future__ import annotations

from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray


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
