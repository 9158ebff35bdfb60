"""A training loop of one's own, as the hooks see it: a run that is not the host's."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping
from dataclasses import fields
from types import SimpleNamespace
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, distributed, nn
from torch.nn.parallel import DataParallel, DistributedDataParallel

from diagan_plugin.dia.options import AUXILIARY, NAME, DiaOptions
from diagan_plugin.hosts.kit.networks import LogitView
from diagan_plugin.postprocessing.rejection import RejectionSampler
from diagan_plugin.recording.logit_modes import logit_mode
from diagan_plugin.sampling.sampler import DiaSampler
from gan_registry.datasets.base import Dataset
from gan_registry.datasets.fetching import to_device
from gan_registry.errors import UserError
from gan_registry.plugins import PluginManager
from gan_registry.records import Fake, MicroBatch, Real
from gan_registry.seeding import derive_seed
from gan_registry.training.distributed import Group


class IndexedDataset(torch.utils.data.Dataset[Any]):
    """A dataset whose items carry their index: `(x, y)` becomes `(x, y, index)`."""

    def __init__(self, dataset: Any) -> None:
        self._dataset = dataset

    def __len__(self) -> int:
        return len(self._dataset)

    def __getitem__(self, index: int) -> tuple[Any, ...]:
        item = self._dataset[index]
        parts = tuple(item) if isinstance(item, (tuple, list)) else (item,)
        return (*parts, index)


class HandedOut:
    """The draws of D's last update, where the driver looks for them.

    A loader of one's own may drop a last batch or read ahead, so what was drawn is taken from the
    batches and not read off the sampler's stream.
    """

    def __init__(self) -> None:
        self.indices: npt.NDArray[np.int64] = np.empty(0, np.int64)

    def draw(self, start: int, stop: int) -> npt.NDArray[np.int64]:
        """Returns the dataset indices of the last update, of all processes."""
        return self.indices


class LoopRun:
    """What the hooks need of a run, for a loop that is not the host's."""

    generator = None
    discriminator: nn.Module | None = None
    folder = None
    position = 0

    def __init__(
        self,
        plugins: PluginManager,
        options: Mapping[str, Mapping[str, Any]],
        dataset: Dataset,
        sampler: DiaSampler,
        loss: Any,
        *,
        total_steps: int,
        batch_size: int,
        seed: int,
        device: torch.device,
        rank: int,
        world_size: int,
        weighted: bool,
        loss_name: str,
        fingerprint: str,
    ) -> None:
        self.plugins = plugins
        self.options = options
        self.dataset = dataset
        self.fingerprint = fingerprint
        self.sampler = HandedOut()
        self.loss = loss
        self.total_steps = total_steps
        self.batch_size = batch_size
        self.samples_per_step = batch_size
        self.seed = seed
        self.device = device
        self.rank = rank
        self.world_size = world_size
        self.group = Group(rank, world_size)
        self.step = 0
        self.optimizers: dict[str, torch.optim.Optimizer] = {}
        self.postprocessors: list[str] = []
        self.additions: dict[str, Any] = {}
        self.logged: dict[str, Any] = {}
        self._sampler = sampler
        self.config = SimpleNamespace(
            RUN=SimpleNamespace(sampler=NAME if weighted else "own", seed=seed),
            LOSS=SimpleNamespace(adv_loss=loss_name),
        )

    def show(
        self, discriminator: nn.Module, optimizer: torch.optim.Optimizer | None = None
    ) -> None:
        """Says which D is trained, and by what; wrappers for several devices are taken off."""
        while isinstance(discriminator, (DistributedDataParallel, DataParallel)):
            discriminator = discriminator.module
        if not isinstance(self.discriminator, LogitView) or (
            self.discriminator.network is not discriminator
        ):
            self.discriminator = LogitView(discriminator)
        if optimizer is not None:
            within = getattr(optimizer, "optimizer", optimizer)  # Accelerate's is a wrapper
            self.optimizers["discriminator"] = (
                within if isinstance(within, torch.optim.Optimizer) else optimizer
            )

    def logits(
        self, x: Tensor, y: Tensor | None = None, discriminator: nn.Module | None = None
    ) -> Tensor:
        """Returns the log-density ratio [B] that D assigns to samples."""
        network = discriminator or self.discriminator
        assert network is not None
        ratio: Tensor = self.loss.log_density_ratio(network(x), None)
        return ratio

    def add(self, name: str, addition: nn.Module | torch.optim.Optimizer) -> None:
        """Adopts a network or optimiser: it is saved and restored with the run."""
        if isinstance(addition, nn.Module):
            addition.to(self.device)
        self.additions[name] = addition

    def handed_out(self, indices: Tensor, fake: Tensor, real: Tensor | None) -> MicroBatch:
        """Notes what D was updated with.

        Args:
            indices: Dataset indices [B], of this process.
            fake: Generated samples [B, ...].
            real: Training samples [B, ...], where they are known.
        """
        indices = indices.to("cpu", torch.int64)
        self.sampler.indices = self.group.gather(to_device(indices, self.device)).cpu().numpy()
        none = torch.empty(len(indices), 0)
        return MicroBatch(
            Real(indices, none if real is None else real.detach()), Fake(fake.detach(), none)
        )

    def set_weights(self, weights: npt.NDArray[np.float64]) -> None:
        """Draws by `weights` [N] from the next index that no process's loader has asked for."""
        start = self._sampler.position
        if self.world_size > 1 and distributed.is_initialized():
            # Loaders read ahead by different amounts, and all must change at the same position.
            furthest = torch.tensor(start, device=self.device)
            distributed.all_reduce(furthest, distributed.ReduceOp.MAX)
            start = int(furthest)
        self._sampler.set_weights(weights, start)

    def log(self, values: Mapping[str, Any]) -> None:
        """Notes numbers for :attr:`Dia.logged`."""
        self.logged.update(values)


