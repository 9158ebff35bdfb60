"""What `RUN.mixed_precision: bf16` brings on a CPU, to each part of a training."""

from __future__ import annotations

from functools import partial
from typing import Any

from benchmarks.speed.harness import Row, Settings, alternate, at_most
from benchmarks.speed.setups import (
    NoiseImages,
    dcgan32,
    phase2,
    plugin_manager,
    sweep_of,
    untrained,
)
from gan_registry.training.run import Run
from gan_registry.training.step import train_step

NAME = "half_precision"


def run(settings: Settings) -> list[Row]:
    """Measures a DCGAN for 32-px images: steps of both phases, and a sweep."""
    quick = settings.quick
    images = NoiseImages(200 if quick else 500)
    size: dict[str, Any] = {"OPTIMIZATION__batch_size": 16}
    size |= {"MODEL__g_conv_dim": 8, "MODEL__d_conv_dim": 8} if quick else {}

    def build(precision: str, weighted: bool) -> Run:
        plugins = plugin_manager(noise=images)
        config = dcgan32(plugins, RUN__mixed_precision=precision, **size)
        return phase2(config, plugins, logits="eval") if weighted else untrained(config, plugins)

    full, half = build("no", False), build("bf16", False)
    weighted = build("bf16", True)
    pairs = settings.pairs(5)
    milliseconds: dict[str, Any] = {"unit": "ms", "scale": 1e3}
    label, in_full = "DCGAN, 32 px, bf16", "theirs: float32"
    steps = alternate(partial(train_step, half), partial(train_step, full), pairs)
    phases = alternate(partial(train_step, weighted), partial(train_step, half), pairs)
    sweeps = alternate(partial(sweep_of, half), partial(sweep_of, full), pairs)
    return [
        steps.row(NAME, f"{label}: a step", at_most(0.7), note=in_full, **milliseconds),
        sweeps.row(NAME, f"{label}: a sweep of {images.size:,}", at_most(0.7), note=in_full),
        phases.row(
            NAME, f"{label}: a step of phase 2", at_most(1.35),
            note="theirs: of phase 1, in bf16 too", **milliseconds,
        ),
    ]  # fmt: skip
