"""What a hook may ask of a run: declared here once, whoever trains.

`gan_registry`'s own :class:`~gan_registry.training.run.Run` is one such run, the adapters for other
frameworks have theirs, and so has a training loop of one's own. A plugin that keeps to what is
declared here works on all of them.

The parts appear in the order of the loop in :mod:`gan_registry.hookspecs`. Asking for one that is
not built yet is an AttributeError; asking for one that a host never has is a
:class:`~gan_registry.errors.CapabilityError`, which names the host and what it lacks.
"""

from __future__ import annotations

import logging
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from gan_registry.arriving import read_scalars
from gan_registry.catalogs import Catalogs
from gan_registry.config.schema import Config
from gan_registry.datasets.base import Dataset
from gan_registry.datasets.fetching import to_device
from gan_registry.errors import CapabilityError, PluginError
from gan_registry.losses.base import Loss
from gan_registry.options import OptionTable
from gan_registry.plain_values import check_plain, loggable
from gan_registry.records import AddedTerms, Fake, MicroBatch, Real
from gan_registry.samplers.base import IndexSampler
from gan_registry.seeding import derive_seed, generator_for
from gan_registry.training.distributed import Group
from gan_registry.training.health import STOPS, Finding
from gan_registry.training.objectives import Objective
from gan_registry.training.precision import Precision

_LOG = logging.getLogger(__name__)

Addition = nn.Module | torch.optim.Optimizer
"""What a plugin may give to :meth:`LiveRun.add`."""


class LoadedPlugins(Protocol):
    """The plugins of a run, as far as one of them may look at the others."""

    catalogs: Catalogs

    @property
    def options(self) -> OptionTable:
        """The options of all loaded plugins."""
        ...


class Networks(Protocol):
    """The networks of a run, and how to talk to them; see :class:`gan_registry.Backbone`."""

    generator: nn.Module
    discriminator: nn.Module

    def latent(
        self,
        n: int,
        generator: torch.Generator | None = None,
        device: torch.device | str | None = None,
    ) -> Tensor:
        """Draws latents, float32 [n, z_dim]."""
        ...

    def realness(self, output: Any) -> Tensor:
        """Returns one logit per sample, [B], of D's output; higher for more real."""
        ...

    def features(self, x: Tensor) -> Tensor:
        """Returns D's penultimate activations, [B, F]; NotImplementedError where it has none."""
        ...

    def build(self, kind: str, *, seed: int | None = None, **overrides: Any) -> nn.Module:
        """Makes a fresh "generator" or "discriminator"."""
        ...

    def discriminator_terms(
        self, real: Real, fake: Fake, real_out: Any, fake_out: Any
    ) -> Tensor | None:
        """Returns a scalar that belongs to D's loss by the nature of the networks, or None."""
        ...


