"""StudioGAN's training as hooks see it: the `run`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from functools import cached_property
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from diagan_plugin.hosts.studiogan.batches import Feed
from diagan_plugin.hosts.studiogan.networks import HostBackbone, host_realness
from gan_registry.config.schema import Config
from gan_registry.datasets.base import Dataset
from gan_registry.dispatch import Dispatcher
from gan_registry.errors import PluginError
from gan_registry.plugins import PluginManager
from gan_registry.records import Fake
from gan_registry.training.distributed import Group
from gan_registry.training.precision import Precision
from gan_registry.training.sampling import IndexSampler
from gan_registry.training.seeding import derive_seed, generator_for


def merged_config(cfgs: Any, sampler: str, samples: str) -> SimpleNamespace:
    """Returns StudioGAN's sections of settings, as they are before anything is built.

    What only the host's own configuration knows has its default there, so that a plugin finds every
    key that it finds in the host.

    Args:
        cfgs: StudioGAN's configuration.
        sampler: Name of the sampler.
        samples: Name of the post-processor.
    """
    config = SimpleNamespace(PLUGINS={})
    for name in ("DATA", "MODEL", "LOSS", "OPTIMIZATION", "PRE", "AUG", "STYLEGAN", "RUN"):
        field = Config.model_fields.get(name)
        known = getattr(None if field is None else field.annotation, "model_fields", {})
        values = {
            key: entry.get_default(call_default_factory=True)
            for key, entry in known.items()
            if not entry.is_required()
        }
        given = vars(getattr(cfgs, name, SimpleNamespace()))
        setattr(config, name, SimpleNamespace(**{**values, **given}))
    config.RUN.sampler, config.RUN.samples = sampler, samples
    return config


class StudioRun:
    """One training run of StudioGAN's, with the attributes of the host's own `Run`.

    The parts appear as StudioGAN makes them; asking for one that is not there is an AttributeError.

    Args:
        cfgs: StudioGAN's configuration; its sections are those of `config`, whose `RUN` has
            `sampler` and `samples` in addition.
        plugins: The loaded plugins.
        options: Plugin → option → value.
        asked: Plugins that the run asks for.
        group: Rank and world size.
        folder: StudioGAN's folder of checkpoints.
        sampler: Name of the sampler.
        samples: Name of the post-processor.
        seed: Seed of everything that plugins draw; StudioGAN's, where the command gave one.

    Attributes:
        step: Steps done, StudioGAN's `current_step`.
        total_steps: StudioGAN's `OPTIMIZATION.total_steps`; it trains one more.
        batch_size: Samples of a micro-batch over all processes.
        feed: What has been read of the training data.
        restart_reading: Drops what loader workers have read ahead.
    """

    dataset: Dataset
    sampler: IndexSampler
    backbone: HostBackbone
    feed: Feed

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
        self.config = merged_config(cfgs, sampler, samples)
        self.config_name = Path(str(cfgs.RUN.cfg_file)).stem
        self.plugins = plugins
        self.options = options
        # Its methods are declared for the host's own run, of which this one has the attributes.
        self.hooks: Any = Dispatcher(plugins, asked)
        self.folder = folder
        self.group = group
        self.device = device
        self.seed = seed
        self.step = self.first_step = 0
        settings = cfgs.OPTIMIZATION
        self.total_steps = int(settings.total_steps)
        share = settings.batch_size // group.world_size
        self.batch_size = share * group.world_size
        self.samples_per_step = self.batch_size * settings.acml_steps * settings.d_updates_per_step
        self.loss = plugins.catalogs.losses[cfgs.LOSS.adv_loss](host_realness)
        # StudioGAN's own mixed precision surrounds the hooks that are fired within an update.
        self.precision = Precision("no", device)
        self.optimizers: dict[str, torch.optim.Optimizer] = {}
        self.additions: dict[str, nn.Module | torch.optim.Optimizer] = {}
        self.postprocessors: list[str] = []
        self.stopped: str | None = None
        self.used = 0  # micro-batches of the last basket that D has seen
        self.restart_reading: Callable[[], None] | None = None
        self.fixed_label: int | None = None
        self._sampling_generator: nn.Module | None = None
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
        """The generator as `G(z, y)`."""
        return self.backbone.generator

    @generator.setter
    def generator(self, network: nn.Module) -> None:
        self._refuse_replacing("generator")

    @property
    def discriminator(self) -> nn.Module:
        """The discriminator `D(x, y)`; what it returns has a key "adv_output"."""
        return self.backbone.discriminator

    @discriminator.setter
    def discriminator(self, network: nn.Module) -> None:
        self._refuse_replacing("discriminator")

    def _refuse_replacing(self, network: str) -> None:
        plugin, hook = self.hooks.calling
        raise PluginError(
            f"Plugin {plugin!r}: {hook} replaces the {network}, which StudioGAN's adapter does not "
            "support; networks can be added."
        )

    @cached_property
    def fingerprint(self) -> str:
        """The dataset's digest, taken once."""
        return self.dataset.fingerprint()

    @property
    def position(self) -> int:
        """The stream position after the last micro-batch that D has seen."""
        return int(min(self.feed.start + self.used * self.batch_size, self.feed.stop))

    @property
    def sampling_generator(self) -> nn.Module:
        """The network to sample from: the moving average where there is one."""
        if self._sampling_generator is not None:
            return self._sampling_generator
        average = self.backbone.average
        return self.backbone.generator if average is None else average

    def evaluation_view(self, generator: nn.Module, label: int | None, truncation: float) -> Any:
        """Returns this run as a post-processor sees it, sampling as StudioGAN would now.

        Args:
            generator: The network that StudioGAN samples from.
            label: The class to sample, or None for all.
            truncation: StudioGAN's factor for the latents; −1 for none.
        """
        view = object.__new__(type(self))
        view.__dict__ = {**self.__dict__, "_sampling_generator": generator, "fixed_label": label}
        backbone = object.__new__(type(self.backbone))
        backbone.__dict__ = {**self.backbone.__dict__, "truncation": truncation}
        view.backbone = backbone
        return view

    def latents(self, n: int, *purpose: int | str) -> Tensor:
        """Draws n latents [n, z_dim]; a pure function of (seed, purpose)."""
        rng = generator_for(self.seed, "latents", *purpose, device=self.device)
        return self.backbone.latent(n, rng, self.device)

    def labels(self, n: int, *purpose: int | str) -> Tensor:
        """Draws n class labels, int64 [n], evenly, as StudioGAN does."""
        if self.fixed_label is not None:
            return torch.full((n,), self.fixed_label, dtype=torch.int64, device=self.device)
        rng = generator_for(self.seed, "labels", *purpose)
        return torch.randint(self.backbone.num_classes, (n,), generator=rng).to(self.device)

    def generate(self, n: int, *, averaged: bool = False) -> Fake:
        """Generates n samples without gradients, in the generator's present mode.

        Args:
            n: How many.
            averaged: Use the moving average where StudioGAN keeps one.
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
        return self.loss.log_density_ratio(output, y).float()  # type: ignore[no-any-return]

    def build(self, kind: str, **overrides: Any) -> nn.Module:
        """Builds a fresh network of StudioGAN's; of `overrides` it takes `seed` alone."""
        plugin, _ = self.hooks.calling
        self._builds[plugin, kind] += 1
        number = self._builds[plugin, kind]
        overrides.setdefault("seed", derive_seed(self.seed, "build", kind, plugin, number))
        return self.backbone.build(kind, **overrides).to(self.device)

    def add(self, name: str, addition: nn.Module | torch.optim.Optimizer) -> None:
        """Adopts a network or optimiser: it is saved in `model=DIA-…` and restored from there.

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
        """Draws training samples by `weights` [N] from the next basket on."""
        self.sampler.set_weights(weights, self.feed.stop)
        if self.restart_reading is not None:
            self.restart_reading()

    def log(self, values: Mapping[str, Any]) -> None:
        """Notes scalars for StudioGAN's next log line; tensors are read only then."""
        self._logged.update(values)

    def take_log(self) -> dict[str, Any]:
        """Returns what was noted since the last log line as plain values, and forgets it."""
        noted, self._logged = self._logged, {}
        return {k: v.item() if isinstance(v, Tensor) else v for k, v in noted.items()}

    def stop(self, reason: str) -> None:
        """Ends the training after this step, in good order."""
        self.stopped = reason
