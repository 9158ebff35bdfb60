"""StudioGAN's training as hooks see it: the `run`."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from diagan_plugin.hosts.kit.config import SECTIONS, host_config
from diagan_plugin.hosts.kit.networks import NetworkView
from diagan_plugin.hosts.kit.run import HostRun
from diagan_plugin.hosts.studiogan.batches import Feed
from diagan_plugin.hosts.studiogan.networks import HostBackbone, host_realness
from gan_registry.live_run import LiveRun
from gan_registry.plugins import PluginManager
from gan_registry.records import AddedTerms
from gan_registry.seeding import generator_for
from gan_registry.training.discriminator_regularization import DiscriminatorRegularization
from gan_registry.training.distributed import Group

UNSET = "N/A"
"""What StudioGAN takes for a key that a configuration leaves out and that has no default."""


class StudioRun(HostRun):
    """One training run of StudioGAN's.

    Args:
        cfgs: StudioGAN's configuration, before anything is built.
        plugins: The loaded plugins.
        options: Plugin → option → value.
        asked: Plugins that the run asks for.
        group: Rank and world size.
        device: Where networks and batches are.
        folder: StudioGAN's folder of checkpoints.
        sampler: Name of the sampler.
        samples: Name of the post-processor.
        seed: Seed of everything that plugins draw; StudioGAN's, where the command gave one.

    Attributes:
        step: Steps done, StudioGAN's `current_step`.
        total_steps: StudioGAN's `OPTIMIZATION.total_steps`; it trains one more.
        feed: What has been read of the training data.
        used: Micro-batches of the last basket that D has seen.
        restart_reading: Drops what loader workers have read ahead.
    """

    backbone: HostBackbone
    feed: Feed
    folder: Path

    def __init__(
        self,
        cfgs: Any,
        plugins: PluginManager,
        options: Mapping[str, Mapping[str, Any]],
        asked: set[str],
        *,
        group: Group,
        device: torch.device,
        folder: Path,
        sampler: str,
        samples: str,
        seed: int,
    ) -> None:
        settings = cfgs.OPTIMIZATION
        known = {
            name: {key: value for key, value in vars(getattr(cfgs, name)).items() if value != UNSET}
            for name in SECTIONS
            if hasattr(cfgs, name)
        }
        known["RUN"] |= {"sampler": sampler, "samples": samples}
        super().__init__(
            "StudioGAN", host_config(known), plugins, options, asked,
            total_steps=int(settings.total_steps),
            batch_size=settings.batch_size // group.world_size * group.world_size,
            batches_per_step=settings.acml_steps * settings.d_updates_per_step,
            seed=seed, group=group, device=device, folder=folder,
        )  # fmt: skip
        self.config_name = Path(str(cfgs.RUN.cfg_file)).stem
        self.loss = plugins.catalogs.losses[cfgs.LOSS.adv_loss](host_realness)
        self.used = 0
        self.restart_reading: Callable[[], None] | None = None
        self._evaluated: nn.Module | None = None
        self._label: int | None = None

    @property
    def position(self) -> int:
        """The stream position after the last micro-batch that D has seen."""
        return int(min(self.feed.start + self.used * self.batch_size, self.feed.stop))

    @property
    def sampling_generator(self) -> nn.Module:
        """The network to sample from: in an evaluation StudioGAN's choice, else as for any host."""
        return super().sampling_generator if self._evaluated is None else self._evaluated

    def evaluation_view(
        self, generator: nn.Module, label: int | None, truncation: float
    ) -> StudioRun:
        """Returns this run as a post-processor sees it, sampling as StudioGAN would now.

        Args:
            generator: The network that StudioGAN samples from.
            label: The class to sample, or None for all.
            truncation: StudioGAN's factor for the latents; −1 for none.
        """
        view = copy.copy(self)
        view._evaluated, view._label = generator, label
        view.backbone = self.backbone.truncated(truncation)
        return view

    def labels(self, n: int, *purpose: int | str) -> Tensor | None:
        """Draws n class labels, int64 [n], evenly, as StudioGAN does; or those of one class."""
        if self._label is not None:
            return torch.full((n,), self._label, dtype=torch.int64, device=self.device)
        rng = generator_for(self.seed, "labels", *purpose)
        return torch.randint(self.backbone.num_classes, (n,), generator=rng).to(self.device)

    def build(self, kind: str, **overrides: Any) -> nn.Module:
        """Builds a fresh network of StudioGAN's; of `overrides` it takes `seed` alone."""
        return LiveRun.build(self, kind, **overrides)

    def regularization_of(self, discriminator: nn.Module, name: str) -> AddedTerms:
        """Returns the regularisers that StudioGAN's configuration asks for.

        The formulas are those of `gan_registry`, which reads the same keys. The losses of class
        labels (`MODEL.d_cond_mtd`) are not among them.
        """
        view = NetworkView(discriminator, call=self.backbone.discriminate)
        return DiscriminatorRegularization(self, view, name)

    def set_weights(self, weights: NDArray[np.float64]) -> None:
        """Draws training samples by `weights` [N] from the next basket on."""
        self.sampler.set_weights(weights, self.feed.stop)
        if self.restart_reading is not None:
            self.restart_reading()
