"""`--dry-run`: the resolved configuration, what will be done, and what it will cost."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
import yaml

from gan_registry.config.schema import Config
from gan_registry.formatting import align, duration
from gan_registry.plugins import PluginManager
from gan_registry.training.build import build_data, build_networks, build_optimizers
from gan_registry.training.run import Run
from gan_registry.training.updates import update_discriminator, update_generator

_TIMED_STEPS = 5


def describe_plan(
    config: Config,
    plugins: PluginManager,
    options: Mapping[str, Mapping[str, Any]],
    name: str,
    folder: Path,
) -> str:
    """Describes a run without starting it; nothing is written.

    The cost is estimated from a few steps on throw-away networks, without plugins' hooks, and
    from the extra samples that plugins say they pass through D.

    Raises:
        UserError: The run could not be started as configured.
    """
    resolved = {**config.model_dump(), "PLUGINS": {k: dict(v) for k, v in options.items()}}
    run = Run(config, plugins, options, None, config_name=name)
    run.hooks.build(run)
    build_data(run)
    rows = [
        ["run folder", str(folder)],
        ["device", str(run.device)],
        ["training samples", str(len(run.dataset))],
        ["steps", str(run.total_steps)],
        ["epochs", f"{run.total_steps * run.samples_per_step / len(run.dataset):.1f}"],
    ]
    extra = 0
    for plugin, entries in run.hooks.plan(run):
        for label, value in entries.items():
            if label == "discriminator_samples":
                extra += int(value)
            else:
                rows.append([f"{plugin}: {label}", str(value)])
    build_networks(run)  # plugins may refuse them
    a_step, a_sample = _measure(config, plugins)
    training, passes = a_step * run.total_steps, a_sample * extra
    rows.append(["a step", f"{1000 * a_step:.1f} ms"])
    rows.append(["estimate, training", duration(training)])
    if extra:
        rows.append(["estimate, extra passes", f"{duration(passes)} ({extra} samples)"])
    rows.append(["estimate, in all", f"about {duration(training + passes)}"])
    table = "\n".join(line for line in align([["plan", ""], *rows]))
    return f"{yaml.safe_dump(resolved, sort_keys=False)}\n{table}"


def _measure(config: Config, plugins: PluginManager) -> tuple[float, float]:
    """Returns the seconds of a step, and of one sample's pass through D."""
    bare = PluginManager(load_entry_points=False)
    bare.catalogs = plugins.catalogs
    plain = config.model_copy(deep=True)
    # A plugin's sampler or objective may ask for what its hooks would have set up.
    plain.RUN.sampler, plain.RUN.samples = "uniform", "plain"
    plain.LOSS.objective = "adversarial"
    run = Run(plain, bare, {}, None)
    build_data(run)
    build_networks(run)
    build_optimizers(run)

    def step() -> None:
        update_discriminator(run, 0)
        update_generator(run, 0)

    step()  # the first one pays for memory and kernels
    started = time.perf_counter()
    for _ in range(_TIMED_STEPS):
        for number in range(config.OPTIMIZATION.d_updates_per_step):
            update_discriminator(run, number)
        for number in range(config.OPTIMIZATION.g_updates_per_step):
            update_generator(run, number)
    _wait(run.device)
    a_step = (time.perf_counter() - started) / _TIMED_STEPS
    batch = run.stream.next()
    started = time.perf_counter()
    with torch.no_grad():
        for _ in range(_TIMED_STEPS):
            run.discriminator(batch.x, batch.y)
    _wait(run.device)
    return a_step, (time.perf_counter() - started) / _TIMED_STEPS / len(batch.x)


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
