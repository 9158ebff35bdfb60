"""What the adapters read the training data by: every process its part of one stream."""

from __future__ import annotations

import os

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.utils.data import DataLoader

from diagan_plugin.hosts.kit.loader import StreamLoader
from diagan_plugin.hosts.studiogan.batches import Feed, Indexed, SideLoader, StreamSampler
from diagan_plugin.sampling.sampler import DiaSampler

N = 22
ONE = np.eye(N)[7]


class Numbered:
    """Sample i is the number 10·i with the label i % 3."""

    def __len__(self) -> int:
        return N

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        return torch.tensor([10.0 * index]), index % 3


def loader(sampler: DiaSampler, batch_size: int = 4, **options) -> StreamLoader:
    return StreamLoader(Numbered(), sampler, batch_size, **options)


def take(batches: StreamLoader, count: int) -> list[list[int]]:
    """Reads batches, over the ends of epochs."""
    taken: list[list[int]] = []
    while len(taken) < count:
        for x, y in batches:
            indices = batches.indices.tolist()
            assert x[:, 0].tolist() == [10.0 * i for i in indices]
            assert y.tolist() == [i % 3 for i in indices]
            taken.append(indices)
            if len(taken) == count:
                break
    return taken


@pytest.mark.parametrize("world_size", [1, 2, 3])
def test_the_ranks_of_a_loader_stride_one_draw(world_size: int) -> None:
    drawn = DiaSampler(N, seed=4).draw(0, 5 * 4 * world_size)
    for rank in range(world_size):
        batches = loader(DiaSampler(N, seed=4), rank=rank, world_size=world_size)
        mine = [drawn[i] for i in range(len(drawn)) if i % world_size == rank]
        assert np.concatenate(take(batches, 5)).tolist() == mine
        assert batches.position == 5 * 4 * world_size


@pytest.mark.parametrize("workers", [0, 2])
def test_what_workers_have_read_ahead_under_old_weights_is_dropped(workers: int) -> None:
    sampler = DiaSampler(N, seed=4)
    uniform = sampler.draw(0, 12)
    batches = loader(sampler, num_workers=workers)
    assert np.concatenate(take(batches, 3)).tolist() == uniform.tolist()
    sampler.set_weights(ONE, batches.position)
    batches.seek(batches.position)
    assert take(batches, 3) == [[7] * 4] * 3
    # Back to where the weights did not hold yet, and from there on into them.
    batches.seek(8)
    assert take(batches, 2) == [uniform[8:].tolist(), [7] * 4]
    assert batches.position == 16


class Worker(Numbered):
    """Each item is the process that read it."""

    def __getitem__(self, index: int) -> int:
        return os.getpid()


def test_new_weights_start_no_new_workers() -> None:
    sampler = DiaSampler(N, seed=4)
    batches = StreamLoader(Worker(), sampler, 4, num_workers=2)

    def processes() -> set[int]:
        return {pid for batch, _ in zip(batches, range(2), strict=False) for pid in batch.tolist()}

    before = processes()
    assert len(before) == 2
    sampler.set_weights(ONE, batches.position)
    batches.seek(batches.position)
    assert processes() == before


def studiogan_baskets(
    sampler: DiaSampler, feed: Feed, workers: int = 0
) -> tuple[SideLoader, StreamSampler]:
    """A loader as StudioGAN builds it: one basket a batch."""
    order = StreamSampler(sampler, feed)
    read = DataLoader(
        Indexed(Numbered()), batch_size=feed.basket, sampler=order, num_workers=workers
    )
    return SideLoader(read, feed), order


@pytest.mark.parametrize("world_size", [1, 2, 3])
def test_the_processes_of_studiogan_stride_one_draw_basket_by_basket(world_size: int) -> None:
    basket, size = 3, 3 * world_size
    feeds = [Feed(N, basket, rank, world_size, position=size) for rank in range(world_size)]
    read: list[list[int]] = []
    for feed in feeds:
        baskets, order = studiogan_baskets(DiaSampler(N, seed=4), feed)
        mine: list[int] = []
        for _ in range(2):  # an epoch of whole baskets each; the stream goes on
            for x, y in baskets:
                assert x[:, 0].tolist() == [10.0 * i for i in feed.indices.tolist()]
                assert y.tolist() == [i % 3 for i in feed.indices.tolist()]
                mine += feed.indices.tolist()
        assert len(mine) == 2 * len(order) == 2 * (N // size) * basket
        assert (feed.start, feed.stop) == (size * 2 * (N // size), size * (2 * (N // size) + 1))
        read.append(mine)
    drawn = DiaSampler(N, seed=4).draw(size, size + len(read[0]) * world_size)
    together = [read[i % world_size][i // world_size] for i in range(len(drawn))]
    assert together == drawn.tolist()


@pytest.mark.parametrize("workers", [0, 2])
def test_a_reading_of_studiogan_that_is_begun_anew_takes_the_new_weights(workers: int) -> None:
    sampler, feed = DiaSampler(N, seed=4), Feed(N, 4, 1, 2)
    uniform = sampler.draw(0, 8)
    baskets, _ = studiogan_baskets(sampler, feed, workers)
    next(iter(baskets))
    assert feed.indices.tolist() == uniform[1::2].tolist()
    sampler.set_weights(ONE, feed.stop)
    again = iter(baskets)
    for _ in range(2):
        next(again)
        assert feed.indices.tolist() == [7] * 4
    assert feed.stop == 24
