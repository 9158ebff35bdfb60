"""The training loop and what it stands on: batches, seeds, checkpoints, logs."""

from __future__ import annotations

BUILTIN = {
    "class_balanced": "gan_registry.samplers.class_balanced:build_class_balanced",
    "uniform": "gan_registry.samplers.uniform:build_uniform",
}
"""The host's samplers: a factory takes the run and returns an `IndexSampler`."""
