from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from gan_registry.datasets import fetching
from gan_registry.datasets.base import ArrayDataset, Dataset
from gan_registry.datasets.fetching import (
    as_floats,
    fetch,
    fetch_batch,
    fetch_to,
    gives_bytes,
    read_ahead,
)
from gan_registry.datasets.imbalance import Thinned
from gan_registry.datasets.lazy_images import LazyImages
from gan_registry.datasets.opening import open_images
from gan_registry.errors import UserError
from gan_registry.samplers.uniform import UniformSampler
from gan_registry.training.stream import BatchStream

IMAGES = np.random.default_rng(0).integers(0, 256, (40, 3, 4, 4), dtype=np.uint8)
DEVICES = ["cpu"] + (["cuda"] if torch.cuda.is_available() else [])


class Noisy(ArrayDataset):
    """Changes what it serves, and nothing else."""

    def __getitems__(self, indices: Any) -> tuple[Tensor, Tensor]:
        x, y = super().__getitems__(indices)
        return x + torch.randn_like(x), y


class OwnBytes:
    """A user's dataset whose bytes are no images: masks, say."""

    def __len__(self) -> int:
        return 40

    def __getitem__(self, index: int) -> Tensor:
        return torch.from_numpy(IMAGES[index])


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for number, image in enumerate(IMAGES):
        Image.fromarray(image.transpose(1, 2, 0)).save(tmp_path / f"{number:02d}.png")
    return tmp_path


def kept(dataset: Dataset) -> Thinned:
    return Thinned(dataset, np.arange(3, len(dataset), 2))


@pytest.mark.parametrize("device", DEVICES)
def test_every_byte_becomes_the_float_that_division_gives(device):
    every = torch.arange(256, dtype=torch.uint8)
    floats = as_floats(every.to(device)).cpu().numpy()
    exact = np.arange(256, dtype=np.float32) / np.float32(127.5) - np.float32(1)
    assert floats.dtype == np.float32
    assert floats.tobytes() == exact.tobytes()
    # As the CPU divides by a number: what datasets did before bytes travelled.
    assert floats.tobytes() == every.float().div_(127.5).sub_(1.0).numpy().tobytes()
    assert floats.tobytes() != (every.float() * np.float32(1 / 127.5) - 1).numpy().tobytes()


@pytest.mark.parametrize("device", DEVICES)
def test_samples_are_the_same_by_either_way_and_bytes_travel_where_there_are_some(device, folder):
    labels = np.arange(40) % 3
    in_memory, lazy = ArrayDataset("bytes", IMAGES, labels), open_images(folder)
    points = ArrayDataset("floats", IMAGES.astype(np.float32), labels)
    order = np.array([5, 0, 5, 17])
    for dataset, as_bytes in (
        (in_memory, True), (lazy, True), (kept(in_memory), True), (kept(kept(lazy)), True),
        (points, False), (kept(points), False), (OwnBytes(), False),
    ):  # fmt: skip
        rows = order % len(dataset)
        found = fetch_batch(dataset, rows)
        assert found.as_bytes == as_bytes
        assert (found.x.dtype == torch.uint8) == (as_bytes or isinstance(dataset, OwnBytes))
        x, y = fetch(dataset, rows)
        moved, moved_y = fetch_to(dataset, rows, device)
        assert moved.device.type == device
        assert moved.dtype == x.dtype
        assert torch.equal(moved.cpu(), x)
        assert (y is None and moved_y is None) or torch.equal(moved_y.cpu(), y)


def test_a_subclass_that_changes_samples_is_heard(folder):
    class Brighter(LazyImages):
        def __getitems__(self, indices: Any) -> tuple[Tensor, Tensor]:
            x, y = super().__getitems__(indices)
            return x + 1, y

    lazy, noisy, patched = open_images(folder), Noisy("noisy", IMAGES), ArrayDataset("p", IMAGES)
    lazy.__class__ = Brighter
    patched.__getitems__ = Noisy("noisy", IMAGES).__getitems__  # type: ignore[method-assign]
    for dataset in (lazy, noisy, patched):
        assert not gives_bytes(dataset)
        for each in (dataset, kept(dataset)):
            torch.manual_seed(0)
            x, _ = fetch(each, np.arange(9))
            torch.manual_seed(0)
            assert torch.equal(fetch_to(each, np.arange(9), "cpu")[0], x)
            assert not getattr(kept(dataset), "decodes", False)


