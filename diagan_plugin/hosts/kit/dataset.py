"""The data of a host that is not `gan_registry`, as the plugins see them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from gan_registry.datasets.base import Dataset, Indices, Ints
from gan_registry.datasets.fetching import fetch


class LoopDataset(Dataset):
    """A user's dataset as the plugins see it: fetched by index, with a fingerprint and groups."""

    name = "own dataset"

    def __init__(
        self,
        dataset: Any,
        groups: npt.ArrayLike | None,
        group_names: Sequence[str],
        value_range: tuple[float, float] | None,
    ) -> None:
        self._dataset = dataset
        if len(dataset) == 0:
            raise ValueError("Argument `dataset` must hold at least one sample, but got none.")
        x, _ = fetch(dataset, np.zeros(1, np.int64))
        self.sample_shape = tuple(x.shape[1:])
        self.kind = "image" if len(self.sample_shape) == 3 else "points"
        self.value_range = value_range if self.kind == "image" else None
        if groups is not None:
            self.groups = np.asarray(groups, np.int64)
            if self.groups.shape != (len(dataset),):
                raise ValueError(
                    f"Argument `groups` must be of shape ({len(dataset)},), but got "
                    f"{self.groups.shape}."
                )
            count = int(self.groups.max(initial=-1)) + 1
            self.group_names = tuple(group_names) or tuple(f"group {i}" for i in range(count))

    def __len__(self) -> int:
        return len(self._dataset)

    def __getitems__(self, indices: Indices) -> tuple[Tensor, Tensor]:
        """Returns samples [B, ...] and labels [B] (zeros where the dataset has none)."""
        rows: Ints = np.asarray(indices, np.int64)
        x, y = fetch(self._dataset, rows)
        return x.float(), torch.zeros(len(x), dtype=torch.int64) if y is None else y
