"""The data of a host that is not `gan_registry`, as the plugins see them."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from gan_registry.datasets.base import Dataset, Indices, Ints, rows_of
from gan_registry.datasets.fetching import fetch
from gan_registry.errors import UserError


class HostDataset(Dataset):
    """A user's dataset as the plugins see it: fetched by index, with a fingerprint and groups.

    Args:
        dataset: Map-style; an item is `x`, or a tuple or list that begins with `x`.
        groups: The subgroup of each sample, int [N], where known.
        group_names: Their names.
        value_range: Smallest and largest value of an image.
        num_classes: Number of classes of the labels.

    Raises:
        ValueError: There is no sample, or not one group for each.
    """

    name = "own dataset"

    def __init__(
        self,
        dataset: Any,
        groups: npt.ArrayLike | None,
        group_names: Sequence[str],
        value_range: tuple[float, float] | None,
        num_classes: int = 1,
    ) -> None:
        self._dataset = dataset
        if len(dataset) == 0:
            raise ValueError("Argument `dataset` must hold at least one sample, but got none.")
        x, _ = fetch(dataset, np.zeros(1, np.int64))
        self.sample_shape = tuple(x.shape[1:])
        self.num_classes = num_classes
        self.labels = _known_labels(dataset, num_classes)
        self.kind = "image" if len(self.sample_shape) == 3 else "points"
        self.value_range = value_range if self.kind == "image" else None
        if groups is not None:
            try:
                self.groups = np.asarray(groups, np.int64)
            except (TypeError, ValueError, OverflowError):
                raise ValueError(
                    "Argument `groups` must hold whole numbers, but does not."
                ) from None
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

    def sample_names(self, indices: Indices) -> list[str]:
        """Returns what the user's dataset calls samples, see :func:`names_in`; else their rows."""
        names = names_in(self._dataset, rows_of(indices, len(self)))
        return super().sample_names(indices) if names is None else names


def names_in(dataset: Any, rows: Ints) -> list[str] | None:
    """Returns the names [B] of samples of a user's dataset, without reading them; None if unknown.

    It may say them itself by `sample_names(rows)`. Of torchvision's folders (`samples`, `root`)
    they are the paths of the files; of a `Subset` those of what it is a part of.
    """
    if isinstance(dataset, torch.utils.data.Subset):
        return names_in(dataset.dataset, np.asarray(dataset.indices, np.int64)[rows])
    if callable(own := getattr(dataset, "sample_names", None)):
        return None if (names := own(rows)) is None else [str(name) for name in names]
    files = getattr(dataset, "samples", None)
    if not isinstance(files, list) or len(files) != len(dataset):
        return None
    paths = [files[row][0] if isinstance(files[row], tuple) else files[row] for row in rows]
    if not all(isinstance(path, (str, os.PathLike)) for path in paths):
        return None
    root = getattr(dataset, "root", None)
    if isinstance(root, (str, os.PathLike)):
        paths = [os.path.relpath(path, root) for path in paths]
    return [Path(path).as_posix() for path in paths]


class AbsentDataset(Dataset):
    """Data that a run was trained with, when only its checkpoints are at hand.

    Args:
        name: What it was called.
        length: How many samples there were.
        fingerprint: Their digest.
    """

    kind = "image"
    value_range = (-1.0, 1.0)
    sample_shape = ()

    def __init__(self, name: str, length: int, fingerprint: str) -> None:
        self.name = name
        self._length = length
        self._fingerprint = fingerprint

    def __len__(self) -> int:
        return self._length

    def __getitems__(self, indices: Indices) -> tuple[Tensor, Tensor]:
        """Refuses.

        Raises:
            UserError: Always.
        """
        raise UserError("This command does not read the training data.")

    def fingerprint(self) -> str:
        """Returns the digest from the checkpoint."""
        return self._fingerprint


def _known_labels(dataset: Any, num_classes: int) -> Ints | None:
    """Returns the labels [N] that a dataset lists, as torchvision's do, without reading samples."""
    for name in ("targets", "labels"):
        try:
            labels = np.asarray(getattr(dataset, name, None))
        except (TypeError, ValueError, RuntimeError):  # ragged, or a tensor that is elsewhere
            continue
        if labels.shape != (len(dataset),) or not np.issubdtype(labels.dtype, np.integer):
            continue
        if labels.min() >= 0 and labels.max() < num_classes:
            return labels.astype(np.int64)
    return None
