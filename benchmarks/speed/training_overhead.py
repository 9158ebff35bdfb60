"""A whole training run: `--sampler dia` against `uniform`, by phase and in all.

`colored_digits` as it is packaged, and a 32-px DCGAN with 10,000 images for 50,000 steps (the
paper's length: 40,000 of phase 1 on CIFAR-10). Whole runs take from minutes to half a day, in which
a machine changes more than what is to be measured. So the parts are measured in turns, steps of
both phases, a sweep and the verdict so far, and added up as the run's own schedule has
them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from benchmarks.speed.harness import Aim, Pair, Row, Settings, at_most, seconds
from benchmarks.speed.setups import (
    NoiseImages,
    dcgan32,
    driver_of,
    packaged,
    packaged_options,
    phase2,
    plugin_manager,
    sweep_of,
    untrained,
)
from diagan_plugin.dia.options import DiaOptions
from diagan_plugin.dia.progress import is_due, progress_verdict
from diagan_plugin.dia.schedule import HISTORY_SAMPLES, Schedule
from gan_registry.config.schema import Config
from gan_registry.plugins import PluginManager
from gan_registry.training.run import Run
from gan_registry.training.step import train_step

NAME = "training_overhead"
PHASE1, PHASE2, ALL = "phase 1", "phase 2", "in all"
_DIGITS = "colored_digits"
_STEPS = 50_000
Work = Callable[[], object]


@dataclass(frozen=True)
class Variant:
    """What is compared with uniform sampling.

    Attributes:
        label: What it is called in the table.
        step: The part that a step of phase 2 is.
        weighted: Whether there is a phase 2.
        aim: Bound on its time in all.
        shown: What has a row of its own.
    """

    label: str
    step: str
    weighted: bool
    aim: Aim
    shown: tuple[str, ...]


_VARIANTS = (
    Variant("auxiliary D each step", "each", True, at_most(1.15), (PHASE1, PHASE2, ALL)),
    Variant("auxiliary D each 2nd step", "second", True, at_most(1.08), (PHASE2, ALL)),
    Variant("the sweeps alone", "uniform", False, at_most(1.02), (ALL,)),
)


@dataclass(frozen=True)
class Case:
    """A training.

    Attributes:
        label: What it is called in the table.
        make: Reads its configuration, for a plugin manager.
        plugins: Makes a plugin manager.
        options: Options of `dia`.
        steps: Steps of a measurement, an even number.
        samples: Training samples of the run, if more than there are to measure with: a sweep takes
            as much longer.
    """

    label: str
    make: Callable[[PluginManager], Config]
    plugins: Callable[[], PluginManager]
    options: Mapping[str, Any] = field(default_factory=dict)
    steps: int = 2
    samples: int = 0


def run(settings: Settings) -> list[Row]:
    """Measures both trainings."""
    quick = settings.quick
    digits = Case(
        _DIGITS, partial(packaged, _DIGITS), plugin_manager, packaged_options(_DIGITS),
        2 if quick else 20,
    )  # fmt: skip
    images, samples = NoiseImages(100 if quick else 500), 10_000
    size: dict[str, Any] = {"OPTIMIZATION__total_steps": _STEPS}
    if quick:
        size = {"OPTIMIZATION__total_steps": 50, "OPTIMIZATION__batch_size": 16}
        size |= {"MODEL__g_conv_dim": 8, "MODEL__d_conv_dim": 8}
    make = partial(dcgan32, **size)
    dcgan = Case(
        f"DCGAN, 32 px, {samples:,} images", make, partial(plugin_manager, noise=images),
        samples=samples,
    )  # fmt: skip
    return [*_measure(digits, settings, 9), *_measure(dcgan, settings, 5)]


def _measure(case: Case, settings: Settings, usual: int) -> list[Row]:
    plugins = case.plugins()
    config = case.make(plugins)
    total = config.OPTIMIZATION.total_steps
    uniform = untrained(config, plugins)
    samples = case.samples or len(uniform.dataset)
    parts, longer = _parts(case, uniform), samples / len(uniform.dataset)
    subset = min(HISTORY_SAMPLES / samples, 1.0)
    for work, _ in parts.values():
        work()
    rounds = []
    for number in range(settings.pairs(usual)):
        order = list(parts.items())
        cost = {
            name: seconds(work) / count
            for name, (work, count) in (order if number % 2 == 0 else reversed(order))
        }
        cost["sweep"] *= longer
        rounds.append({**cost, "history": subset * cost["sweep"]})
    rows = []
    for variant in _VARIANTS:
        schedule = Schedule(DiaOptions(**case.options), total, variant.weighted)
        add = partial(_composed, schedule, whole=subset == 1.0)
        ours = [add(cost, variant.step, records=True) for cost in rounds]
        theirs = [add(cost, "uniform", records=False) for cost in rounds]
        for part in variant.shown:
            pair = Pair([each[part] for each in ours], [each[part] for each in theirs])
            note = f"added up from parts for {total:,} steps"
            aim = variant.aim if part == ALL else None
            rows.append(pair.row(NAME, f"{case.label}: {variant.label}, {part}", aim, note=note))
    return rows


def _parts(case: Case, uniform: Run) -> dict[str, tuple[Work, int]]:
    """Returns the parts of a run, and how many of them a call is."""

    def weighted(**dia: Any) -> Run:
        plugins = case.plugins()
        return phase2(case.make(plugins), plugins, **{**case.options, **dia})

    each, second = weighted(), weighted(aux_every=2)
    driver = driver_of(each)

    def verdict() -> object:
        diagnosis = driver.diagnosis(each, named=False)
        assert diagnosis is not None
        return progress_verdict(each, diagnosis)

    steps = {"uniform": uniform, "each": each, "second": second}
    return {
        **{name: (partial(_train, live, case.steps), case.steps) for name, live in steps.items()},
        "sweep": (partial(sweep_of, uniform), 1),
        "verdict": (verdict, 1),
    }


def _train(live: Run, steps: int) -> None:
    for _ in range(steps):
        train_step(live)


def _composed(
    schedule: Schedule, cost: Mapping[str, float], step: str, *, records: bool, whole: bool
) -> dict[str, float]:
    """Adds up a run from the seconds of its parts; `step` is that of phase 2.

    A sweep of all samples is the heat map's record, too, where its samples are the `whole` data.
    """
    total, end = schedule.total_steps, schedule.phase1_end
    first, rest = end * cost["uniform"], (total - end) * cost[step]
    if records:
        first += cost["history"]  # before the first step
        for at in range(1, total + 1):
            extra = cost["verdict"] if is_due(at, total) else 0.0
            swept = schedule.records_at(at)
            extra += cost["sweep"] if swept else 0.0
            extra += cost["history"] if schedule.history_at(at) and not (swept and whole) else 0.0
            if at <= end:
                first += extra
            else:
                rest += extra
    return {PHASE1: first, PHASE2: rest, ALL: first + rest}
