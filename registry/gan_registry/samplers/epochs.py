"""Samplers that make their order epoch by epoch, and take no weights."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from gan_registry.errors import UserError


class EpochSampler(ABC):
    """A stream of epochs of `num_samples`, each made when it is first drawn from.

    Args:
        num_samples: The length N of an epoch.
        seed: The run's seed.
    """

    name: ClassVar[str]

    def __init__(self, num_samples: int, seed: int) -> None:
        self.num_samples = num_samples
        self.seed = seed
        self._epoch = -1
        self._order: NDArray[np.int64] = np.empty(0, np.int64)

    @abstractmethod
    def order(self, epoch: int) -> NDArray[np.int64]:
        """Returns the dataset indices of an epoch, int64 [N]; the same at each call."""

    def draw(self, start: int, stop: int) -> NDArray[np.int64]:
        """Returns the dataset indices at stream positions [start, stop), int64."""
        pieces = []
        while start < stop:
            epoch, offset = divmod(start, self.num_samples)
            if epoch != self._epoch:
                self._order, self._epoch = self.order(epoch), epoch
            piece = self._order[offset : offset + stop - start]
            pieces.append(piece)
            start += len(piece)
        return np.concatenate(pieces) if pieces else np.empty(0, np.int64)

    def set_weights(self, weights: NDArray[np.float64], start: int) -> None:
        """Refuses: the order follows from the seed.

        Raises:
            UserError: Always.
        """
        raise UserError(
            f"The sampler {self.name!r} takes no weights; choose a weighted one with --sampler."
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
