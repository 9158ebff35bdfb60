"""Speed and memory as ratios within one run: `python -m benchmarks.speed`."""

from __future__ import annotations

BENCHMARKS = {
    "epoch_indices": "benchmarks.speed.epoch_indices",
    "sweeps": "benchmarks.speed.sweeps",
    "folder_sweeps": "benchmarks.speed.folder_sweeps",
    "training_overhead": "benchmarks.speed.training_overhead",
    "phase2_step": "benchmarks.speed.phase2_step",
    "backbone_steps": "benchmarks.speed.backbone_steps",
    "drs": "benchmarks.speed.drs",
    "hooks": "benchmarks.speed.hooks",
    "frechet": "benchmarks.speed.frechet",
    "prdc": "benchmarks.speed.prdc",
}
"""Name → module; each has a function `run(settings) -> list[Row]`."""
