from __future__ import annotations

import os

import numpy as np
import pytest
import torch
from torch import Tensor

from diagan_plugin.sampling.sampler import DiaSampler
from gan_registry.datasets.fetching import fetch
from gan_registry.samplers.uniform import UniformSampler
from gan_registry.training.stream import BatchStream

CPU = torch.device("cpu")


class Numbered:
    """Sample i is the number i; a module-level class, so that a worker can be sent it."""

    def __init__(self, n: int) -> None:
        self.n = n

    def __len__(self) -> int:
        return self.n

    def __getitems__(self, indices) -> tuple[Tensor, Tensor]:
        order = torch.as_tensor(np.asarray(indices))
        return order[:, None].float(), order % 3


class Single(Numbered):
    __getitems__ = None  # type: ignore[assignment]

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        return torch.tensor([float(index)]), index % 3


def take(stream: BatchStream, batches: int) -> list[list[int]]:
    taken = []
    for _ in range(batches):
        real = stream.next()
        assert real.indices.dtype == torch.int64
        assert torch.equal(real.x[:, 0].long(), real.indices)
        assert torch.equal(real.y, real.indices % 3)
        taken.append(real.indices.tolist())
    return taken


def stream(sampler, batch_size=4, workers=0, rank=0, world_size=1, n=10) -> BatchStream:
    return BatchStream(Numbered(n), sampler, batch_size, CPU, rank, world_size, workers)  # type: ignore[arg-type]


def test_batches_follow_the_stream_across_epochs_with_nothing_padded_or_dropped():
    sampler = UniformSampler(10, seed=0)
    batches = take(stream(sampler), 10)  # four epochs of ten in batches of four
    flat = [index for batch in batches for index in batch]
    assert flat == sampler.draw(0, 40).tolist()
    assert np.bincount(flat).tolist() == [4] * 10


def test_workers_do_not_change_the_sequence():
    alone, helped = (stream(UniformSampler(10, seed=0), workers=w) for w in (0, 2))
    assert take(alone, 7) == take(helped, 7)
    assert alone.position == helped.position == 28
    helped.close()
    assert take(alone, 2) == take(helped, 2)  # closing loses nothing
    helped.close()


def test_new_weights_drop_what_was_prefetched():
    sequences = []
    for workers in (0, 2):
        sampler = DiaSampler(10, seed=0)
        batches = stream(sampler, workers=workers)
        before = take(batches, 3)
        sampler.set_weights(np.eye(10)[7], batches.position)
        batches.seek(batches.position)
        after = take(batches, 3)
        assert after == [[7] * 4] * 3, "the first batch after new weights is drawn by them"
        sequences.append(before + after)
        batches.close()
    assert sequences[0] == sequences[1]


class Worker(Numbered):
    """Each sample is the process that read it."""

    def __getitems__(self, indices) -> tuple[Tensor, Tensor]:
        return torch.full((len(indices), 1), os.getpid()), torch.zeros(len(indices))


def test_new_weights_start_no_new_workers():
    batches = BatchStream(Worker(10), DiaSampler(10, seed=0), 4, CPU, num_workers=2)  # type: ignore[arg-type]

    def processes() -> set[int]:
        return {int(x) for _ in range(2) for x in batches.next().x}

    before = processes()
    batches.sampler.set_weights(np.eye(10)[7], batches.position)
    batches.seek(batches.position)
    assert processes() == before
    batches.close()
    assert processes().isdisjoint(before)
    batches.close()


def test_seeking_continues_the_same_sequence():
    whole = take(stream(UniformSampler(10, seed=5)), 9)
    again = stream(UniformSampler(10, seed=5))
    again.seek(4 * 4)
    assert take(again, 5) == whole[4:]


@pytest.mark.parametrize("world_size", [1, 2, 4])
def test_the_ranks_together_see_the_batches_of_one_process(world_size):
    whole = take(stream(UniformSampler(10, seed=2)), 6)
    ranks = [
        take(stream(UniformSampler(10, seed=2), rank=rank, world_size=world_size), 6)
        for rank in range(world_size)
    ]
    for number, batch in enumerate(whole):
        parts = [ranks[rank][number] for rank in range(world_size)]
        assert all(len(part) == 4 // world_size for part in parts)
        interleaved = [parts[i % world_size][i // world_size] for i in range(4)]
        assert interleaved == batch


class Rows(Numbered):
    """Sample i is a 1×1×2 image of 2i and 2i + 1, which tells whether it was mirrored."""

    def __getitems__(self, indices) -> tuple[Tensor, Tensor]:
        order = torch.as_tensor(np.asarray(indices))
        x = torch.stack([2 * order, 2 * order + 1], 1).float()
        return x[:, None, None, :], order % 3


def mirrored(batch_size: int, batches: int, **options) -> list[list[bool]]:
    """Whether each image of some batches was mirrored."""
    images = BatchStream(
        Rows(10), UniformSampler(10, seed=2), batch_size, CPU, flip_seed=11, **options
    )  # type: ignore[arg-type]
    return [(images.next().x[:, 0, 0, 0] % 2 == 1).tolist() for _ in range(batches)]


def test_the_place_in_the_stream_decides_about_mirroring_and_neither_row_nor_rank():
    (whole,) = mirrored(48, 1)
    assert whole[:24] != whole[24:]
    assert 12 < sum(whole) < 36
    for batch_size in (4, 6, 16):
        batches = mirrored(batch_size, 48 // batch_size)
        assert [one for batch in batches for one in batch] == whole
    ranks = [mirrored(8, 6, rank=rank, world_size=4) for rank in range(4)]
    together = [ranks[i % 4][batch][i // 4] for batch in range(6) for i in range(8)]
    assert together == whole


def test_a_loader_draws_nothing_from_torchs_global_generator():
    before = torch.get_rng_state()
    batches = stream(UniformSampler(10, seed=0), workers=1)
    take(batches, 2)
    batches.close()
    assert torch.equal(torch.get_rng_state(), before)


def test_fetch_takes_datasets_of_any_common_kind():
    indices = np.array([3, 1, 3])
    expected = torch.tensor([[3.0], [1.0], [3.0]])
    single = type("OneByOne", (), {"__getitem__": Single.__getitem__})()
    subset = torch.utils.data.TensorDataset(torch.arange(5)[:, None].float(), torch.arange(5) % 3)
    for dataset in (Numbered(5), single, subset, torch.utils.data.Subset(subset, range(5))):
        x, y = fetch(dataset, indices)
        assert torch.equal(x, expected)
        assert y is not None
        assert y.tolist() == [0, 1, 0]
