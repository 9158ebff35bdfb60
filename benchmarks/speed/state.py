"""What the statistics add to a checkpoint, in bytes a sample, in phase 1 and in phase 2."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from benchmarks.speed.harness import Pair, Row, Settings, at_most
from diagan_plugin.recording.tracker import LDRTracker

NAME = "state"
_WINDOW = 50


def run(settings: Settings) -> list[Row]:
    """Counts; nothing is timed."""
    size = 1_000 if settings.quick else 100_000
    tracker = LDRTracker(size, _WINDOW)
    for _ in range(2):
        tracker.record_all(torch.randn(size))
    phase1 = _bytes(tracker.state_dict()) / size
    tracker.close()
    phase2 = _bytes(tracker.state_dict()) / size
    label = f"a window of {_WINDOW}, phase 2 against phase 1"
    return [Pair([phase2], [phase1]).row(NAME, label, at_most(0.25), unit="B")]


def _bytes(state: Any) -> int:
    if isinstance(state, Tensor):
        return state.numel() * state.element_size()
    if isinstance(state, dict):
        return sum(map(_bytes, state.values()))
    return sum(map(_bytes, state)) if isinstance(state, (list, tuple)) else 0
