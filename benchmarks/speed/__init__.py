"""Speed and memory as ratios within one run: `python -m benchmarks.speed`."""

from __future__ import annotations

BENCHMARKS = {
    "epoch_indices": "benchmarks.speed.epoch_indices",
    "large_epochs": "benchmarks.speed.large_epochs",
    "sweeps": "benchmarks.speed.sweeps",
    "folder_sweeps": "benchmarks.speed.folder_sweeps",
    "training_overhead": "benchmarks.speed.training_overhead",
    "phase2_step": "benchmarks.speed.phase2_step",
    "backbone_steps": "benchmarks.speed.backbone_steps",
    "half_precision": "benchmarks.speed.half_precision",
    "dropout": "benchmarks.speed.dropout",
    "dry_run": "benchmarks.speed.dry_run",
    "state": "benchmarks.speed.state",
    "drs": "benchmarks.speed.drs",
    "hooks": "benchmarks.speed.hooks",
    "kid": "benchmarks.speed.kid",
    "frechet": "benchmarks.speed.frechet",
    "prdc": "benchmarks.speed.prdc",
}
"""Name → module; each has a function `run(settings) -> list[Row]`."""
