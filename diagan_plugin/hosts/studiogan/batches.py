"""Dataset indices beside StudioGAN's batches, and a sampler whose weights change on the way.

StudioGAN reads a *basket* at a time: the micro-batches of all of D's updates in a step. Baskets are
consecutive stretches of one stream of positions, counted over all processes; process r of R takes
every R-th position from the r-th on, so that micro-batch k of a basket is a stretch, too.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import Dataset, Sampler

from gan_registry.errors import UserError
from gan_registry.samplers.base import IndexSampler
from gan_registry.samplers.uniform import UniformSampler


class Indexed(Dataset[Any]):
    """A dataset whose items carry their index: `(x, y)` becomes `(x, y, index)`.

    At the top of a module, as worker processes may unpickle it.
    """

    def __init__(self, dataset: Any) -> None:
        self.dataset = dataset

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, index: int) -> tuple[Any, Any, int]:
        x, y = self.dataset[index]
        return x, y, int(index)


class Feed:
    """What has been read of the stream.

    Args:
        num_samples: Samples of the dataset.
        basket: Samples of a basket in one process.
        rank: This process, of `world_size`.
        world_size: The number of processes.
        position: Where the stream begins.

    Attributes:
        start: Position of the basket that was read last.
        stop: Position of the next basket.
        indices: Dataset indices of the basket that was read last, int64 [basket].
        live: Whether the training goes on; afterwards StudioGAN may read the data for other ends.
    """

    def __init__(
        self, num_samples: int, basket: int, rank: int, world_size: int, position: int = 0
    ) -> None:
        self.num_samples = num_samples
        self.basket = basket
        self.rank = rank
        self.world_size = world_size
        self.start = self.stop = position
        self.indices = torch.empty(0, dtype=torch.int64)
        self.live = True

    def delivered(self, indices: Tensor) -> None:
        """Notes that the next basket was read."""
        self.indices = indices
        self.start = self.stop
        self.stop += len(indices) * self.world_size


class StreamSampler(Sampler[int]):
    """Hands out this process's share of a sampler's stream, from the next basket on.

    An iteration is the whole baskets of one epoch, at least one. What loader workers were asked
    for ahead does not count as read: an iteration that is started anew begins at the first basket
    that was not trained on.

    Args:
        sampler: Maps positions to dataset indices.
        feed: Where the training is.
    """

    def __init__(self, sampler: IndexSampler, feed: Feed) -> None:
        self.sampler = sampler
        self.feed = feed

    def __len__(self) -> int:
        feed = self.feed
        return max(feed.num_samples // (feed.basket * feed.world_size), 1) * feed.basket

    def __iter__(self) -> Iterator[int]:
        feed = self.feed
        if not feed.live:
            uniform = UniformSampler(feed.num_samples)
            yield from uniform.draw(0, feed.num_samples)[feed.rank :: feed.world_size].tolist()
            return
        position, size = feed.stop, feed.basket * feed.world_size
        for start in range(position, position + len(self) * feed.world_size, size):
            drawn = self.sampler.draw(start, start + size)
            yield from drawn[feed.rank :: feed.world_size].tolist()

    def set_epoch(self, epoch: int) -> None:
        """Does nothing: the stream goes on over the ends of epochs."""


class SideLoader:
    """A loader that gives `(x, y)`, as StudioGAN expects, and keeps the indices aside.

    Args:
        loader: A DataLoader over :class:`Indexed`.
        feed: Where the indices go.
    """

    def __init__(self, loader: Any, feed: Feed) -> None:
        self._loader = loader
        self._feed = feed

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):  # while unpickling there is no `_loader` yet
            raise AttributeError(name)
        return getattr(self._loader, name)

    def __len__(self) -> int:
        return len(self._loader)

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        return _SideIterator(iter(self._loader), self._feed)


class _SideIterator:
    """Begins at once: a generator would have the workers wait for the first basket."""

    def __init__(self, iterator: Iterator[Any], feed: Feed) -> None:
        self._iterator = iterator
        self._feed = feed

    def __iter__(self) -> _SideIterator:
        return self

    def __next__(self) -> tuple[Tensor, Tensor]:
        x, y, indices = next(self._iterator)
        self._feed.delivered(indices)
        return x, y


def is_training_loader(keywords: Any) -> bool:
    """Tells StudioGAN's loader of training batches from those it evaluates with."""
    return bool(keywords.get("drop_last")) and "persistent_workers" in keywords


def check_basket(num_samples: int, basket: int, world_size: int) -> None:
    """Refuses a basket that StudioGAN could never fill.

    Raises:
        UserError: The dataset is smaller than one basket.
    """
    if num_samples // world_size < basket:
        raise UserError(
            f"A step takes {basket} samples a process (batch × acml_steps × d_updates_per_step), "
            f"but there are {num_samples} for {world_size} processes; lower the batch size."
        )
