"""Runs to measure on: configurations, a dataset of noise, and plugins that only watch."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from diagan_plugin.dia.driver import DiaDriver
from diagan_plugin.dia.plugin import DiaPlugin
from diagan_plugin.recording.logit_modes import resolve_logit_mode
from diagan_plugin.recording.sweep import sweep
from gan_registry.config.load import read_config, validate_config
from gan_registry.config.schema import Config
from gan_registry.datasets.base import ArrayDataset
from gan_registry.hookspecs import hookimpl
from gan_registry.plugins import PluginManager
from gan_registry.training.build import build_data, build_networks, build_optimizers
from gan_registry.training.run import Run
from gan_registry.training.trainer import train

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


def driver_of(run: Run) -> DiaDriver:
    """Returns what acts for `dia` in a run."""
    (plugin,) = (each for each in run.plugins.hooks.get_plugins() if isinstance(each, DiaPlugin))
    driver = plugin.driver(run)
    assert driver is not None
    return driver


def packaged_options(name: str) -> dict[str, Any]:
    """Returns the options of `dia` in a packaged configuration."""
    return dict(read_config(name)[2]["PLUGINS"]["dia"])


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
    return trained(config, plugins, {**dia, "phase1": 2e-6, "record_every": 1})


def sweep_of(run: Run) -> object:
    """Makes the log-density ratios of a run's data, as Dia does."""
    return sweep(
        run.logits,
        run.dataset,
        discriminator=run.discriminator,
        mode=resolve_logit_mode("auto", run.discriminator),
        batch_size=run.batch_size,
        seed=run.seed,
        step=run.step,
        device=run.device,
    )
