"""StudioGAN's training data as plugins see it: read by index, without random flips."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import torch
from torch import Tensor

from diagan_plugin.hosts.kit.dataset import names_in
from gan_registry.datasets.base import Dataset, Indices, Ints, rows_of
from gan_registry.datasets.fetching import fetch

_RANDOM = ("RandomHorizontalFlip",)
MAX_GROUPS = 1000


class StudioDataset(Dataset):
    """The training data, as StudioGAN's `Dataset_` reads them.

    Class labels, where they are known without reading the samples, serve as groups.

    Args:
        name: StudioGAN's `DATA.name`.
        dataset: A `Dataset_`.
        num_classes: StudioGAN's `DATA.num_classes`.
    """

    kind = "image"
    value_range = (-1.0, 1.0)

    def __init__(self, name: str, dataset: Any, num_classes: int) -> None:
        self.name = name
        self.num_classes = num_classes
        self._dataset = without_flips(dataset)
        x, _ = fetch(self._dataset, np.zeros(1, np.int64))
        self.sample_shape = tuple(x.shape[1:])
        labels = _labels(dataset)
        if labels is not None:
            self.labels = labels
        if labels is not None and 1 < num_classes <= MAX_GROUPS:
            self.groups = labels
            self.group_names = _class_names(dataset, num_classes)

    def __len__(self) -> int:
        return len(self._dataset)

    def __getitems__(self, indices: Indices) -> tuple[Tensor, Tensor]:
        """Returns samples, float32 [B, C, H, W], and labels, int64 [B]."""
        x, y = fetch(self._dataset, np.asarray(indices, np.int64))
        return x.float(), torch.zeros(len(x), dtype=torch.int64) if y is None else y

    def sample_names(self, indices: Indices) -> list[str]:
        """Returns the path of each image in the split's folder; its row without files."""
        names = names_in(getattr(self._dataset, "data", None), rows_of(indices, len(self)))
        return super().sample_names(indices) if names is None else names


def without_flips(dataset: Any) -> Any:
    """Returns a view of a `Dataset_` whose items are the same each time they are read."""
    view = copy.copy(dataset)
    kept = [step for step in dataset.trsf_list if type(step).__name__ not in _RANDOM]
    view.trsf = type(dataset.trsf)(kept)
    return view


def _labels(dataset: Any) -> Ints | None:
    """Returns the labels [N] where StudioGAN holds them: of torchvision's datasets or of HDF5."""
    found = getattr(getattr(dataset, "data", None), "targets", None)
    if found is None:
        found = getattr(dataset, "labels", None)
    if found is None or len(found) != len(dataset):
        return None
    return np.asarray(found, np.int64)


def _class_names(dataset: Any, count: int) -> tuple[str, ...]:
    names = getattr(getattr(dataset, "data", None), "classes", None)
    if names is not None and len(names) == count:
        return tuple(map(str, names))
    return tuple(f"class {number}" for number in range(count))
