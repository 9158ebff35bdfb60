"""(1) An epoch of weighted indices: `DiaSampler` against torch's `WeightedRandomSampler`.

Both are read as a DataLoader reads a sampler, in lists of a batch by torch's own `BatchSampler`;
`DiaBatchSampler`, which makes the lists itself, has a row of its own. Weights are set before the
clock starts: that happens once, an epoch many times.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable

import numpy as np
import torch
from torch.utils.data import BatchSampler, WeightedRandomSampler

from benchmarks.speed.harness import Row, Settings, alternate, at_least
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
        pairs = settings.pairs(9 if size < 1_000_000 else 5)
        peer = _reader(BatchSampler(theirs, BATCH, drop_last=False))
        for label, reader in (
            (f"N = {size:,}", BatchSampler(ours, BATCH, drop_last=False)),
            (f"N = {size:,}, DiaBatchSampler", DiaBatchSampler(ours, BATCH)),
        ):
            pair = alternate(_reader(reader), peer, pairs)
            rows.append(pair.row(NAME, label, aim, unit="ms", scale=1e3))
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