def corrected(
    run: LoopRun, generate: Callable[[int], Tensor], seed: int, options: Mapping[str, Any]
) -> RejectionSampler:
    """Returns a source of samples corrected by the auxiliary discriminator, or else by D."""
    network = run.additions.get(AUXILIARY, run.discriminator)
    if network is None:
        raise ValueError("Call Dia.sweep or Dia.update before Dia.rejection.")

    @torch.no_grad()
    def propose(n: int) -> tuple[Tensor, Tensor]:
        x = generate(n)
        with logit_mode(network, "eval"):
            return x, run.logits(to_device(x, run.device), None, network).float()

    rng = torch.Generator().manual_seed(derive_seed(seed, "rejection"))
    return RejectionSampler(propose, rng=rng, **options)


def read_options(values: Mapping[str, Any], plugins: PluginManager) -> DiaOptions:
    """Checks options by the rules of their flags, so that a slip shows before the training.

    Raises:
        TypeError: An option is unknown.
        UserError: One has a value that its flag would not take, or that a loop cannot carry out.
    """
    known = [field.name for field in fields(DiaOptions)]
    for name in values:
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1)
            hint = f" (did you mean {near[0]!r}?)" if near else ""
            raise TypeError(f"Dia got an unknown option {name!r}{hint}. Known: {', '.join(known)}.")
    if values.get("aux_ratio"):
        raise UserError(
            "Dia: the option 'aux_ratio' is True, but a loop of one's own has no place for it; "
            "train a diagan_plugin.RatioHead in the loop, and give its ratios to Dia.observe."
        )
    checked = {
        option.name: option.check(values[option.name], f"Dia: the option {option.name!r}")
        for option in plugins.options
        if option.name in values
    }
    # Off unless asked for, as the loop has to show D's updates for it.
    given = {NAME: {"aux": "none", **checked}}
    return DiaOptions(**plugins.options.resolve(given)[NAME])
