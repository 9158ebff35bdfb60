"""The samples of a stream by their keys: what stands for a dataset that has no indices."""

from __future__ import annotations

import hashlib
from collections.abc import Hashable, Iterable
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from gan_registry.datasets.base import Dataset, Indices


class StreamKeys(Dataset):
    """Gives each sample of a stream an index, by its key, in the order in which keys first come.

    Args:
        num_samples: How many samples the stream has at most.

    Raises:
        ValueError: It is below 1.

    Example:
        >>> keys = StreamKeys(1000)
        >>> keys(["a.png", "b.png", "a.png"]).tolist()
        [0, 1, 0]
        >>> keys.key(1)
        'b.png'
    """

    name = "stream"
    kind = "points"
    sample_shape = (1,)

    def __init__(self, num_samples: int) -> None:
        if num_samples < 1:
            raise ValueError(f"Argument `num_samples` must be at least 1, but got {num_samples}.")
        self._num_samples = num_samples
        self._indices: dict[Hashable, int] = {}

    def __len__(self) -> int:
        """Returns the number of samples that there is room for."""
        return self._num_samples

    def __call__(self, keys: Iterable[Any]) -> Tensor:
        """Returns the indices of a batch's keys, int64 [B].

        Args:
            keys: A key for each sample: strings, or numbers (also as a tensor).

        Raises:
            ValueError: There are more keys than samples.
        """
        listed = keys.tolist() if isinstance(keys, Tensor) else keys
        found = [self._indices.setdefault(key, len(self._indices)) for key in listed]
        if len(self._indices) > self._num_samples:
            raise ValueError(
                f"The stream has more than {self._num_samples} keys, for which StreamKeys was "
                "made: give it the number of samples, and a key that is the sample's own."
            )
        return torch.tensor(found, dtype=torch.int64)

    @property
    def seen(self) -> int:
        """How many keys have come."""
        return len(self._indices)

    def key(self, index: int) -> Any:
        """Returns the key of an index, as the report numbers the samples.

        Raises:
            IndexError: No such key has come.
        """
        return list(self._indices)[index]

    def state_dict(self) -> dict[str, Any]:
        """Returns the keys in their order."""
        return {"keys": list(self._indices)}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restores what :meth:`state_dict` returned."""
        self._indices = {key: index for index, key in enumerate(state["keys"])}

    def fingerprint(self) -> str:
        """Returns a digest of the number of samples; their content is not known."""
        return hashlib.sha256(f"stream 1 {self._num_samples}".encode()).hexdigest()

    def __getitems__(self, indices: Indices) -> tuple[Tensor, Tensor]:
        """Refuses: samples of a stream cannot be asked for.

        Raises:
            TypeError: Always.
        """
        raise TypeError(
            'The samples of a stream cannot be asked for by index: use record="stream" and '
            'aux="none" or "importance".'
        )


def loss_weights(
    probabilities: npt.NDArray[np.float64] | None, indices: Tensor, seen: int
) -> Tensor:
    """Returns weights of loss terms that stand for drawing by probabilities, float32 [B].

    Args:
        probabilities: P [N], or None for uniform draws.
        indices: Samples of the batch, int64 [B] on the CPU.
        seen: How many of the N samples have come; the weights of these have mean 1.
    """
    if probabilities is None:
        return torch.ones(len(indices))
    known = torch.from_numpy(probabilities[: max(seen, 1)])
    return (torch.from_numpy(probabilities)[indices] / known.mean()).float()
