"""An epoch of weighted indices of very large data, which takes minutes: time and memory."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from benchmarks.speed.epoch_indices import BATCH, against_torch, read, weighted, weights
from benchmarks.speed.harness import Row, Settings
from benchmarks.speed.memory import peak_memory
from diagan_plugin.sampling.sampler import DiaBatchSampler, DiaSampler

NAME = "large_epochs"
_LIMIT = 4e9


def run(settings: Settings) -> list[Row]:
    """Measures time at 16 million and memory at a hundred million."""
    sizes = (20_000, 200_000) if settings.quick else (16_000_000, 100_000_000)
    return [against_torch(weighted(sizes[0]), NAME, settings.pairs(3)), _large(sizes[1])]


def prepare_epoch(size: int) -> Callable[[], object]:
    """Prepares an epoch of `DiaSampler` from float32 weights."""
    given = weights(size).astype(np.float32)

    def work() -> None:
        sampler = DiaSampler(size)
        sampler.set_weights(given)
        read(DiaBatchSampler(sampler, BATCH))()

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
