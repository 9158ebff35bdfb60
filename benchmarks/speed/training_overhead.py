"""(3) A whole training run: `--sampler dia` against `uniform`, by phase and in all.

`colored_digits` is trained from end to end, all its 5,500 steps; nothing is written to a folder,
and a plugin notes when each step ended. On the DCGAN such a run takes half a day, so its parts are
measured, steps of both phases and both kinds of sweeps, and added up as the schedule of a run of
50,000 steps has them (the paper's length: 40,000 of phase 1 on CIFAR-10).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from benchmarks.speed.harness import Aim, Pair, Row, Settings, at_most, seconds
from benchmarks.speed.setups import (
    NoiseImages,
    Stopwatch,
    dcgan32,
    one_step,
    packaged,
    phase2,
    plugin_manager,
    trained,
    untrained,
)
from diagan_plugin.dia.options import DiaOptions
from diagan_plugin.dia.schedule import HISTORY_SAMPLES, Schedule
from diagan_plugin.recording.logit_modes import resolve_logit_mode
from diagan_plugin.recording.sweep import sweep
from gan_registry.training.run import Run

NAME = "training_overhead"
PHASE1, PHASE2, ALL = "phase 1", "phase 2", "in all"
_STEPS = 50_000
_DIGITS_OPTIONS = {"k": 1.0, "phase1": 0.73}  # of the packaged configuration


@dataclass(frozen=True)
class Variant:
    """What is compared with uniform sampling.

    Attributes:
        label: What it is called in the table.
        sampler: `RUN.sampler`.
        dia: Options of `dia`.
        aim: Bound on its time in all.
        parts: What has a row of its own.
    """

    label: str
    sampler: str = "uniform"
    dia: dict[str, Any] = field(default_factory=dict)
    aim: Aim | None = None
    parts: tuple[str, ...] = (ALL,)


BASELINE = Variant("uniform")
EACH, SECOND, SWEEPS = (
    Variant("auxiliary D each step", "dia", {}, at_most(1.15), (PHASE1, PHASE2, ALL)),
    Variant(
        "auxiliary D each 2nd step", "dia", {"aux_every": 2}, at_most(1.08), (PHASE1, PHASE2, ALL)
    ),
    Variant("the sweeps alone", "uniform", {"diagnose": True}, at_most(1.02)),
)


def run(settings: Settings) -> list[Row]:
    """Measures both trainings."""
    return [*_digits(settings), *_dcgan(settings)]


def _digits(settings: Settings) -> list[Row]:
    """Whole runs, in turns."""
    variants = (BASELINE, EACH, SECOND, SWEEPS)
    _whole_run(EACH, 40)  # pays for what a process does only once
    times: dict[str, list[dict[str, float]]] = {variant.label: [] for variant in variants}
    for number in range(settings.pairs(3)):
        for variant in variants if number % 2 == 0 else reversed(variants):
            times[variant.label].append(_whole_run(variant, 40 if settings.quick else None))
    return _rows("colored_digits", times, "")


def _whole_run(variant: Variant, steps: int | None) -> dict[str, float]:
    watch = Stopwatch()
    plugins = plugin_manager(stopwatch=watch)
    config = packaged("colored_digits", plugins, RUN__sampler=variant.sampler)
    if steps is not None:
        config.OPTIMIZATION.total_steps = steps
    total = config.OPTIMIZATION.total_steps
    every = 40 if steps is None else 8
    trained(config, plugins, {**_DIGITS_OPTIONS, "record_every": every, **variant.dia})
    end = round(_DIGITS_OPTIONS["phase1"] * total)
    # Uniform runs are cut at the same step, so that like is compared with like.
    return {
        PHASE1: watch.seconds(0, end),
        PHASE2: watch.seconds(end, total),
        ALL: watch.seconds(0, total),
    }


def _dcgan(settings: Settings) -> list[Row]:
    """The parts of a run, in turns, and their sum."""
    quick = settings.quick
    images = NoiseImages(300 if quick else 10_000)
    size = {"MODEL__g_conv_dim": 8, "MODEL__d_conv_dim": 8, "OPTIMIZATION__batch_size": 16}

    def build(variant: Variant) -> Run:
        plugins = plugin_manager(noise=images)
        config = dcgan32(plugins, **(size if quick else {}))
        made = untrained(config, plugins)
        if variant.sampler == "dia":
            made = phase2(config, plugin_manager(noise=images), logits="eval", **variant.dia)
        made.generator.train()
        made.discriminator.train()
        return made

    uniform, each, second = (build(variant) for variant in (BASELINE, EACH, SECOND))
    subset = np.arange(min(HISTORY_SAMPLES, images.size))

    def two_steps(live: Run) -> Callable[[], object]:
        def work() -> None:
            one_step(live)
            one_step(live)  # one of them is without the auxiliary D where that is every=2

        return work

    parts: dict[str, tuple[Callable[[], object], int]] = {
        "uniform": (two_steps(uniform), 2),
        "each": (two_steps(each), 2),
        "second": (two_steps(second), 2),
        "sweep": (lambda: _sweep(uniform, None), 1),
        "history": (lambda: _sweep(uniform, subset), 1),
    }
    schedule = Schedule(DiaOptions(), 50 if quick else _STEPS, weighted=True)
    times: dict[str, list[dict[str, float]]] = {
        variant.label: [] for variant in (BASELINE, EACH, SECOND, SWEEPS)
    }
    for work, _ in parts.values():
        work()
    for _ in range(settings.pairs(5)):
        cost = {name: seconds(work) / count for name, (work, count) in parts.items()}
        for variant, step in ((EACH, "each"), (SECOND, "second")):
            times[variant.label].append(_composed(schedule, cost, step, records=True))
        times[SWEEPS.label].append(_composed(schedule, cost, "uniform", records=True))
        times[BASELINE.label].append(_composed(schedule, cost, "uniform", records=False))
    note = f"added up from parts for {schedule.total_steps:,} steps"
    return _rows(f"DCGAN, 32 px, {images.size:,} images", times, note)


def _sweep(run: Run, indices: Any) -> object:
    return sweep(
        run.logits,
        run.dataset,
        discriminator=run.discriminator,
        mode=resolve_logit_mode("auto", run.discriminator),
        batch_size=run.batch_size,
        seed=run.seed,
        step=run.step,
        device=run.device,
        indices=indices,
    )


def _composed(
    schedule: Schedule, cost: dict[str, float], step: str, *, records: bool
) -> dict[str, float]:
    """Adds up a run from the seconds of its parts; `step` is that of phase 2."""
    total, end = schedule.total_steps, schedule.phase1_end
    drawn = [at for at in range(1, total + 1) if schedule.history_at(at)]
    early = sum(at <= end for at in drawn) + 1  # one before the first step
    first = end * cost["uniform"]
    rest = (total - end) * cost[step]
    if records:
        first += len(schedule.record_steps) * cost["sweep"] + early * cost["history"]
        rest += (len(drawn) + 1 - early) * cost["history"]
    return {PHASE1: first, PHASE2: rest, ALL: first + rest}


def _rows(case: str, times: dict[str, list[dict[str, float]]], note: str) -> list[Row]:
    rows = []
    for variant in (EACH, SECOND, SWEEPS):
        for part in variant.parts:
            pair = Pair(
                [measured[part] for measured in times[variant.label]],
                [measured[part] for measured in times[BASELINE.label]],
            )
            aim = variant.aim if part == ALL else None
            rows.append(pair.row(NAME, f"{case}: {variant.label}, {part}", aim, note=note))
    return rows
