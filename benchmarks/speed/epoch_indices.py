"""(1) An epoch of weighted indices: `DiaSampler` against torch's `WeightedRandomSampler`.

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
from benchmarks.speed.memory import peak_memory
from diagan_plugin.sampling.sampler import DiaBatchSampler, DiaSampler

NAME = "epoch_indices"
BATCH = 256
_LIMIT = 4e9


def run(settings: Settings) -> list[Row]:
    """Measures at several sizes."""
    sizes = [2_000, 20_000] if settings.quick else [50_000, 1_300_000, 16_000_000]
    rows = []
    for size in sizes:
        ours = DiaSampler(size)
        ours.set_weights(weights(size))
        theirs = WeightedRandomSampler(torch.from_numpy(weights(size)), size)  # type: ignore[arg-type]
        aim = at_least(5 if size >= 1_000_000 else None)
        pairs = settings.pairs(9 if size < 1_000_000 else 3)
        pair = alternate(
            _reader(BatchSampler(ours, BATCH, drop_last=False)),
            _reader(BatchSampler(theirs, BATCH, drop_last=False)),
            pairs,
        )
        rows.append(pair.row(NAME, f"N = {size:,}", aim, unit="ms", scale=1e3))
        if size < 2_000_000:
            batches = DiaBatchSampler(ours, BATCH)
            pair = alternate(_reader(batches), _drawer(ours), pairs)
            label = f"N = {size:,}, DiaBatchSampler, against draws by hand"
            rows.append(pair.row(NAME, label, at_most(1.05), unit="ms", scale=1e3))
    rows.append(_large(200_000 if settings.quick else 100_000_000))
    return rows


def weights(size: int) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    """Makes weights as scores are: within a ratio of 50."""
    return np.random.default_rng(0).random(size) * 49 + 1


def prepare_epoch(size: int) -> Callable[[], object]:
    """Prepares an epoch of `DiaSampler` from float32 weights."""
    given = weights(size).astype(np.float32)

    def work() -> None:
        sampler = DiaSampler(size)
        sampler.set_weights(given)
        _reader(DiaBatchSampler(sampler, BATCH))()

    return work


def _reader(batches: Iterable[list[int]]) -> Callable[[], object]:
    return lambda: deque(batches, maxlen=0)


def _drawer(sampler: DiaSampler) -> Callable[[], object]:
    size = sampler.num_samples

    def work() -> None:
        first = sampler.position
        for start in range(first, first + size, BATCH):
            sampler.draw(start, min(start + BATCH, first + size)).tolist()
        sampler.set_epoch(sampler.epoch + 1)  # so that neither side reads an epoch drawn before

    return work


def _large(size: int) -> Row:
    peak = peak_memory(prepare_epoch, size=size)
    return Row(
        NAME,
        f"N = {size:,}, peak memory",
        peak.total / 1e9,
        None,
        "GB",
        None,
        f"≤ {_LIMIT / 1e9:g} GB",
        peak.total <= _LIMIT,
        f"the whole process, with torch and the weights given (float32); setting the weights and "
        f"an epoch took {peak.seconds:.1f} s; WeightedRandomSampler refuses more than 2^24 weights",
    )
