"""What the rest of the framework asks of a dataset, and the one that lies in memory."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any, ClassVar, Literal

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from gan_registry.datasets.fetching import as_floats
from gan_registry.metrics.base import Progress, no_progress

Ints = npt.NDArray[np.int64]
Indices = Sequence[int] | Ints | Tensor
OTHER = -1  # the group of a sample that belongs to none
_FINGERPRINT_ITEMS = 1000


class Dataset(torch.utils.data.Dataset[tuple[Tensor, int]]):
    """A map-style dataset whose item `i` is `(x, y)`.

    A subclass implements `__len__` and `__getitems__`, and sets the attributes it needs.

    Attributes:
        name: Name in the catalog.
        kind: "image" or "points"; decides how samples are drawn in reports.
        sample_shape: Shape of one sample, (C, H, W) or (D,).
        num_classes: Number of labels y.
        value_range: Smallest and largest value of a sample, (-1, 1) for images; None if unbounded.
        labels: int64 [N], the label y of each sample, or None if only reading the samples tells.
        groups: int64 [N], the subgroup of each sample, or None if unknown. Used to judge a run,
            never to train it.
        group_names: Name of each group, by number.
        can_classify: Whether `classify` is implemented.
        decodes: Whether samples are decoded from files, which is then done ahead, in a thread.
    """

    name: str
    kind: Literal["image", "points"]
    sample_shape: tuple[int, ...]
    num_classes: int = 1
    value_range: tuple[float, float] | None = None
    labels: Ints | None = None
    groups: Ints | None = None
    group_names: tuple[str, ...] = ()
    can_classify: ClassVar[bool] = False
    decodes: bool = False

    def __len__(self) -> int:
        """Returns the number of samples."""
        raise NotImplementedError

    def __getitems__(self, indices: Indices) -> tuple[Tensor, Tensor]:
        """Returns many samples at once.

        Args:
            indices: Dataset indices [B] in [0, N), in any order, repeated or not.

        Returns:
            Samples, float32 [B, *sample_shape], and labels, int64 [B], on the CPU.

        Raises:
            IndexError: An index lies outside [0, N).
        """
        raise NotImplementedError

    def bytes_at(self, indices: Indices) -> tuple[Tensor, Tensor] | None:
        """Returns what `__getitems__` does, but images as the bytes of which it makes floats.

        Returns:
            Images, uint8 [B, C, H, W], and labels, int64 [B], on the CPU; None where samples are
            not kept as bytes.
        """
        return None

    def prepare(self, drawn: int, progress: Progress = no_progress) -> None:
        """Makes ready for a training, in each of its processes, e.g. decodes images beforehand.

        Args:
            drawn: How many samples the training will draw.
            progress: Told how far it is.
        """

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        """Returns sample `index`, float32 of `sample_shape`, and its label."""
        x, y = self.__getitems__([int(index)])
        return x[0], int(y[0])

    def sample_names(self, indices: Indices) -> list[str]:
        """Returns what a person would look samples up by.

        Args:
            indices: Dataset indices [B] in [0, N).

        Returns:
            For each its file's path relative to the data's folder, with forward slashes, as the
            system has it (see `formatting.printable`); "row 17" where it has none, counted in the
            data's file.

        Raises:
            IndexError: An index lies outside [0, N).
        """
        return [f"row {row}" for row in rows_of(indices, len(self)).tolist()]

    def fingerprint(self) -> str:
        """Returns a digest that tells this dataset, in this order, from any other.

        It covers the length, the shape of a sample, all groups, and the content and labels of up
        to 1,000 evenly spaced samples, and is the same on every machine.

        Returns:
            64 hexadecimal digits (SHA-256).
        """
        count = len(self)
        sampled = min(count, _FINGERPRINT_ITEMS)
        indices = np.arange(sampled, dtype=np.int64) * (count - 1) // max(sampled - 1, 1)
        digest = hashlib.sha256(f"dataset 1 {count} {tuple(self.sample_shape)}".encode())
        for array in (*self._content(indices), self.groups):
            if array is not None:
                data = np.ascontiguousarray(array)
                data = data.astype(data.dtype.newbyteorder("<"), copy=False)
                digest.update(f" {data.dtype.str} {data.shape} ".encode())
                digest.update(data.tobytes())
        return digest.hexdigest()

    def cache_key(self) -> str:
        """Returns a digest of the range and of what content this machine can look at cheaply.

        What is kept on disk of a dataset is kept under it: the fingerprint, which must be the same
        on every machine, would not notice a change of samples that it doesn't look at.

        Returns:
            64 hexadecimal digits (SHA-256).
        """
        digest = hashlib.sha256(f"kept 1 {self.fingerprint()} {self.value_range}".encode())
        if self.labels is not None:
            digest.update(np.ascontiguousarray(self.labels, "<i8").tobytes())
        return digest.hexdigest()

    def classify(self, x: Tensor | npt.ArrayLike) -> Ints:
        """Returns the group of each *generated* sample x [n, *sample_shape], int64 [n]; -1 is none.

        Raises:
            NotImplementedError: `can_classify` is False.
        """
        raise NotImplementedError(f"The dataset {self.name!r} cannot classify samples.")

    def evaluate_generated(self, x: Tensor | npt.ArrayLike) -> dict[str, float]:
        """Returns metrics of generated samples [n, *sample_shape] that only this dataset gives."""
        return {}

    def _content(self, indices: Ints) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
        """Returns what the fingerprint sees of some samples: content and labels."""
        x, y = self.__getitems__(indices)
        return x.numpy(), y.numpy()


class ArrayDataset(Dataset):
    """A dataset in memory.

    Args:
        name: Name in the catalog.
        x: Samples [N, ...]: uint8 images, which are served as float32 in [-1, 1], or float32
            points, which are served as they are.
        y: Labels [N]; None stands for zeros.
        num_classes: Number of labels; None: as many as `y` shows.
        groups: Group of each sample [N], or None.
        group_names: Name of each group.
        rows: Where each sample is in its file [N], by which it is named; None: in that order.

    Raises:
        TypeError: `x` is neither uint8 nor float32.
        ValueError: `y` or `groups` has another length than `x`, or `x` is empty.
    """

    def __init__(
        self,
        name: str,
        x: npt.NDArray[np.uint8] | npt.NDArray[np.float32],
        y: npt.ArrayLike | None = None,
        *,
        num_classes: int | None = None,
        groups: npt.ArrayLike | None = None,
        group_names: tuple[str, ...] = (),
        rows: Ints | None = None,
    ) -> None:
        if x.dtype not in (np.uint8, np.float32):
            raise TypeError(f"Argument `x` must be uint8 or float32, but got {x.dtype}.")
        if len(x) == 0:
            raise ValueError("Argument `x` must hold at least one sample, but got none.")
        labels = np.zeros(len(x), np.int64) if y is None else np.asarray(y, np.int64)
        _check_length("y", labels, len(x))
        if groups is not None:
            self.groups = np.asarray(groups, np.int64)
            _check_length("groups", self.groups, len(x))
        self._rows = rows
        self._x = torch.from_numpy(np.ascontiguousarray(x))
        self._y = torch.from_numpy(labels)
        self.labels = labels
        is_image = x.dtype == np.uint8
        self.name = name
        self.kind = "image" if is_image else "points"
        self.sample_shape = tuple(x.shape[1:])
        self.num_classes = max(int(labels.max()) + 1, 1) if num_classes is None else num_classes
        self.value_range = (-1.0, 1.0) if is_image else None
        self.group_names = group_names

    def __len__(self) -> int:
        """Returns the number of samples."""
        return len(self._x)

    def __getitems__(self, indices: Indices) -> tuple[Tensor, Tensor]:
        """Returns samples, float32 [B, *sample_shape], and labels, int64 [B]."""
        x, y = self._at(indices)
        return as_floats(x) if x.dtype == torch.uint8 else x, y

    def bytes_at(self, indices: Indices) -> tuple[Tensor, Tensor] | None:
        """Returns images, uint8 [B, C, H, W], and labels, int64 [B]; None of floats."""
        return self._at(indices) if self._x.dtype == torch.uint8 else None

    def sample_names(self, indices: Indices) -> list[str]:
        """Returns the row of each sample in its file, as "row 17"."""
        rows = rows_of(indices, len(self))
        return [f"row {row}" for row in (rows if self._rows is None else self._rows[rows]).tolist()]

    def cache_key(self) -> str:
        """Returns a digest of all samples and labels."""
        digest = hashlib.sha256(super().cache_key().encode())
        digest.update(self._x.numpy().data)  # the memory itself: no copy is made
        return digest.hexdigest()

    def _at(self, indices: Indices) -> tuple[Tensor, Tensor]:
        if isinstance(indices, Tensor):
            rows = indices.to("cpu", torch.int64)
        else:
            rows = torch.from_numpy(np.array(indices, np.int64))
        return self._x.index_select(0, rows), self._y.index_select(0, rows)

    def _content(self, indices: Ints) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
        return self._x.numpy()[indices], self._y.numpy()[indices]


def rows_of(indices: Indices, length: int) -> Ints:
    """Returns indices as int64 [B].

    Raises:
        IndexError: One lies outside [0, length).
    """
    if isinstance(indices, Tensor):
        indices = indices.to("cpu").numpy()
    rows = np.asarray(indices, np.int64)
    if rows.size and not (rows.min() >= 0 and rows.max() < length):
        raise IndexError(f"Argument `indices` must lie in [0, {length}).")
    return rows


def as_array(
    x: Tensor | npt.ArrayLike, dtype: type[np.float32 | np.float64] = np.float64
) -> npt.NDArray[Any]:
    """Returns samples on any device, in any floating type, as an array of `dtype`."""
    if isinstance(x, Tensor):
        x = x.detach().to("cpu")
        # NumPy has no bfloat16.
        x = x.float().numpy() if x.dtype == torch.bfloat16 else x.numpy()
    return np.asarray(x, dtype)


def _check_length(name: str, array: Ints, length: int) -> None:
    if array.shape != (length,):
        raise ValueError(f"Argument `{name}` must be of shape ({length},), but got {array.shape}.")
