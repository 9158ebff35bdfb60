"""A training loop of one's own, as the hooks see it: a run that is not the host's."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, distributed, nn
from torch.nn.parallel import DataParallel, DistributedDataParallel

from diagan_plugin.dia.auxiliary import auxiliary_loss
from diagan_plugin.dia.options import AUXILIARY, NAME, DiaOptions
from diagan_plugin.hosts.kit.networks import LogitView
from diagan_plugin.postprocessing.rejection import RejectionSampler
from diagan_plugin.recording.logit_modes import logit_mode
from diagan_plugin.sampling.sampler import DiaSampler
from gan_registry.config.schema import Config
from gan_registry.datasets.base import Dataset
from gan_registry.datasets.fetching import to_device
from gan_registry.errors import UserError
from gan_registry.live_run import LiveRun
from gan_registry.losses.base import Loss
from gan_registry.plugins import PluginManager
from gan_registry.records import MicroBatch
from gan_registry.seeding import derive_seed
from gan_registry.training.distributed import Group
from gan_registry.training.precision import Precision


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


class LoopRun(LiveRun):
    """A training loop of one's own, of which hooks see the data and the discriminator.

    Args:
        config: Its settings, as :func:`diagan_plugin.hosts.kit.config.host_config` returns them.
        plugins: The plugins.
        options: Plugin → option → value.
        dataset: The user's dataset.
        sampler: Draws the training samples.
        loss: The loss D is trained with.
        total_steps: Generator steps to train.
        batch_size: Samples of a batch in one process.
        device: Where D is.
        group: Rank and world size.
    """

    host = "a training loop of your own"
    lacks: ClassVar[Mapping[str, str]] = {
        "discriminator": "it has not been shown yet, by Dia.sweep, Dia.show or Dia.update",
        "objective": "it updates its networks itself",
        **dict.fromkeys(
            ("backbone", "generator", "sampling_generator"), "it shows its discriminator alone"
        ),
    }
    sampler: DiaSampler

    def __init__(
        self,
        config: Config,
        plugins: PluginManager,
        options: Mapping[str, Mapping[str, Any]],
        dataset: Dataset,
        sampler: DiaSampler,
        loss: Loss,
        *,
        total_steps: int,
        batch_size: int,
        device: torch.device,
        group: Group,
    ) -> None:
        super().__init__(
            config, plugins, options, config_name="own loop", total_steps=total_steps,
            seed=sampler.seed, group=group, device=device, precision=Precision("no", device),
            folder=None,
        )  # fmt: skip
        self.dataset = dataset
        self.sampler = sampler
        self.loss = loss
        self.batch_size = self.samples_per_step = batch_size
        self._shown: LogitView | None = None

    @property
    def position(self) -> int:
        """The stream position of the next index that the loop's loader asks for."""
        return self.sampler.position

    @property
    def is_shown(self) -> bool:
        """Whether the loop has shown its discriminator."""
        return self._shown is not None

    @property
    def discriminator(self) -> nn.Module:
        """The discriminator that was shown last, as `D(x, y)`."""
        if self._shown is None:
            raise AttributeError("discriminator")
        return self._shown

    @discriminator.setter
    def discriminator(self, network: nn.Module) -> None:
        self._replace("discriminator", network)

    @property
    def sampling_generator(self) -> nn.Module:
        """Not there: a loop shows no generator."""
        raise AttributeError("sampling_generator")

    def show(
        self, discriminator: nn.Module, optimizer: torch.optim.Optimizer | None = None
    ) -> None:
        """Says which D is trained, and by what; wrappers for several devices are taken off."""
        while isinstance(discriminator, (DistributedDataParallel, DataParallel)):
            discriminator = discriminator.module
        if self._shown is None or self._shown.network is not discriminator:
            self._shown = LogitView(discriminator)
        if optimizer is not None:
            within = getattr(optimizer, "optimizer", optimizer)  # Accelerate's is a wrapper
            self.optimizers["discriminator"] = (
                within if isinstance(within, torch.optim.Optimizer) else optimizer
            )

    def drawn(self, batches: Sequence[MicroBatch]) -> npt.NDArray[np.int64]:
        """Returns the dataset indices of an update's batches, those of all ranks.

        A loader of one's own may drop a last batch or read ahead, so they are taken from the
        batches and not read off the sampler's stream.
        """
        own = torch.cat([batch.real.indices for batch in batches])
        everyone: npt.NDArray[np.int64] = (
            self.group.gather(to_device(own, self.device)).cpu().numpy()
        )
        return everyone

    def set_weights(self, weights: npt.NDArray[np.float64]) -> None:
        """Draws by `weights` [N] from the next index that no process's loader has asked for."""
        start = self.position
        if self.world_size > 1 and distributed.is_initialized():
            # Loaders read ahead by different amounts, and all must change at the same position.
            furthest = torch.tensor(start, device=self.device)
            distributed.all_reduce(furthest, distributed.ReduceOp.MAX)
            start = int(furthest)
        self.sampler.set_weights(weights, start)


def corrected(
    run: LoopRun, generate: Callable[[int], Tensor], seed: int, options: Mapping[str, Any]
) -> RejectionSampler:
    """Returns a source of samples corrected by the auxiliary discriminator, or else by D."""
    if not run.is_shown:
        raise ValueError("Call Dia.sweep or Dia.update before Dia.rejection.")
    auxiliary = run.additions.get(AUXILIARY)
    if isinstance(auxiliary, nn.Module):
        network, loss = auxiliary, auxiliary_loss(run)
    else:
        network, loss = run.discriminator, run.loss

    @torch.no_grad()
    def propose(n: int) -> tuple[Tensor, Tensor]:
        x = generate(n)
        with logit_mode(network, "eval"):
            return x, loss.log_density_ratio(network(to_device(x, run.device), None), None).float()

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
