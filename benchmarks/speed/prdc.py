"""Precision, recall, density and coverage: time against the `prdc` package, and peak memory.

Both get the same float32 features and k = 5 for all four numbers. The package holds three whole
distance matrices and more; ours goes through them in tiles.
"""

from __future__ import annotations

import contextlib
import io
from typing import Any

import torch
from threadpoolctl import threadpool_limits
from torch import Tensor

from benchmarks.speed.harness import Row, Settings, Work, alternate, at_least, peer
from benchmarks.speed.memory import peak_memory
from gan_registry.metrics.prdc import RESULTS, prdc

NAME = "prdc"
_AIM = at_least(2)
_LIMIT = 2e9
_K = 5


def run(settings: Settings) -> list[Row]:
    """Measures time at 10,000 × 512 and memory at 50,000 × 50,000, which takes minutes."""
    theirs = peer("prdc", "prdc").compute_prdc
    size = 500 if settings.quick else 10_000
    real, fake = features(size)
    arrays = real.numpy(), fake.numpy()
    values: dict[str, Any] = {}

    def run_ours() -> None:
        values["ours"] = prdc(real, fake, k=_K, k_density=_K)

    def run_theirs() -> None:
        # It starts up to 8 threads; the limit is on those that each of them takes for products.
        with contextlib.redirect_stdout(io.StringIO()), threadpool_limits(settings.threads):
            values["theirs"] = theirs(*arrays, nearest_k=_K)

    pair = alternate(run_ours, run_theirs, settings.pairs(3))
    gap = max(abs(values["ours"][name] - values["theirs"][name]) for name in RESULTS)
    assert gap <= 1e-3, values
    row = pair.row(
        NAME, f"{size:,} real, {size:,} generated, D = {real.shape[1]}", _AIM,
        note=f"largest difference of a value: {gap:.1g}",
    )  # fmt: skip
    return [row, _memory(2_000 if settings.quick else 50_000, settings.threads)]


def features(size: int, width: int = 512) -> tuple[Tensor, Tensor]:
    """Makes normal features of real and generated samples, float32 [size, width] each."""
    rng = torch.Generator().manual_seed(0)
    real = torch.randn(size, width, generator=rng)
    return real, torch.randn(size, width, generator=rng).mul_(0.99)


def prepare_comparison(size: int, threads: int) -> Work:
    """Prepares a comparison whose memory is to be measured."""
    torch.set_num_threads(threads)
    real, fake = features(size)
    prdc(real[:64], fake[:64])  # loads what torch loads on first use
    return lambda: prdc(real, fake, k=3, k_density=_K)


def _memory(size: int, threads: int) -> Row:
    peak = peak_memory(prepare_comparison, size=size, threads=threads)
    return Row(
        NAME,
        f"{size:,} real, {size:,} generated, peak memory",
        peak.added / 1e9,
        None,
        "GB",
        None,
        f"≤ {_LIMIT / 1e9:g} GB",
        peak.added <= _LIMIT,
        f"beyond the features; k = 3 and {_K}; took {peak.seconds:.0f} s",
    )
