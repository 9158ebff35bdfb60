"""Batches of training samples: positions of the sampler's stream, fetched and moved to the device.

With loader workers, batches are prefetched; when new weights become active, what was prefetched
beyond their activation is dropped and drawn again, by the same workers, so that the sequence is the
same for any number of them.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader

from gan_registry.datasets.fetching import Batch, fetch_batch
from gan_registry.datasets.transforms import flip
from gan_registry.records import Real
from gan_registry.samplers.base import IndexSampler
from gan_registry.training.interruption import ignore_signals

if TYPE_CHECKING:
    from gan_registry.datasets.base import Dataset


class _Fetched:
    """A dataset of whole batches, so that a loader's worker fetches one in a single call."""

    def __init__(self, dataset: Any) -> None:
        self.dataset = dataset

    def __getitems__(self, indices: list[int]) -> tuple[Tensor, Batch]:
        order = np.asarray(indices, np.int64)
        return torch.from_numpy(order), fetch_batch(self.dataset, order)

    def __getitem__(self, index: int) -> Any:
        return self.__getitems__([index])


def _as_is(batch: Any) -> Any:
    return batch


class _IndexBatches:
    """The dataset indices of the batches of a stream, from where it stands; without an end."""

    def __init__(self, stream: BatchStream) -> None:
        self._stream = stream

    def __iter__(self) -> Iterator[list[int]]:
        position = self._stream.position
        while True:
            yield self._stream.indices(position).tolist()
            position += self._stream.batch_size


class BatchStream:
    """The batches of a run, in order.

    Args:
        dataset: The training data.
        sampler: Maps stream positions to dataset indices.
        batch_size: Samples of a batch over all ranks; a multiple of `world_size`.
        device: Where batches go.
        rank: This process's number.
        world_size: The number of processes; each takes every `world_size`-th sample of a batch.
        num_workers: Loader processes; 0 fetches in this one.
        flip_seed: Mirrors half of the images, chosen by this seed and the stream position; None
            mirrors none.
    """

    def __init__(
        self,
        dataset: Dataset,
        sampler: IndexSampler,
        batch_size: int,
        device: torch.device,
        rank: int = 0,
        world_size: int = 1,
        num_workers: int = 0,
        flip_seed: int | None = None,
    ) -> None:
        self.dataset = dataset
        self.sampler = sampler
        self.batch_size = batch_size
        self.device = device
        self.rank = rank
        self.world_size = world_size
        self.num_workers = num_workers
        self.flip_seed = flip_seed
        self.position = 0
        self._loader: DataLoader[Any] | None = None
        self._prefetched: Iterator[Any] | None = None

    def indices(self, position: int) -> NDArray[np.int64]:
        """Returns the dataset indices of this process's part of the batch at a position."""
        batch = self.sampler.draw(position, position + self.batch_size)
        return batch[self.rank :: self.world_size]

    def _load(self) -> tuple[Tensor, Batch]:
        if self.num_workers == 0:
            return self._fetch(self.position)
        if self._loader is None:
            self._loader = DataLoader(
                _Fetched(self.dataset),  # type: ignore[arg-type]
                batch_sampler=_IndexBatches(self),
                num_workers=self.num_workers,
                collate_fn=_as_is,
                worker_init_fn=ignore_signals,
                persistent_workers=True,
                pin_memory=self.device.type == "cuda",
                # Its own, as a loader draws a seed for its workers: taken from torch's global
                # generator, that would shift the dropout masks of the step.
                generator=torch.Generator().manual_seed(0),
            )
        if self._prefetched is None:
            self._prefetched = iter(self._loader)
        batch: tuple[Tensor, Batch] = next(self._prefetched)
        return batch

    def _fetch(self, position: int) -> tuple[Tensor, Batch]:
        indices = self.indices(position)
        return torch.from_numpy(indices), fetch_batch(self.dataset, indices)

    def next(self) -> Real:
        """Returns the batch at the current position, and moves on by one batch."""
        batch, position = self._load(), self.position
        self.position += self.batch_size
        return self._finished(batch, position)

    def latest(self) -> Real | None:
        """Returns the batch before the current position once more, None before the first one.

        It is read again, from where a run was resumed too, and nothing moves.
        """
        position = self.position - self.batch_size
        return None if position < 0 else self._finished(self._fetch(position), position)

    def _finished(self, drawn: tuple[Tensor, Batch], position: int) -> Real:
        """Moves a batch that was drawn at a position to the device, some of it mirrored."""
        indices, batch = drawn
        x, y = batch.to(self.device)
        if self.flip_seed is not None:
            places = np.arange(position, position + self.batch_size)
            x = flip(x, self.flip_seed, places[self.rank :: self.world_size])
        return Real(indices, x, y)

    def seek(self, position: int) -> None:
        """Continues at a stream position; whatever was prefetched is dropped."""
        self.position = position
        self._prefetched = None

    def close(self) -> None:
        """Ends the loader's workers; the next batch would start new ones."""
        self._prefetched = self._loader = None
