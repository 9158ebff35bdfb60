"""A host's training as hooks see it: the `run` of every adapter."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from diagan_plugin.hosts.kit.loader import StreamLoader
from diagan_plugin.hosts.kit.networks import HostNetworks
from gan_registry.config.schema import Config
from gan_registry.dispatch import Dispatcher
from gan_registry.errors import CapabilityError
from gan_registry.live_run import LiveRun
from gan_registry.plugins import PluginManager
from gan_registry.training.distributed import Group
from gan_registry.training.health_watch import HealthWatch
from gan_registry.training.precision import Precision


class HostRun(LiveRun):
    """One training run of a host.

    The data, the networks, the batches and the optimisers appear as the host makes them.

    Args:
        host: The host's name.
        config: Its settings, as :func:`diagan_plugin.hosts.kit.config.host_config` returns them.
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
        hooks: Calls the plugins.
        loader: The batches.
        health: Watches whether the training is sick.
    """

    lacks: ClassVar[Mapping[str, str]] = {"objective": "the host updates its networks itself"}

    plugins: PluginManager
    loader: StreamLoader
    backbone: HostNetworks

    def __init__(
        self,
        host: str,
        config: Config,
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
        super().__init__(
            config, plugins, options, config_name=host, total_steps=total_steps, seed=seed,
            # A host's own mixed precision surrounds the hooks that are fired within an update.
            group=group, device=device, precision=Precision("no", device), folder=folder,
        )  # fmt: skip
        self.host = f"the adapter for {host}"
        self.hooks = Dispatcher(plugins, asked)
        self.health = HealthWatch(self)
        self.batch_size = batch_size
        self.samples_per_step = batch_size * batches_per_step

    @property
    def position(self) -> int:
        """The stream position of the next batch."""
        return self.loader.position

    @property
    def sampling_generator(self) -> nn.Module:
        """The network to sample from: the moving average where there is one."""
        average = self.backbone.average
        return self.backbone.generator if average is None else average

    def build(self, kind: str, **overrides: Any) -> nn.Module:
        """Refuses: how a host makes its networks is not known here.

        Raises:
            CapabilityError: Always.
        """
        raise CapabilityError(
            f"The plugin {self.calling[0]!r} asks for a second, fresh {kind}, which {self.host} "
            "cannot build; use 'gan-registry train' for it."
        )

    def _discriminate(self, network: nn.Module, x: Tensor, y: Tensor | None) -> Any:
        return self.backbone.discriminate(network, x, y)

    def set_weights(self, weights: NDArray[np.float64]) -> None:
        """Draws training samples by `weights` [N] from the next batch on."""
        self.sampler.set_weights(weights, self.position)
        self.loader.seek(self.position)
