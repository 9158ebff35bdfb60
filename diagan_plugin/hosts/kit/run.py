"""A host's training as hooks see it: the `run` of every adapter."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from diagan_plugin.hosts.kit.loader import StreamLoader
from diagan_plugin.hosts.kit.networks import HostNetworks
from gan_registry.datasets.base import Dataset
from gan_registry.dispatch import Dispatcher
from gan_registry.errors import PluginError
from gan_registry.losses.base import Loss
from gan_registry.plugins import PluginManager
from gan_registry.records import Fake
from gan_registry.samplers.base import IndexSampler
from gan_registry.seeding import generator_for
from gan_registry.training.distributed import Group
from gan_registry.training.precision import Precision

Addition = nn.Module | torch.optim.Optimizer


class HostRun:
    """One training run of a host, with the attributes of `gan_registry`'s own `Run`.

    The data, the networks, the batches and the optimisers appear as the host makes them; asking for
    what is not there yet is an AttributeError.

    Args:
        host: The host's name.
        config: Its settings, as :func:`diagan_plugin.hosts.kit.config.merged_config` returns them.
        plugins: The loaded plugins.
        options: Plugin → option → value.
        asked: Plugins that the run asks for.
        total_steps: Generator steps to train.
        batch_size: Samples of a micro-batch over all processes.
        batches_per_step: Micro-batches that D sees in a step.
        seed: Seed of everything that plugins draw.
        group: Rank and world size.
        device: Where networks and batches are.
        folder: Where plugins may write, or None.

    Attributes:
        config_name: What results are named after; the host, unless set.
        dataset: The training data.
        sampler: Maps stream positions to dataset indices.
        loader: The batches.
        backbone: The networks.
        loss: The adversarial loss.
        step: Steps done.
        first_step: Steps that were done when the run was continued.
    """

    dataset: Dataset
    sampler: IndexSampler
    loader: StreamLoader
    backbone: HostNetworks
    loss: Loss

    def __init__(
        self,
        host: str,
        config: SimpleNamespace,
        plugins: PluginManager,
        options: Mapping[str, Mapping[str, Any]],
        asked: set[str],
        *,
        total_steps: int,
        batch_size: int,
        batches_per_step: int,
        seed: int,
        group: Group,
        device: torch.device,
        folder: Path | None,
    ) -> None:
        self.host = self.config_name = host
        self.config = config
        self.plugins = plugins
        self.options = options
        # Its methods are declared for the host's own run, of which this one has the attributes.
        self.hooks: Any = Dispatcher(plugins, asked)
        self.folder = folder
        self.group = group
        self.device = device
        self.seed = seed
        self.step = self.first_step = 0
        self.total_steps = total_steps
        self.batch_size = batch_size
        self.samples_per_step = batch_size * batches_per_step
        # A host's own mixed precision surrounds the hooks that are fired within an update.
        self.precision = Precision("no", device)
        self.optimizers: dict[str, torch.optim.Optimizer] = {}
        self.additions: dict[str, Addition] = {}
        self.postprocessors: list[str] = []
        self.stopped: str | None = None
        self._logged: dict[str, Any] = {}
        self._draws: Counter[tuple[str, str]] = Counter()

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
        """The generator as `G(z, y)`."""
        return self.backbone.generator

    @generator.setter
    def generator(self, network: nn.Module) -> None:
        self._refuse_replacing("generator")

    @property
    def discriminator(self) -> nn.Module:
        """The discriminator as `D(x, y)`."""
        return self.backbone.discriminator

    @discriminator.setter
    def discriminator(self, network: nn.Module) -> None:
        self._refuse_replacing("discriminator")

    def _refuse_replacing(self, network: str) -> None:
        plugin, hook = self.hooks.calling
        raise PluginError(
            f"Plugin {plugin!r}: {hook} replaces the {network}, which the adapter for "
            f"{self.host} does not support; networks can be added."
        )

    @cached_property
    def fingerprint(self) -> str:
        """The dataset's digest, taken once."""
        return self.dataset.fingerprint()

    @property
    def position(self) -> int:
        """The stream position of the next batch."""
        return self.loader.position

    @property
    def sampling_generator(self) -> nn.Module:
        """The network to sample from: the moving average where there is one."""
        average = self.backbone.average
        return self.backbone.generator if average is None else average

    def latents(self, n: int, *purpose: int | str) -> Tensor:
        """Draws n latents [n, z_dim]; a pure function of (seed, purpose)."""
        rng = generator_for(self.seed, "latents", *purpose, device=self.device)
        return self.backbone.latent(n, rng, self.device)

    def labels(self, n: int, *purpose: int | str) -> Tensor | None:
        """Draws n class labels evenly, int64 [n]; None where the networks take none."""
        if not self.backbone.conditional:
            return None
        rng = generator_for(self.seed, "labels", *purpose)
        return torch.randint(self.backbone.num_classes, (n,), generator=rng).to(self.device)

    def generate(self, n: int, *, averaged: bool = False) -> Fake:
        """Generates n samples without gradients, in the generator's present mode.

        Args:
            n: How many.
            averaged: Use the moving average where the host keeps one.
        """
        caller = self.hooks.calling
        self._draws[caller] += 1
        purpose = ("generate", self.rank, self.step, *caller, self._draws[caller])
        z, y = self.latents(n, *purpose), self.labels(n, *purpose)
        network = self.sampling_generator if averaged else self.generator
        with torch.no_grad():
            return Fake(network(z, y), z, y)

    def new_step(self) -> None:
        """Starts counting the draws of a step anew."""
        self._draws.clear()

    def logits(
        self, x: Tensor, y: Tensor | None = None, discriminator: nn.Module | None = None
    ) -> Tensor:
        """Returns the log-density ratio [B], float32, that a discriminator assigns to samples."""
        network = self.discriminator if discriminator is None else discriminator
        output = self.backbone.discriminate(network, x, y)
        return self.loss.log_density_ratio(output, y).float()

    def build(self, kind: str, **overrides: Any) -> nn.Module:
        """Refuses: see :meth:`diagan_plugin.hosts.kit.networks.HostNetworks.build`."""
        return self.backbone.build(kind, plugin=self.hooks.calling[0], **overrides)

    def add(self, name: str, addition: Addition) -> None:
        """Adopts a network or optimiser: it is saved and restored with the plugins' state.

        Raises:
            PluginError: The name is taken.
        """
        if name in self.additions:
            raise PluginError(f"run.add: the name {name!r} is taken.")
        if isinstance(addition, nn.Module):
            addition.to(self.device)
        self.additions[name] = addition

    def average_gradients(self, network: nn.Module) -> None:
        """Averages a network's gradients over the ranks."""
        self.group.average_gradients(network.parameters())

    def set_weights(self, weights: NDArray[np.float64]) -> None:
        """Draws training samples by `weights` [N] from the next batch on."""
        self.sampler.set_weights(weights, self.position)
        self.loader.seek(self.position)

    def log(self, values: Mapping[str, Any]) -> None:
        """Notes scalars for the host's next log line; tensors are read only then."""
        self._logged.update(values)

    def take_log(self) -> dict[str, Any]:
        """Returns what was noted since the last log line as plain values, and forgets it."""
        noted, self._logged = self._logged, {}
        return {k: v.item() if isinstance(v, Tensor) else v for k, v in noted.items()}

    def stop(self, reason: str) -> None:
        """Asks the host to end the training after this step."""
        self.stopped = reason
