"""The host's own run: what hooks receive when `gan-registry` trains."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from gan_registry.catalogs import HOST
from gan_registry.config.schema import Config
from gan_registry.dispatch import Dispatcher
from gan_registry.dispatch_values import loss_judge
from gan_registry.errors import UserError, unknown_name
from gan_registry.live_run import LiveRun
from gan_registry.plugins import PluginManager, asked_plugins, chosen_plugins
from gan_registry.records import AddedTerms
from gan_registry.training.discriminator_regularization import DiscriminatorRegularization
from gan_registry.training.distributed import Group
from gan_registry.training.health_watch import HealthWatch
from gan_registry.training.kept_generators import KeptGenerators
from gan_registry.training.precision import Precision

if TYPE_CHECKING:
    from gan_registry.backbones.base import Backbone
    from gan_registry.training.ema import MovingAverage
    from gan_registry.training.regularization import Regularization
    from gan_registry.training.stream import BatchStream


class Run(LiveRun):
    """A training run of `gan-registry`, live or opened again from its folder.

    Args:
        config: The validated configuration.
        plugins: The loaded plugins.
        options: Plugin → option → value.
        folder: The run folder, or None for a run that writes nothing.
        group: Rank and world size; those of torch.distributed by default.
        config_name: What results are named after.

    Attributes:
        hooks: Calls the plugins.
        participants: Names of the plugins that the training depends on.
        trusted: Whether its configuration may name code; false for a folder that was merely opened.
        stream: The batches.
        regularization: What the configuration adds to the losses.
        average: The moving average of the generator, or None.
        health: Watches whether the training is sick.
        seconds: Time spent training.
        sound_checkpoints: Steps whose checkpoints this process has written or read through.
        whole_step: The latest step that was done in all its parts, hooks included; 0 for none.
        kept: Generators of earlier steps.
        announce: Shows a line to whoever watches.
    """

    plugins: PluginManager
    trusted = True
    backbone: Backbone
    stream: BatchStream
    regularization: Regularization

    def __init__(
        self,
        config: Config,
        plugins: PluginManager,
        options: Mapping[str, Mapping[str, Any]],
        folder: Path | None = None,
        group: Group | None = None,
        config_name: str = "config",
    ) -> None:
        settings, device = config.OPTIMIZATION, resolve_device(config.RUN.device)
        super().__init__(
            config, plugins, options, config_name=config_name, total_steps=settings.total_steps,
            seed=config.RUN.seed, group=group or Group.current(), device=device,
            precision=Precision(config.RUN.mixed_precision, device), folder=folder,
        )  # fmt: skip
        asked = asked_plugins(plugins, options, _trained_by(config) + _measured_by(config))
        self.hooks = Dispatcher(plugins, asked, guarded=("generator", "discriminator"))
        chosen = chosen_plugins(plugins, options, _trained_by(config))
        self.participants = chosen - plugins.observers - {HOST}
        self.batch_size = settings.batch_size
        self.samples_per_step = (
            settings.batch_size * settings.acml_steps * settings.d_updates_per_step
        )
        self.seconds = 0.0
        self.health = HealthWatch(self)
        self.sound_checkpoints: set[int] = set()
        self.whole_step = 0
        self.kept = KeptGenerators(self)
        self.announce: Callable[[str], None] = super().say
        self.average: MovingAverage | None = None
        if config.RUN.samples != "plain":
            self.postprocessors.append(config.RUN.samples)
        _tune_convolutions(config.RUN.cudnn_benchmark)
        if config.RUN.cpu_threads:
            torch.set_num_threads(config.RUN.cpu_threads)

    @property
    def position(self) -> int:
        """The stream position of the next batch."""
        return self.stream.position

    def regularization_of(self, discriminator: nn.Module, name: str) -> AddedTerms:
        """Returns what is added to the loss of a discriminator trained as the run's own is."""
        return DiscriminatorRegularization(self, discriminator, name)

    def _replace(self, kind: str, network: nn.Module) -> None:
        setattr(self.backbone, kind, network)

    @property
    def sampling_generator(self) -> nn.Module:
        """The network to sample from: the moving average where there is one."""
        return self.generator if self.average is None else self.average.average

    def log(self, values: Mapping[str, Any]) -> None:
        """Notes scalars for the next log line; a loss that is not finite ends the run.

        Raises:
            Diverged: A loss is NaN or infinite; on a GPU this is found later, by its step.
            PluginError: A value can be neither logged nor saved.
        """
        super().log(values)
        for name, value in values.items():
            if name.startswith("loss/") and isinstance(value, Tensor):
                self.check_loss(name, value)

    def say(self, text: str) -> None:
        """Prints a line above the progress, unless the run is quiet."""
        self.announce(text)

    def log_text(self, name: str, text: str) -> None:
        """Notes a text for the next line of `metrics.jsonl`, and for TensorBoard."""
        super().log({name: text})

    def keep_generator(self, name: str) -> None:
        """Keeps the generator that is sampled from, in a file of the run folder."""
        self.kept.keep(name)

    def check_loss(self, name: str, loss: Tensor) -> None:
        """Judges a loss of the present step, without waiting for the device.

        Not in float16, where single losses may overflow: the optimiser leaves out such a step.

        Raises:
            Diverged: It is NaN or infinite; on a GPU this is found later, by its step.
        """
        if self.precision.name != "fp16":
            done = self.calling[1] == "gan_step_end"
            self.hooks.values.check(loss, loss_judge(name, self.step + (not done)))

    def share_buffers(self) -> None:
        """Gives every rank the same buffers in all networks, added ones included."""
        if self.world_size == 1:
            return
        added = [a for a in self.additions.values() if isinstance(a, nn.Module)]
        for network in (self.generator, self.discriminator, *added):
            self.group.share_buffers(network)

    def average_losses(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """Returns logged values with the losses averaged over the ranks."""
        losses = {name: value for name, value in values.items() if name.startswith("loss/")}
        return {**values, **self.group.mean(losses, self.device)}

    def set_weights(self, weights: NDArray[np.float64]) -> None:
        """Draws training samples by `weights` [N] from the next batch on."""
        self.sampler.set_weights(weights, self.position)
        self.stream.seek(self.position)


def _trained_by(config: Config) -> list[tuple[str, str]]:
    """Returns what a configuration chooses by name for the training: catalog, name."""
    return [
        ("datasets", config.DATA.name),
        ("backbones", config.MODEL.backbone),
        ("losses", config.LOSS.adv_loss),
        ("objectives", config.LOSS.objective),
        ("samplers", config.RUN.sampler),
        ("postprocessors", config.RUN.samples),
    ]


def _measured_by(config: Config) -> list[tuple[str, str]]:
    """Returns what it chooses for the evaluation."""
    return [
        ("features", config.RUN.eval_features),
        *(("metrics", name) for name in config.RUN.eval_metrics),
    ]


def _tune_convolutions(benchmark: bool) -> None:
    """Lets cuDNN choose its algorithms by timing them, or by its own rules.

    Raises:
        UserError: They are to be timed, and torch is to use deterministic ones only.
    """
    if benchmark and torch.are_deterministic_algorithms_enabled():
        raise UserError(
            "RUN.cudnn_benchmark takes whichever algorithm was fastest in a trial, so that numbers "
            "differ from start to start, but torch.use_deterministic_algorithms is on; leave one "
            "of them out."
        )
    torch.backends.cudnn.benchmark = benchmark


def resolve_device(name: str) -> torch.device:
    """Turns auto, cpu, cuda or mps into a device.

    Raises:
        UserError: The machine has no such device.
    """
    available = {
        "cuda": torch.cuda.is_available(),
        "mps": torch.backends.mps.is_available(),
        "cpu": True,
    }
    if name == "auto":
        name = "cuda" if available["cuda"] else "cpu"
    if name not in available:
        raise unknown_name("device", name, ["auto", *available])
    if not available[name]:
        raise UserError(
            f"This machine offers no {name} device; choose --device cpu or --device auto."
        )
    return torch.device(name)
