"""The training data of NVlabs' trainers, as plugins see them and as the trainer reads them."""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from diagan_plugin.hosts.kit.loader import HostOrder, StreamLoader
from gan_registry.errors import UserError

_KEPT = 1 << 20


class Images:
    """A trainer's dataset as plugins see it: an item is an image in [-1, 1] and its class.

    Args:
        dataset: An `ImageFolderDataset` or one like it.

    Attributes:
        labels: The class of each sample, int64 [N], for a conditional training; else None.
        groups: Its class whether the training is conditional or not, where it is known; else None.
        group_names: Names of the groups.
        num_classes: Number of classes that the networks are given; 1 for none.

    Raises:
        UserError: The labels are no classes.
    """

    def __init__(self, dataset: Any) -> None:
        self.dataset = dataset
        self.labels = self.groups = None
        self.group_names: tuple[str, ...] = ()
        self.num_classes = 1
        if dataset.has_labels:
            if not dataset.has_onehot_labels:
                raise UserError("The labels of the dataset are no classes; train without --cond.")
            self.num_classes = int(dataset.label_dim)
        known = dataset._load_raw_labels()  # also where the training does without
        if known is not None and known.dtype == np.int64 and known.ndim == 1:
            self.groups = known[dataset._raw_idx]
            self.group_names = tuple(f"class {number}" for number in range(int(known.max()) + 1))
            if self.num_classes > 1:
                self.labels = self.groups

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        image, _ = self.dataset[int(index)]
        x = torch.from_numpy(np.ascontiguousarray(image)).float() / 127.5 - 1
        return x, 0 if self.labels is None else int(self.labels[index])


class TrainerOrder(HostOrder):
    """The sampler `uniform`: positions of the trainer's own stream.

    Args:
        num_samples: Samples of the dataset.
        host: The trainer's name.
        stream: Begins its stream anew, for all processes together.
    """

    def __init__(self, num_samples: int, host: str, stream: Callable[[], Iterator[int]]) -> None:
        super().__init__(num_samples, host)
        self._stream = stream
        self._begin()

    def _begin(self) -> None:
        self._iterator, self._start, self._drawn = self._stream(), 0, np.empty(0, np.int64)

    def draw(self, start: int, stop: int) -> NDArray[np.int64]:
        """Returns the dataset indices at stream positions [start, stop)."""
        if start < self._start:
            self._begin()
        while (have := self._start + len(self._drawn)) < stop:
            count = min(max(stop - have, 1024), _KEPT)
            more = np.fromiter(itertools.islice(self._iterator, count), np.int64, count)
            dropped = max(len(self._drawn) - _KEPT, 0)
            self._drawn = np.concatenate([self._drawn[dropped:], more])
            self._start += dropped
        return self._drawn[start - self._start : stop - self._start]


class Batches:
    """What the trainer takes for the iterator of its `DataLoader`: endless.

    Args:
        loader: The batches.
        before: Called before each is read.
        begin: Does to torch's global generator what beginning an iteration of a `DataLoader` does.

    Attributes:
        recent: Indices, int64 [B], and the stream position behind them, of the last two batches.
    """

    def __init__(
        self, loader: StreamLoader, before: Callable[[], None], begin: Callable[[], Any]
    ) -> None:
        self.recent: deque[tuple[Tensor, int]] = deque(maxlen=2)
        self._loader = loader
        self._before = before
        self._begin = begin
        self._iterator = itertools.chain.from_iterable(_again_and_again(loader))

    def __iter__(self) -> Batches:
        self._begin()
        return self

    def __next__(self) -> Any:
        self._before()
        batch = next(self._iterator)
        self.recent.append((self._loader.indices, self._loader.position))
        return batch


def _again_and_again(loader: StreamLoader) -> Iterator[Iterable[Any]]:
    while True:
        yield loader
