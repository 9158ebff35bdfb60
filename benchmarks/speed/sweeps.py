"""50 sweeps and the score: the tracker against stacking, as the published code does it.

The tracker is made to be plain and small, not fast: its time has an aim only beside the sweep that
makes the logits, and there by the smallest network, where it counts most.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks.speed.harness import Pair, Row, Settings, alternate, at_least, at_most
from benchmarks.speed.memory import peak_memory
from benchmarks.speed.setups import packaged, plugin_manager, untrained
from diagan_plugin.recording.sweep import sweep as take_sweep
from diagan_plugin.recording.tracker import LDRTracker
from diagan_plugin.scoring.score import discrepancy_score

NAME = "sweeps"
SWEEPS = 50
K = 1.0
Sweep: TypeAlias = NDArray[np.float32]


def run(settings: Settings) -> list[Row]:
    """Measures time and memory of both forms of the tracker."""
    size = 5_000 if settings.quick else 1_300_000
    recorded = list(logits(size))
    pairs = settings.pairs(5)
    rows = []
    for label, window in (("running moments", None), ("window of 50", SWEEPS)):
        held = window is not None
        pair = alternate(partial(track, recorded, window), partial(stack, recorded), pairs)
        rows.append(
            pair.row(
                NAME, f"N = {size:,}, {label}: time",
                note="the peer keeps its sweeps without a copy",
            )
        )  # fmt: skip
        ours = peak_memory(prepare_tracking, size=size, window=window)
        theirs = peak_memory(prepare_stacking, size=size)
        rows.append(
            Pair([max(ours.added, 1) / 1e6], [max(theirs.added, 1) / 1e6]).row(
                NAME, f"N = {size:,}, {label}: memory", None if held else at_least(10),
                unit="MB", note="peak above the process before, with one sweep's logits",
            )
        )  # fmt: skip
    rows.append(_share(settings))
    return rows


def _share(settings: Settings) -> Row:
    """Measures how long recording takes beside the sweep itself: two-dimensional points, an MLP."""
    plugins = plugin_manager(dia=False)
    bare = untrained(packaged("gaussian", plugins), plugins)
    work = partial(
        take_sweep, bare.logits, bare.dataset, discriminator=bare.discriminator, mode="auto",
        batch_size=bare.batch_size, seed=0, step=0, device=bare.device,
    )  # fmt: skip
    size = len(bare.dataset)
    tracker = LDRTracker(size, SWEEPS)
    pair = alternate(partial(tracker.record_all, work()), work, settings.pairs(15))
    label = f"N = {size:,}, recording beside the sweep by an mlp: time"
    return pair.row(NAME, label, at_most(0.1), unit="ms", scale=1e3)


def logits(size: int) -> Iterator[Sweep]:
    """Makes the logits of one sweep after the other, each an array of its own."""
    rng = np.random.default_rng(0)
    for _ in range(SWEEPS):
        yield rng.standard_normal(size, dtype=np.float32)


def track(sweeps: Iterable[Sweep], window: int | None) -> object:
    """Ours: a tracker and the score."""
    tracker: LDRTracker | None = None
    for sweep in sweeps:
        tracker = tracker or LDRTracker(len(sweep), window)
        tracker.record_all(torch.from_numpy(sweep))
        del sweep  # before the next one is made
    assert tracker is not None
    return discrepancy_score(*tracker.statistics(), K)


def stack(sweeps: Iterable[Sweep]) -> object:
    """Theirs: keep every sweep, stack them, and let numpy take mean and variance."""
    kept = [sweep for sweep in sweeps]  # noqa: C416 - an append a sweep, as in a training loop
    stacked = np.stack(kept)
    return stacked.mean(0) + K * np.sqrt(stacked.var(0, ddof=1))


def prepare_tracking(size: int, window: int | None) -> Callable[[], object]:
    """Prepares ours for a measurement of memory."""
    track(iter([np.zeros(4, np.float32)] * 2), window)  # what torch allocates once
    return lambda: track(logits(size), window)


def prepare_stacking(size: int) -> Callable[[], object]:
    """Prepares theirs likewise."""
    stack(iter([np.zeros(4, np.float32)] * 2))
    return lambda: stack(logits(size))