def batches() -> list[np.ndarray]:
    return [np.arange(start, min(start + 6, 40)) for start in range(0, 40, 6)]


def test_what_is_read_ahead_comes_in_order(folder):
    lazy = open_images(folder)
    for dataset in (lazy, kept(lazy), ArrayDataset("bytes", IMAGES), OwnBytes()):
        parts = [part[part < len(dataset)] for part in batches()]
        parts = [part for part in parts if len(part)]
        found = list(read_ahead(dataset, iter(parts), "cpu"))
        assert len(found) == len(parts)
        for (x, _), part in zip(found, parts, strict=True):
            assert torch.equal(x, fetch(dataset, part)[0])
    assert list(read_ahead(lazy, [], "cpu")) == []


def test_files_are_read_in_a_thread_two_batches_ahead_and_others_when_it_is_their_turn(
    folder, monkeypatch
):
    read: list[str] = []
    plain = fetch_batch

    def noting(dataset: Any, indices: np.ndarray) -> fetching.Batch:
        read.append(threading.current_thread().name)
        return plain(dataset, indices)

    monkeypatch.setattr(fetching, "fetch_batch", noting)
    asked: list[int] = []

    def asking() -> Iterator[np.ndarray]:
        for part in batches():
            asked.append(len(part))
            yield part

    for number, _ in enumerate(read_ahead(open_images(folder), asking(), "cpu")):
        assert len(asked) == min(number + 3, len(batches()))
    assert len(read) == len(batches())
    assert all(name.startswith("read ahead") for name in read)
    for dataset in (Noisy("noisy", IMAGES), ArrayDataset("bytes", IMAGES), OwnBytes()):
        read.clear()
        for number, _ in enumerate(read_ahead(dataset, batches(), "cpu")):
            assert read == [threading.current_thread().name] * (number + 1)


def test_an_error_comes_with_its_batch_and_leaves_no_thread(folder):
    (folder / "13.png").write_bytes(b"broken")
    lazy, before = open_images(folder), threading.active_count()
    reading = read_ahead(lazy, batches(), "cpu")
    assert [len(next(reading)[0]) for _ in range(2)] == [6, 6]
    with pytest.raises(UserError, match=r"13\.png cannot be read"):
        next(reading)
    reading = read_ahead(open_images(folder), batches(), "cpu")
    next(reading)
    reading.close()
    assert threading.active_count() == before


@pytest.mark.parametrize("workers", [0, 1])
@pytest.mark.parametrize("flip_seed", [None, 0])
def test_batches_of_a_training_travel_as_bytes(folder, monkeypatch, workers, flip_seed):
    moved: list[torch.dtype] = []
    plain = fetching.to_device

    def noting(tensor: Tensor, device: torch.device | str) -> Tensor:
        moved.append(tensor.dtype)
        return plain(tensor, device)

    lazy = open_images(folder)
    streams = [
        BatchStream(dataset, UniformSampler(40, seed=0), 8, torch.device("cpu"),
                    num_workers=workers, flip_seed=flip_seed)
        for dataset in (lazy, ArrayDataset("floats", fetch(lazy, np.arange(40))[0].numpy()))
    ]  # fmt: skip
    for _ in range(3):
        monkeypatch.setattr(fetching, "to_device", noting)
        moved.clear()
        real = streams[0].next()
        assert moved == [torch.uint8, torch.int64]
        expected = streams[1].next()
        assert torch.equal(real.x, expected.x)
        assert torch.equal(real.indices, expected.indices)
        latest = streams[0].latest()
        assert latest is not None
        assert torch.equal(latest.x, real.x)
    for stream in streams:
        stream.close()
