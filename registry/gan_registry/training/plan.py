"""`--dry-run`: the resolved configuration, what will be done, and what it will cost."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from operator import mul
from pathlib import Path
from statistics import mean
from typing import Any

import torch
import yaml

from gan_registry.config.schema import Config
from gan_registry.formatting import align, duration
from gan_registry.plugins import PluginManager
from gan_registry.records import Real
from gan_registry.training.build import (
    NoDataError,
    build_data,
    build_networks,
    build_optimizers,
    build_stream,
)
from gan_registry.training.run import Run
from gan_registry.training.updates import update_discriminator, update_generator

_BUDGET = 10.0
"""Seconds that the measuring may take, about."""

_TIMED_UPDATES = 5
_LONG_UPDATE = 2.0  # seconds from which an update is estimated instead
_TRIED = 2  # samples of the first pass for an estimate; batch norm needs two
_LONG_PASS = 0.5  # seconds of a pass that tell enough


def describe_plan(
    config: Config,
    plugins: PluginManager,
    options: Mapping[str, Mapping[str, Any]],
    name: str,
    folder: Path,
) -> str:
    """Describes a run without starting it; nothing is written.

    The cost is measured in a few updates of throw-away networks, without plugins' hooks, within
    seconds; where an update takes long, it is estimated from forward passes of a few samples. To it
    comes that of the extra samples that plugins say they pass through D. Without the data, the plan
    ends before what depends on them.

    Raises:
        UserError: The run could not be started as configured, for other reasons than that the data
            are missing.
    """
    resolved = {**config.model_dump(), "PLUGINS": {k: dict(v) for k, v in options.items()}}
    run = Run(config, plugins, options, None, config_name=name)
    run.hooks.build(run)
    rows = [["run folder", str(folder)], ["device", str(run.device)]]
    missing = ""
    try:
        build_data(run)
    except NoDataError as error:
        rows += [
            ["training samples", "unknown"],
            ["steps", str(run.total_steps)],
            ["epochs", "unknown"],
            ["estimate, in all", "none without the data"],
        ]
        missing = (
            "\n\nWithout the data it cannot be told what plugins will do, nor what it will cost.\n"
            f"{error}"
        )
    else:
        rows += [
            ["training samples", str(len(run.dataset))],
            ["steps", str(run.total_steps)],
            ["epochs", f"{run.total_steps * run.samples_per_step / len(run.dataset):.1f}"],
            *_plugins_and_cost(run),
        ]
    table = "\n".join(line for line in align([["plan", ""], *rows]))
    return f"{yaml.safe_dump(resolved, sort_keys=False)}\n{table}{missing}"


def _plugins_and_cost(run: Run) -> list[list[str]]:
    """Returns the rows that plugins add, and what all will cost."""
    rows, extra = [], 0
    for plugin, entries in run.hooks.plan(run):
        for label, value in entries.items():
            if label == "discriminator_samples":
                extra += int(value)
            else:
                rows.append([f"{plugin}: {label}", str(value)])
    build_networks(run, trained=False)  # plugins may refuse them
    cost = _measure(run)
    training, passes = cost.step * run.total_steps, cost.sample * extra
    said = "" if cost.measured else " (estimated from forward passes)"
    rows.append(["a step", f"{1000 * cost.step:.1f} ms{said}"])
    rows.append(["estimate, training", duration(training)])
    if extra:
        rows.append(["estimate, extra passes", f"{duration(passes)} ({extra} samples)"])
    rows.append(["estimate, in all", f"about {duration(training + passes)}"])
    return rows


@dataclass(frozen=True)
class _Cost:
    """Seconds of a step, and of one sample's pass through D; whether the step was measured."""

    step: float
    sample: float
    measured: bool


def _measure(described: Run) -> _Cost:
    """Measures a bare run like the one that is described, on the same data."""
    config, bare = described.config, PluginManager(load_entry_points=False)
    bare.catalogs = described.plugins.catalogs
    plain = config.model_copy(deep=True)
    # A plugin's sampler or objective may ask for what its hooks would have set up.
    plain.RUN.sampler, plain.RUN.samples = "uniform", "plain"
    plain.LOSS.objective = "adversarial"
    run = Run(plain, bare, {}, None)
    run.dataset = described.dataset
    build_stream(run)
    build_networks(run)
    build_optimizers(run)

    settings, started = config.OPTIMIZATION, time.perf_counter()
    batch = run.stream.next()
    generated, judged = _time_passes(run, batch)
    samples = settings.batch_size * settings.acml_steps // run.world_size
    # A backward pass costs about two forward ones. D's update: G forward, D forward and backward
    # on real and on generated samples. G's: both networks forward and backward.
    updates = [
        (update_discriminator, samples * (generated + 6 * judged)),
        (update_generator, samples * 3 * (generated + judged)),
    ]
    numbers = settings.d_updates_per_step, settings.g_updates_per_step
    if max(expected for _, expected in updates) > _LONG_UPDATE:
        seconds = [expected for _, expected in updates]
        return _Cost(sum(map(mul, numbers, seconds)), judged, measured=False)

    def timed(update: Any) -> float:
        begun = time.perf_counter()
        update(run, 0)
        _wait(run.device)
        return time.perf_counter() - begun

    first = [timed(update) for update, _ in updates]  # they pay for memory and kernels
    warm: list[list[float]] = []
    while len(warm) < _TIMED_UPDATES:
        spent = time.perf_counter() - started
        if spent + sum(warm[-1] if warm else first) > _BUDGET:
            break
        run.step += 1  # as lazy regularisers are due at some only
        warm.append([timed(update) for update, _ in updates])
    seconds = [mean(of_one) for of_one in zip(*(warm or [first]), strict=True)]
    if judged * len(batch.x) < _LONG_UPDATE:
        judged = _seconds(run, partial(run.discriminator, batch.x, batch.y)) / len(batch.x)
    return _Cost(sum(map(mul, numbers, seconds)), judged, measured=True)


def _time_passes(run: Run, batch: Real) -> tuple[float, float]:
    """Returns the seconds of a sample's forward pass through G and through D.

    More samples at a time take less each, so their number grows until a pass takes long enough.
    """
    n = min(_TRIED, len(batch.x))
    warm = False
    while True:
        z, y = run.latents(n, "plan"), run.labels(n, "plan")
        x, labels = batch.x[:n], None if batch.y is None else batch.y[:n]
        seconds = (
            _seconds(run, partial(run.generator, z, y)),
            _seconds(run, partial(run.discriminator, x, labels)),
        )
        if warm:
            if sum(seconds) >= _LONG_PASS or n == len(batch.x):
                return seconds[0] / n, seconds[1] / n
            n = min(4 * n, len(batch.x))
        warm = True  # the first passes paid for memory and kernels


def _seconds(run: Run, call: Callable[[], Any]) -> float:
    started = time.perf_counter()
    with torch.no_grad(), run.precision.autocast():
        call()
    _wait(run.device)
    return time.perf_counter() - started


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
