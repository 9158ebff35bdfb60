"""An epoch of weighted indices: `DiaSampler` against torch's `WeightedRandomSampler`.

Both are read as a DataLoader reads a sampler, in lists of a batch by torch's own `BatchSampler`.
`DiaBatchSampler`, which makes the lists itself, is compared with `draw(a, b).tolist()` a batch.
Weights are set before the clock starts: that happens once, an epoch many times.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable

import numpy as np
import torch
from torch.utils.data import BatchSampler, WeightedRandomSampler

from benchmarks.speed.harness import Row, Settings, alternate, at_least, at_most
from diagan_plugin.sampling.sampler import DiaBatchSampler, DiaSampler

NAME = "epoch_indices"
BATCH = 256


def run(settings: Settings) -> list[Row]:
    """Measures at two sizes."""
    rows = []
    for size in (2_000, 20_000) if settings.quick else (50_000, 1_300_000):
        ours = weighted(size)
        pairs = settings.pairs(5)
        rows.append(against_torch(ours, NAME, pairs))
        pair = alternate(read(DiaBatchSampler(ours, BATCH)), _drawer(ours), pairs)
        label = f"N = {size:,}, DiaBatchSampler, against draws by hand"
        rows.append(pair.row(NAME, label, at_most(1.05), unit="ms", scale=1e3))
    return rows


def weighted(size: int) -> DiaSampler:
    """Makes a sampler with weights."""
    sampler = DiaSampler(size)
    sampler.set_weights(weights(size))
    return sampler


def against_torch(ours: DiaSampler, name: str, pairs: int) -> Row:
    """Measures epochs against torch's sampler, which is given the same weights."""
    size = ours.num_samples
    theirs = WeightedRandomSampler(torch.from_numpy(weights(size)), size)  # type: ignore[arg-type]
    pair = alternate(
        read(BatchSampler(ours, BATCH, drop_last=False)),
        read(BatchSampler(theirs, BATCH, drop_last=False)),
        pairs,
    )
    aim = at_least(5 if size >= 1_000_000 else None)
    return pair.row(name, f"N = {size:,}", aim, unit="ms", scale=1e3)


def weights(size: int) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    """Makes weights as scores are: within a ratio of 50."""
    return np.random.default_rng(0).random(size) * 49 + 1


def read(batches: Iterable[list[int]]) -> Callable[[], object]:
    """Returns what reads all batches of an epoch."""
    return lambda: deque(batches, maxlen=0)


def _drawer(sampler: DiaSampler) -> Callable[[], object]:
    size = sampler.num_samples

    def work() -> None:
        first = sampler.position
        for start in range(first, first + size, BATCH):
            sampler.draw(start, min(start + BATCH, first + size)).tolist()
        sampler.set_epoch(sampler.epoch + 1)  # so that neither side reads an epoch drawn before

    return work
