"""Points that are computed when asked for: as many as one likes, in no memory.

The noise of sample i is a function of (seed, i) alone, whatever else is asked for: a counter-based
generator is set to a counter of its own for each sample.
"""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from gan_registry.datasets.base import Dataset, Indices, Ints, rows_of

Floats = npt.NDArray[np.float64]


class ComputedPoints(Dataset):
    """Points made from Gaussian noise; a subclass implements `transform`.

    Beside the arguments of `ArrayDataset`:

    Args:
        recipe: Everything that `transform` depends on, as text; part of the fingerprint.
        num_samples: N.
        noise_dim: Dimension of a sample's noise.
        dim: Dimension of a sample.
        seed: Seed of the noise.
        labels: Label of each sample [N]; None stands for zeros.
    """

    kind = "points"
    labels: Ints

    def __init__(
        self,
        name: str,
        recipe: str,
        num_samples: int,
        noise_dim: int,
        dim: int,
        seed: int,
        labels: Ints | None = None,
        num_classes: int = 1,
    ) -> None:
        self.name = name
        self.recipe = recipe
        self.sample_shape = (dim,)
        self.num_classes = num_classes
        self.labels = np.zeros(num_samples, np.int64) if labels is None else labels
        self._noise_dim = noise_dim
        self._key = np.random.SeedSequence([seed, 1]).generate_state(2, np.uint64)

    def __len__(self) -> int:
        """Returns the number of samples."""
        return len(self.labels)

    def transform(self, noise: Floats, rows: Ints) -> Floats:
        """Makes the samples [B, dim] of `rows` [B] from standard normal noise [B, noise_dim]."""
        raise NotImplementedError

    def noise(self, rows: Ints) -> Floats:
        """Returns the noise of samples, standard normal, [B, noise_dim]."""
        noise = np.empty((len(rows), self._noise_dim))
        for place, row in enumerate(rows):
            counter = np.array([0, 0, int(row), 0], np.uint64)
            bits = np.random.Philox(counter=counter, key=self._key)
            noise[place] = np.random.Generator(bits).standard_normal(self._noise_dim)
        return noise

    def __getitems__(self, indices: Indices) -> tuple[Tensor, Tensor]:
        """Returns samples, float32 [B, dim], and labels, int64 [B].

        Raises:
            IndexError: An index lies outside [0, N).
        """
        rows = rows_of(indices, len(self))
        # In float64, so that rounding to float32 hides what depends on the batch and the machine.
        x = self.transform(self.noise(rows), rows).astype(np.float32)
        return torch.from_numpy(x), torch.from_numpy(self.labels[rows])

    def fingerprint(self) -> str:
        """Returns a digest of the recipe, all labels and groups, and the noise.

        The samples themselves are left out: a matrix product differs in its last bit from machine
        to machine.
        """
        digest = hashlib.sha256(f"{super().fingerprint()} {self.recipe}".encode())
        digest.update(self.labels.astype("<i8").tobytes())
        return digest.hexdigest()

    def _content(self, indices: Ints) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
        return self.noise(indices).astype(np.float32), self.labels[indices]