class LiveRun(ABC):
    """A training run, live or opened again from its folder.

    Attributes:
        host: Who trains, as messages call it.
        lacks: What this kind of run never has: attribute → why, as the end of a sentence.
        config: The settings, in `gan_registry`'s sections. What an adapter cannot know of its host
            is at its default.
        config_name: What results are named after.
        plugins: The loaded plugins: their catalogs and options.
        options: Plugin → option → value, for every loaded plugin.
        calling: The plugin and the hook being called; empty strings outside of any.
        device: Where networks and batches live.
        precision: In what the networks are computed.
        folder: The run folder, or None for a run that writes nothing.
        group: Rank and world size.
        seed: The run's seed; all randomness follows from it.
        step: Steps done.
        first_step: Steps that were done when the run was opened: 0 unless it continues one.
        total_steps: Steps to do in all.
        batch_size: Samples of a micro-batch over all ranks.
        samples_per_step: Stream positions that a step consumes.
        dataset: The training data.
        sampler: Maps stream positions to dataset indices.
        backbone: Makes networks and latents; its `generator` and `discriminator` are the run's.
        loss: The adversarial loss.
        objective: What the networks play for: updates them. May be replaced in `gan_train_start`.
        optimizers: "discriminator", and "generator" where the host shows it.
        additions: What plugins gave to :meth:`add`, by name.
        unscheduled: Names of added optimisers whose learning rate does not follow the schedule.
        postprocessors: Post-processors that the evaluation at the end uses beside `plain`.
        stopped: Why a plugin ended the training early, or None.
        holdout: What was kept out of the training data (`DATA.holdout`), or None. Indices, groups,
            metrics and fingerprints are always those of `dataset`.
        findings: Signs that the training is sick, by name; see :meth:`find`.
        stopped_on: The word of `RUN.stop_on` for which the run was stopped, or None.
    """

    host: str = "gan-registry"
    lacks: ClassVar[Mapping[str, str]] = {}

    batch_size: int
    samples_per_step: int
    dataset: Dataset
    holdout: Dataset | None = None
    sampler: IndexSampler
    backbone: Networks
    loss: Loss
    objective: Objective
    optimizers: dict[str, torch.optim.Optimizer]

    def __init__(
        self,
        config: Config,
        plugins: LoadedPlugins,
        options: Mapping[str, Mapping[str, Any]],
        *,
        config_name: str,
        total_steps: int,
        seed: int,
        group: Group,
        device: torch.device,
        precision: Precision,
        folder: Path | None,
    ) -> None:
        self.config = config
        self.config_name = config_name
        self.plugins = plugins
        self.options = options
        self.folder = folder
        self.group = group
        self.device = device
        self.precision = precision
        self.seed = seed
        self.step = self.first_step = 0
        self.total_steps = total_steps
        self.optimizers = {}
        self.additions: dict[str, Addition] = {}
        self.unscheduled: set[str] = set()
        self.postprocessors: list[str] = []
        self.stopped: str | None = None
        self.findings: dict[str, Finding] = {}
        self.stopped_on: str | None = None
        self.calling = ("", "")
        self._logged: dict[str, Any] = {}
        self._draws: Counter[tuple[str, str]] = Counter()
        self._builds: Counter[tuple[str, str]] = Counter()

    def __getattr__(self, name: str) -> Any:
        # Only reached where there is no such attribute, or a property could not be computed.
        if name in self.lacks:
            raise CapabilityError(f"run.{name} is not offered by {self.host}: {self.lacks[name]}.")
        raise AttributeError(f"This run has no attribute {name!r}, or does not have it yet.")

    # ------------------------------------------------------------------ where it stands

    @property
    def rank(self) -> int:
        """This process's number, from 0."""
        return self.group.rank

    @property
    def world_size(self) -> int:
        """The number of processes."""
        return self.group.world_size

    @property
    @abstractmethod
    def position(self) -> int:
        """The stream position of the next batch."""

    @cached_property
    def fingerprint(self) -> str:
        """The dataset's digest, taken once."""
        return self.dataset.fingerprint()

    # ------------------------------------------------------------------ networks

    @property
    def generator(self) -> nn.Module:
        """The generator as `G(z, y)`; the host's own run lets `gan_models_ready` replace it."""
        return self.backbone.generator

    @generator.setter
    def generator(self, network: nn.Module) -> None:
        self._replace("generator", network)

    @property
    def discriminator(self) -> nn.Module:
        """The discriminator as `D(x, y)`; may be replaced likewise."""
        return self.backbone.discriminator

    @discriminator.setter
    def discriminator(self, network: nn.Module) -> None:
        self._replace("discriminator", network)

    def _replace(self, kind: str, network: nn.Module) -> None:
        plugin, hook = self.calling
        raise CapabilityError(
            f"Plugin {plugin!r}: {hook} replaces the {kind}, which {self.host} does not support; "
            "networks can be added."
        )

    @property
    @abstractmethod
    def sampling_generator(self) -> nn.Module:
        """The network to sample from: the moving average where there is one."""

    def build(self, kind: str, **overrides: Any) -> nn.Module:
        """Builds a fresh network like the run's own.

        Args:
            kind: "generator" or "discriminator".
            **overrides: What differs, e.g. `in_channels`, `seed`. Without a `seed` the weights
                follow from (the run's seed, plugin, number of this call).

        Raises:
            CapabilityError: The host cannot build one.
        """
        plugin, _ = self.calling
        self._builds[plugin, kind] += 1
        number = self._builds[plugin, kind]
        overrides.setdefault("seed", derive_seed(self.seed, "build", kind, plugin, number))
        return self.backbone.build(kind, **overrides).to(self.device)

    def add(self, name: str, addition: Addition, *, scheduled: bool = True) -> None:
        """Adopts a network or optimiser: it is saved and restored with the run's own.

        Args:
            name: A name of the form `plugin.thing`.
            addition: The network (moved to the device) or optimiser.
            scheduled: Whether an optimiser's learning rate follows the run's schedule, where
                the host has one.

        Raises:
            PluginError: The name is taken, or the addition is none, or holds what cannot be saved.
        """
        if name in self.additions:
            raise PluginError(f"run.add: the name {name!r} is taken.")
        if not isinstance(name, str) or not isinstance(addition, Addition):
            raise PluginError(
                f"run.add takes a name and a network or an optimiser, but got {name!r} and "
                f"a {type(addition).__name__}."
            )
        check_plain(addition.state_dict(), f"run.add: the state of {name!r}")
        if isinstance(addition, nn.Module):
            addition.to(self.device)
        self.additions[name] = addition
        if not scheduled:
            self.unscheduled.add(name)

    def average_gradients(self, network: nn.Module) -> None:
        """Averages a network's gradients over the ranks, as is done with the run's own."""
        self.group.average_gradients(network.parameters())

    def regularization_of(self, discriminator: nn.Module, name: str) -> AddedTerms | None:
        """Returns what is added to the loss of a discriminator that is trained as the run's own is.

        Args:
            discriminator: A network that is called as `D(x, y)`.
            name: A name of the form `plugin.thing`, under which its state is added to the run.

        Returns:
            The same regularisers, intervals and weights as the run's own discriminator has, with a
            state of their own; None where the host does not show what it adds.
        """
        return None

    # ------------------------------------------------------------------ samples

    def latents(self, n: int, *purpose: int | str) -> Tensor:
        """Draws n latents [n, z_dim]; a pure function of (seed, purpose)."""
        rng = generator_for(self.seed, "latents", *purpose, device=self.device)
        return self.backbone.latent(n, rng, self.device)

    def labels(self, n: int, *purpose: int | str) -> Tensor | None:
        """Draws n class labels, int64 [n], for a conditional generator; None for any other.

        Classes come as often as in the training data, so that D sees the same mixture on both
        sides, and evenly where the data do not tell; a pure function of (seed, purpose).
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

        Latents and labels follow from (seed, rank, step, plugin, hook, number of this call in the
        step): ranks draw different ones, and one plugin's draws never shift another's.

        Args:
            n: How many.
            averaged: Use the moving average where the run keeps one.
        """
        self._draws[self.calling] += 1
        purpose = ("generate", self.rank, self.step, *self.calling, self._draws[self.calling])
        z, y = self.latents(n, *purpose), self.labels(n, *purpose)
        network = self.sampling_generator if averaged else self.generator
        with torch.no_grad(), self.precision.autocast():
            return Fake(network(z, y).float(), z, y)

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
        with self.precision.autocast():
            out = self._discriminate(network, x, y)
        return self.loss.log_density_ratio(out, y).float()

    def _discriminate(self, network: nn.Module, x: Tensor, y: Tensor | None) -> Any:
        return network(x, y)

    # ------------------------------------------------------------------ draws

    @abstractmethod
    def set_weights(self, weights: NDArray[np.float64]) -> None:
        """Draws training samples by `weights` [N] from the next batch on.

        Batches that loader workers prefetched under the old weights are dropped.
        """

    def drawn(self, batches: Sequence[MicroBatch]) -> NDArray[np.int64]:
        """Returns the dataset indices of an update's micro-batches, those of all ranks.

        Args:
            batches: What `gan_discriminator_updated` was given; it holds this rank's share only.
        """
        return self.sampler.draw(self.position - len(batches) * self.batch_size, self.position)

    # ------------------------------------------------------------------ log and end

    def log(self, values: Mapping[str, Any]) -> None:
        """Notes scalars for the next log line; tensors are read only when it is written.

        Raises:
            PluginError: A value can be neither logged nor saved; names it.
        """
        self._logged.update({name: loggable(name, value) for name, value in values.items()})

    def noted(self) -> dict[str, Any]:
        """Returns what was noted since the last log line, as plain values."""
        return read_scalars(self._logged)

    def take_log(self) -> dict[str, Any]:
        """Returns what was noted since the last log line, and forgets it."""
        noted = self.noted()
        self._logged = {}
        return noted

    def say(self, text: str) -> None:
        """Tells whoever watches the training, a line; for news, of which there are few."""
        _LOG.info("step %d: %s", self.step, text)

    def log_text(self, name: str, text: str) -> None:  # noqa: B027  # most hosts log numbers alone
        """Notes a text for the next log line, where the host's log holds texts."""

    def keep_generator(self, name: str) -> None:  # noqa: B027  # most hosts do nothing
        """Keeps the generator as it is now, for the evaluation at the end to measure beside it.

        With several processes all of them must call this. A host that does not evaluate keeps none.

        Args:
            name: What to call it in the results, such as "warm-up"; a second of the same name
                takes the first one's place.
        """

    def stop(self, reason: str) -> None:
        """Ends the training after this step, in good order.

        Raises:
            PluginError: The reason is no text.
        """
        if not isinstance(reason, str):
            raise PluginError(f"run.stop: the reason must be text, but is {reason!r}.")
        self.stopped = reason

    def find(self, finding: Finding) -> None:
        """Notes a sign that the training is sick: it is said once, and kept with the results.

        Ends the training after this step where `RUN.stop_on` asks for that. With several processes
        all of them must call this.
        """
        if finding.name not in self.findings:
            self.findings[finding.name] = finding
            _LOG.warning("step %d: %s %s", finding.step, finding.evidence, finding.advice)
        self.log({f"health/{finding.name}": 1})
        for word in self.config.RUN.stop_on:
            if finding.name in STOPS[word]:
                self.stopped_on = word
                self.stop(
                    f"{finding.evidence.removesuffix('.')} (--stop-on {word}; without it the same "
                    "command goes on)"
                )

    def new_step(self) -> None:
        """Starts counting the draws of a step anew; for whoever trains."""
        self._draws.clear()
