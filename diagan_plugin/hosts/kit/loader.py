"""Batches for a host that reads any iterable: drawn by a sampler, their indices kept aside."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler

from gan_registry.errors import UserError
from gan_registry.samplers.base import IndexSampler


class StreamLoader:
    """Hands out the host's own batches, and remembers which samples they are.

    Batches are consecutive stretches of the sampler's stream; process r of R takes every R-th
    position from the r-th on. So the union over the processes is what one would draw, and no
    framework needs to shard anything: this is no `DataLoader`, which is why none does. An iteration
    is one epoch of whole batches; the stream goes on over its end, so that nothing is left out.

    Args:
        dataset: The host's map-style dataset; its items are handed out as they are.
        sampler: Maps stream positions to dataset indices.
        batch_size: Samples of a batch in one process.
        rank: This process, of `world_size`.
        world_size: The number of processes.
        **options: Further arguments of the `DataLoader` within, e.g. `num_workers`.

    Attributes:
        dataset: The host's dataset.
        batch_size: Samples of a batch in one process.
        position: Stream position of the next batch.
        indices: Dataset indices of the last batch, int64 [batch_size].
        batch: The last batch, as it was handed out.

    Raises:
        ValueError: `batch_size` is below 1.
    """

    def __init__(
        self,
        dataset: Any,
        sampler: IndexSampler,
        batch_size: int,
        *,
        rank: int = 0,
        world_size: int = 1,
        **options: Any,
    ) -> None:
        if batch_size < 1:
            raise ValueError(f"Argument `batch_size` must be at least 1, but got {batch_size}.")
        self.dataset = dataset
        self.sampler = sampler
        self.batch_size = batch_size
        self.rank = rank
        self.world_size = world_size
        self.position = 0
        self.indices = torch.empty(0, dtype=torch.int64)
        self.batch: Any = None
        collate = options.pop("collate_fn", None) or torch.utils.data.default_collate
        # A generator of its own: the loader seeds its workers from it, not from the global one.
        options.setdefault("generator", torch.Generator().manual_seed(0))
        # New weights drop what was read ahead: the workers need not start anew for that.
        options.setdefault("persistent_workers", options.get("num_workers", 0) > 0)
        self._loader: DataLoader[Any] = DataLoader(
            _Indexed(dataset), batch_sampler=_Batches(self), collate_fn=_Collate(collate), **options
        )
        self._iterator: Iterator[tuple[Any, Tensor]] | None = None

    def __len__(self) -> int:
        """Batches of an epoch."""
        return max(len(self.dataset) // (self.batch_size * self.world_size), 1)

    def __iter__(self) -> Iterator[Any]:
        for _ in range(len(self)):
            if self._iterator is None:
                self._iterator = iter(self._loader)
            self.batch, self.indices = next(self._iterator)
            self.position += self.batch_size * self.world_size
            yield self.batch

    def seek(self, position: int) -> None:
        """Goes on from a stream position; what workers have read ahead is dropped."""
        self.position = position
        self._iterator = None


class HostOrder:
    """The sampler `uniform` of a host that draws for itself: it takes no weights.

    Args:
        num_samples: Samples of the dataset.
        host: The host's name.
    """

    def __init__(self, num_samples: int, host: str) -> None:
        self.num_samples = num_samples
        self.host = host

    def draw(self, start: int, stop: int) -> NDArray[np.int64]:
        """Refuses: the order is the host's.

        Raises:
            UserError: Always.
        """
        raise UserError(
            f"With --sampler uniform {self.host} draws the samples; choose another one."
        )

    def set_weights(self, weights: NDArray[np.float64], start: int) -> None:
        """Refuses: uniform sampling has no weights.

        Raises:
            UserError: Always.
        """
        raise UserError("--sampler uniform takes no weights; choose a weighted sampler.")

    def state_dict(self) -> dict[str, Any]:
        """Returns nothing to remember."""
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Does nothing, as there is no state."""


class _Batches(Sampler[list[int]]):
    """This process's share of the stream in batches, without an end."""

    def __init__(self, loader: StreamLoader) -> None:
        self._loader = loader

    def __iter__(self) -> Iterator[list[int]]:
        loader, position = self._loader, self._loader.position
        size = loader.batch_size * loader.world_size
        while True:
            drawn = loader.sampler.draw(position, position + size)
            yield drawn[loader.rank :: loader.world_size].tolist()
            position += size


class _Indexed(Dataset[Any]):
    """At the top of a module, like its neighbours, as worker processes may unpickle it."""

    def __init__(self, dataset: Any) -> None:
        self.dataset = dataset

    def __getitem__(self, index: int) -> tuple[Any, int]:
        return self.dataset[index], index

    def __getitems__(self, indices: list[int]) -> list[tuple[Any, int]]:
        several = getattr(self.dataset, "__getitems__", None)
        if several is not None:
            items = several(indices)
            if isinstance(items, list):
                return list(zip(items, indices, strict=True))
        return [(self.dataset[index], index) for index in indices]


class _Collate:
    def __init__(self, collate: Any) -> None:
        self.collate = collate

    def __call__(self, items: list[tuple[Any, int]]) -> tuple[Any, Tensor]:
        indices = torch.tensor([index for _, index in items], dtype=torch.int64)
        return self.collate([item for item, _ in items]), indices
