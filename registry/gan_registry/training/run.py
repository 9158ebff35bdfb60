"""The live run: the one object that hooks receive, and what it can do for them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from gan_registry.config.schema import Config
from gan_registry.datasets.fetching import to_device
from gan_registry.dispatch import Dispatcher
from gan_registry.errors import PluginError, UserError, unknown_name
from gan_registry.plugins import PluginManager, asked_plugins
from gan_registry.records import Fake
from gan_registry.seeding import derive_seed, generator_for
from gan_registry.training.distributed import Group
from gan_registry.training.precision import Precision

if TYPE_CHECKING:
    from gan_registry.backbones.base import Backbone
    from gan_registry.datasets.base import Dataset
    from gan_registry.losses.base import Loss
    from gan_registry.samplers.base import IndexSampler
    from gan_registry.training.ema import MovingAverage
    from gan_registry.training.objectives import Objective
    from gan_registry.training.regularization import Regularization
    from gan_registry.training.stream import BatchStream

Addition = nn.Module | torch.optim.Optimizer


class Run:
    """A training run, live or opened again from its folder.

    The parts appear in the order of the loop in :mod:`gan_registry.hookspecs`; asking for one that
    is not built yet is an AttributeError.

    Attributes:
        config: The validated configuration.
        options: Plugin → option → value, for every loaded plugin.
        plugins: The loaded plugins and their catalogs.
        hooks: Calls the plugins.
        device: Where networks and batches live.
        precision: In what the networks are computed.
        folder: The run folder, or None for a run that writes nothing.
        group: Rank and world size.
        seed: The run's seed; all randomness follows from it.
        step: Steps done.
        first_step: Steps that were done when the run was opened: 0 unless it continues one.
        total_steps: Steps to do in all.
        dataset: The training data.
        sampler: Maps stream positions to dataset indices.
        stream: The batches.
        backbone: Makes networks and latents; its `generator` and `discriminator` are the run's.
        loss: The adversarial loss.
        objective: What the networks play for: updates them.
        regularization: What the configuration adds to the losses.
        optimizers: "generator" and "discriminator".
        average: The moving average of the generator, or None.
        additions: What plugins gave to :meth:`add`, by name.
        postprocessors: Post-processors that the evaluation at the end uses beside `plain`.
        stopped: Why a plugin ended the training early, or None.
    """

    dataset: Dataset
    sampler: IndexSampler
    stream: BatchStream
    backbone: Backbone
    loss: Loss
    objective: Objective
    regularization: Regularization
    optimizers: dict[str, torch.optim.Optimizer]

    def __init__(
        self,
        config: Config,
        plugins: PluginManager,
        options: Mapping[str, Mapping[str, Any]],
        folder: Path | None = None,
        group: Group | None = None,
        config_name: str = "config",
    ) -> None:
        self.config = config
        self.config_name = config_name
        self.plugins = plugins
        self.options = options
        self.hooks = Dispatcher(plugins, asked_plugins(config, plugins, options))
        self.folder = folder
        self.group = group or Group.current()
        self.device = resolve_device(config.RUN.device)
        self.precision = Precision(config.RUN.mixed_precision, self.device)
        if config.RUN.cpu_threads:
            torch.set_num_threads(config.RUN.cpu_threads)
        self.seed = config.RUN.seed
        self.step = 0
        self.first_step = 0
        self.total_steps = config.OPTIMIZATION.total_steps
        self.seconds = 0.0
        self.average: MovingAverage | None = None
        self.additions: dict[str, Addition] = {}
        self.postprocessors: list[str] = []
        if config.RUN.samples != "plain":
            self.postprocessors.append(config.RUN.samples)
        self.stopped: str | None = None
        self.optimizers = {}
        self._logged: dict[str, Any] = {}
        self._draws: Counter[tuple[str, str]] = Counter()
        self._builds: Counter[tuple[str, str]] = Counter()

    @property
    def rank(self) -> int:
        """This process's number, from 0."""
        return self.group.rank

    @property
    def world_size(self) -> int:
        """The number of processes."""
        return self.group.world_size

    @property
    def generator(self) -> nn.Module:
        """The generator; may be replaced in `gan_models_ready`."""
        return self.backbone.generator

    @generator.setter
    def generator(self, network: nn.Module) -> None:
        self.backbone.generator = network

    @property
    def discriminator(self) -> nn.Module:
        """The discriminator; may be replaced in `gan_models_ready`."""
        return self.backbone.discriminator

    @discriminator.setter
    def discriminator(self, network: nn.Module) -> None:
        self.backbone.discriminator = network

    @property
    def batch_size(self) -> int:
        """Samples of a micro-batch over all ranks."""
        return self.config.OPTIMIZATION.batch_size

    @property
    def samples_per_step(self) -> int:
        """Stream positions that a step consumes."""
        settings = self.config.OPTIMIZATION
        return settings.batch_size * settings.acml_steps * settings.d_updates_per_step

    @cached_property
    def fingerprint(self) -> str:
        """The dataset's digest, taken once."""
        return self.dataset.fingerprint()

    @property
    def position(self) -> int:
        """The stream position of the next batch."""
        return self.stream.position

    def latents(self, n: int, *purpose: int | str) -> Tensor:
        """Draws n latents [n, z_dim]; a pure function of (seed, purpose)."""
        rng = generator_for(self.seed, "latents", *purpose, device=self.device)
        return self.backbone.latent(n, rng, self.device)

    def labels(self, n: int, *purpose: int | str) -> Tensor | None:
        """Draws n class labels, int64 [n], for a conditional generator; None for any other.

        Classes come as often as in the training data, so that D sees the same mixture on both
        sides; a pure function of (seed, purpose).
        """
        if not getattr(self.backbone, "conditional", False):
            return None
        rng = generator_for(self.seed, "labels", *purpose)
        drawn = torch.rand(n, generator=rng, dtype=torch.float64)
        y = torch.searchsorted(self._cumulative_class_shares, drawn, right=True)
        return to_device(y, self.device)

    @cached_property
    def _cumulative_class_shares(self) -> Tensor:
        classes, labels = self.dataset.num_classes, self.dataset.labels
        counts = np.ones(classes) if labels is None else np.bincount(labels, minlength=classes)
        # Without the last bound, 1, which rounding could leave just below a draw.
        return torch.from_numpy(np.cumsum(counts / counts.sum())[:-1])

    def generate(self, n: int, *, averaged: bool = False) -> Fake:
        """Generates n samples without gradients, in the generator's present mode.

        Latents and labels follow from (seed, step, plugin, hook, number of this call in the step),
        so that one plugin's draws never shift another's.

        Args:
            n: How many.
            averaged: Use the moving average where the run keeps one.
        """
        caller = self.hooks.calling
        self._draws[caller] += 1
        purpose = ("generate", self.step, *caller, self._draws[caller])
        z, y = self.latents(n, *purpose), self.labels(n, *purpose)
        network = self.sampling_generator if averaged else self.generator
        with torch.no_grad():
            return Fake(network(z, y), z, y)

    def new_step(self) -> None:
        """Starts counting the draws of a step anew."""
        self._draws.clear()

    @property
    def sampling_generator(self) -> nn.Module:
        """The network to sample from: the moving average where there is one."""
        return self.generator if self.average is None else self.average.average

    def logits(
        self, x: Tensor, y: Tensor | None = None, discriminator: nn.Module | None = None
    ) -> Tensor:
        """Returns the log-density ratio that a discriminator assigns to samples.

        Args:
            x: Samples [B, ...] on the device.
            y: Labels [B], or None.
            discriminator: The network; the run's own by default.

        Returns:
            float32 [B], by the loss's `log_density_ratio`.
        """
        network = self.discriminator if discriminator is None else discriminator
        return self.loss.log_density_ratio(network(x, y), y).float()

    def build(self, kind: str, **overrides: Any) -> nn.Module:
        """Builds a fresh network from the backbone's catalog entry.

        Args:
            kind: "generator" or "discriminator".
            **overrides: What differs, e.g. `in_channels`, `seed`. Without a `seed` the weights
                follow from (the run's seed, plugin, number of this call).
        """
        plugin, _ = self.hooks.calling
        self._builds[plugin, kind] += 1
        number = self._builds[plugin, kind]
        overrides.setdefault("seed", derive_seed(self.seed, "build", kind, plugin, number))
        return self.backbone.build(kind, **overrides).to(self.device)

    def add(self, name: str, addition: Addition) -> None:
        """Adopts a network or optimiser: it is saved and restored with the run's own.

        Args:
            name: A name of the form `plugin.thing`.
            addition: The network (moved to the device) or optimiser.

        Raises:
            PluginError: The name is taken.
        """
        if name in self.additions:
            raise PluginError(f"run.add: the name {name!r} is taken.")
        if isinstance(addition, nn.Module):
            addition.to(self.device)
        self.additions[name] = addition

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
        return {**values, **self.group.mean(losses)}

    def average_gradients(self, network: nn.Module) -> None:
        """Averages a network's gradients over the ranks, as the run does with its own."""
        self.group.average_gradients(network.parameters())

    def set_weights(self, weights: NDArray[np.float64]) -> None:
        """Draws training samples by `weights` [N] from the next batch on.

        Batches that loader workers prefetched under the old weights are dropped.
        """
        self.sampler.set_weights(weights, self.position)
        self.stream.seek(self.position)

    def log(self, values: Mapping[str, Any]) -> None:
        """Notes scalars for the next log line; tensors are read only when it is written."""
        self._logged.update(values)

    def noted(self) -> dict[str, Any]:
        """Returns what was noted since the last log line, as plain values."""
        return {
            name: value.item() if isinstance(value, Tensor) else value
            for name, value in self._logged.items()
        }

    def take_log(self) -> dict[str, Any]:
        """Returns what was noted since the last log line, and forgets it."""
        noted = self.noted()
        self._logged = {}
        return noted

    def stop(self, reason: str) -> None:
        """Ends the training after this step, in good order."""
        self.stopped = reason


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
