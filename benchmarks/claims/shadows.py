"""Several auxiliary discriminators in one run, on the same fakes: a comparison without the noise.

An auxiliary discriminator alters nothing of the run that it belongs to, so any number of them can
be trained side by side. They then differ in nothing but what is compared: same generator, same
fakes, same start.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from diagan_plugin.auxiliary.discriminator import AuxiliaryDiscriminator
from diagan_plugin.dia.options import DiaOptions
from diagan_plugin.dia.plugin import DiaPlugin
from diagan_plugin.dia.schedule import Schedule
from diagan_plugin.recording.sweep import sweep
from gan_registry.config.load import read_config, validate_config
from gan_registry.datasets.base import ArrayDataset
from gan_registry.datasets.fetching import fetch, to_device
from gan_registry.hookspecs import hookimpl
from gan_registry.plugins import PluginManager
from gan_registry.records import MicroBatch
from gan_registry.training.run import Run
from gan_registry.training.trainer import train


@dataclass(frozen=True)
class Variant:
    """How one of the auxiliary discriminators is trained.

    Attributes:
        mode: "uniform" or "importance".
        every: At every how many of D's updates.
        seed: Added to the run's seed: another one gives other batches.
    """

    mode: str = "uniform"
    every: int = 1
    seed: int = 0


class Shadows:
    """Trains auxiliary discriminators in phase 2 of a run with the sampler `dia`, as `dia` does.

    Args:
        variants: Name → how to train it.

    Attributes:
        auxiliaries: By name, from the beginning of phase 2.
        seconds: CPU time that each has cost.
        rest: CPU time of everything else in phase 2.
    """

    def __init__(self, variants: Mapping[str, Variant]) -> None:
        self.variants = dict(variants)
        self.auxiliaries: dict[str, AuxiliaryDiscriminator] = {}
        self.seconds = dict.fromkeys(variants, 0.0)
        self.rest = 0.0
        self._started = 0.0

    @hookimpl
    def gan_step_end(self, run: Run) -> None:
        """Makes the copies at the end of phase 1; `dia`, whose name sorts first, was called."""
        schedule = Schedule(DiaOptions(**run.options["dia"]), run.total_steps, True)
        if run.step == schedule.phase1_end:
            self.auxiliaries = {n: _copy(run, variant) for n, variant in self.variants.items()}
            self._started = time.process_time()
        if run.step == run.total_steps:
            elapsed = time.process_time() - self._started
            self.rest = elapsed - sum(self.seconds.values())

    @hookimpl
    def gan_discriminator_updated(self, run: Run, batches: Sequence[MicroBatch]) -> None:
        """Trains them."""
        fakes = [(batch.fake.x, batch.fake.y) for batch in batches]

        def provide(indices: NDArray[np.int64]) -> tuple[Tensor, Tensor | None]:
            x, y = fetch(run.dataset, indices)
            return to_device(x, run.device), None if y is None else to_device(y, run.device)

        for name, auxiliary in self.auxiliaries.items():
            started = time.process_time()
            if auxiliary.mode == "importance":
                auxiliary.step([batch.real for batch in batches], fakes)
            else:
                auxiliary.step(provide, fakes)
            self.seconds[name] += time.process_time() - started


def _copy(run: Run, variant: Variant) -> AuxiliaryDiscriminator:
    """Makes an auxiliary discriminator of the run's present D."""
    auxiliary = AuxiliaryDiscriminator(
        run.discriminator,
        run.optimizers["discriminator"],
        run.loss,
        len(run.dataset),
        seed=run.seed + variant.seed,
        every=variant.every,
        forward=lambda network, x, y: network(x, y),
    )
    if variant.mode == "importance":
        # Set afterwards: with batch norm the constructor refuses it, and why is measured here.
        auxiliary.mode = "importance"
        auxiliary.set_probabilities(run.sampler.probabilities_at(run.position))  # type: ignore[attr-defined]
    return auxiliary


def train_with(
    variants: Mapping[str, Variant],
    config_name: str,
    seed: int,
    steps: int | None = None,
    batch_norm: bool = False,
    dia: Mapping[str, Any] | None = None,
) -> tuple[Run, Shadows]:
    """Trains a packaged configuration with the sampler `dia` and these auxiliary discriminators.

    Args:
        variants: Name → how to train it.
        config_name: A packaged configuration.
        seed: Seed of the run.
        steps: Length of the run; the interval of the records follows it. The configuration's by
            default.
        batch_norm: Put batch norm in D.
        dia: Further options of `dia`.
    """
    shadows = Shadows(variants)
    plugins = PluginManager(load_entry_points=False)
    plugins.register(DiaPlugin(), "dia")
    plugins.register(shadows, "shadows")
    _, where, content = read_config(config_name)
    config = validate_config(content, where, plugins.catalogs.claims)
    config.RUN.seed = seed
    config.RUN.sampler = "dia"
    config.MODEL.d_bn = batch_norm
    options = {**config.PLUGINS.get("dia", {}), **(dia or {}), "aux": "none"}
    if steps is not None:
        usual = config.OPTIMIZATION.total_steps
        options["record_every"] = max(options["record_every"] * steps // usual, 1)
        config.OPTIMIZATION.total_steps = steps
    run = train(config, None, plugins, plugins.options.resolve({"dia": options}), quiet=True)
    return run, shadows


def logits_of(run: Run, network: nn.Module, mode: str, x: Tensor | None = None) -> NDArray[Any]:
    """Returns a discriminator's logits [n] of samples x [n, ...], by default the training data.

    Args:
        run: The run.
        network: The discriminator.
        mode: One of `diagan_plugin.recording.logit_modes.LOGIT_MODES`.
        x: Samples on the CPU.
    """
    dataset = run.dataset if x is None else ArrayDataset("generated", x.numpy())
    logits = sweep(
        lambda x, y: run.logits(x, y, network),
        dataset,
        discriminator=network,
        mode=mode,
        batch_size=run.batch_size,
        seed=run.seed,
        step=run.step,
        device=run.device,
    )
    return np.asarray(torch.nan_to_num(logits).cpu(), np.float64)
