"""Runs to measure on: configurations, a dataset of noise, and plugins that only watch."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from benchmarks.speed.harness import now
from diagan_plugin.dia.plugin import DiaPlugin
from gan_registry.config.load import read_config, validate_config
from gan_registry.config.schema import Config
from gan_registry.datasets.base import ArrayDataset
from gan_registry.hookspecs import hookimpl
from gan_registry.plugins import PluginManager
from gan_registry.training.build import build_data, build_networks, build_optimizers
from gan_registry.training.run import Run
from gan_registry.training.trainer import train
from gan_registry.training.updates import update_discriminator, update_generator

NOISE_IMAGES = 10_000


class NoiseImages:
    """Adds the dataset `noise32`: 32-px colour images; their content matters to no timing."""

    def __init__(self, size: int = NOISE_IMAGES) -> None:
        self.size = size

    @hookimpl
    def gan_register(self, catalogs: Any) -> None:
        """Adds the dataset."""

        def build(config: Config, data_dir: object) -> ArrayDataset:
            rng = np.random.default_rng(0)
            return ArrayDataset("noise32", rng.integers(0, 256, (self.size, 3, 32, 32), np.uint8))

        catalogs.datasets.register("noise32", build)


class Stopwatch:
    """Notes when each step has ended, with everything that plugins did in it."""

    def __init__(self) -> None:
        self.marks: list[float] = []

    @hookimpl
    def gan_models_ready(self) -> None:
        """Starts."""
        self.marks = [now()]

    @hookimpl
    def gan_step_end(self) -> None:
        """Notes the time. The name it is registered under is the last in the alphabet."""
        self.marks.append(now())

    def seconds(self, first: int, last: int) -> float:
        """Returns the time from the end of step `first` to the end of step `last`."""
        return self.marks[last] - self.marks[first]


class StopAfter:
    """Ends the training after so many steps of a schedule made for more."""

    def __init__(self, steps: int) -> None:
        self.steps = steps

    @hookimpl
    def gan_step_end(self, run: Run) -> None:
        """Stops."""
        if run.step == self.steps:
            run.stop("the benchmark takes over")


def plugin_manager(*, dia: bool = True, **others: object) -> PluginManager:
    """Returns a manager with `dia` and what is given, whatever is installed besides."""
    plugins = PluginManager(load_entry_points=False)
    if dia:
        plugins.register(DiaPlugin(), "dia")
    for name, plugin in others.items():
        plugins.register(plugin, name)
    return plugins


def packaged(name: str, plugins: PluginManager, **settings: Any) -> Config:
    """Reads a packaged configuration; settings are `SECTION__key=value`."""
    _, where, content = read_config(name)
    return _validated({**content, "PLUGINS": {}}, where, plugins, settings)


def dcgan32(plugins: PluginManager, **settings: Any) -> Config:
    """A DCGAN for 32-px images, with StudioGAN's widths and no batch norm in D."""
    content: dict[str, Any] = {
        "DATA": {"name": "noise32", "img_size": 32},
        "MODEL": {"backbone": "dcgan", "g_init": "N(0.02)", "d_init": "N(0.02)"},
        "LOSS": {"adv_loss": "logistic"},
        "OPTIMIZATION": {"d_updates_per_step": 1},
    }
    return _validated(content, "the benchmark", plugins, settings)


def _validated(
    content: dict[str, Any], where: str, plugins: PluginManager, settings: Mapping[str, Any]
) -> Config:
    common = {"RUN__device": "cpu"}
    for key, value in {**common, **settings}.items():
        section, _, entry = key.partition("__")
        content[section] = {**content.get(section, {}), entry: value}
    return validate_config(content, where, plugins.catalogs.claims)


def trained(config: Config, plugins: PluginManager, dia: Mapping[str, Any] | None = None) -> Run:
    """Trains without a folder and without a word, with these options of `dia`."""
    given = {} if dia is None else {"dia": dict(dia)}
    return train(config, None, plugins, plugins.options.resolve(given), quiet=True)


def untrained(config: Config, plugins: PluginManager) -> Run:
    """Builds a run as `train` does, up to the first step."""
    run = Run(config, plugins, plugins.options.resolve({}))
    run.hooks.build(run)
    build_data(run)
    build_networks(run)
    build_optimizers(run)
    run.hooks.train_start(run)
    return run


def phase2(config: Config, plugins: PluginManager, **dia: Any) -> Run:
    """Trains a run with the sampler `dia` to just after the beginning of phase 2.

    The schedule is that of a long run, so that nothing but the updates happens in the steps that
    follow.
    """
    config.OPTIMIZATION.total_steps = 1_000_000
    config.RUN.sampler = "dia"
    plugins.register(StopAfter(3), "stop")
    return trained(config, plugins, {"phase1": 2e-6, "record_every": 1, **dia})


def one_step(run: Run) -> None:
    """A step of the training loop, without its outputs."""
    update_discriminator(run, 0)
    update_generator(run, 0)
    run.step += 1
    run.hooks.step_end(run)
