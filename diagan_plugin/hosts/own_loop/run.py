"""A training loop of one's own, as the hooks see it: a run that is not the host's."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, distributed, nn
from torch.nn.parallel import DataParallel, DistributedDataParallel

from diagan_plugin.hosts.kit.networks import LogitView
from diagan_plugin.hosts.own_loop.penalty import LoopPenalty, Penalty
from diagan_plugin.sampling.sampler import DiaSampler
from gan_registry.config.schema import Config
from gan_registry.datasets.base import Dataset
from gan_registry.datasets.fetching import to_device
from gan_registry.live_run import LiveRun
from gan_registry.losses.base import Loss
from gan_registry.plugins import PluginManager
from gan_registry.records import MicroBatch
from gan_registry.training.distributed import Group
from gan_registry.training.precision import Precision

Call = Callable[[nn.Module, Tensor, "Tensor | None"], Any]
"""`(D, x [B, ...], y [B]) -> D's output`, for a D that takes labels in a way of its own."""

_LOG = logging.getLogger(__name__)


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
        device: Where D is; None: where the D that is shown has its parameters.
        group: Rank and world size.
        conditional: Whether D takes labels, as `D(x, y)`, or how it is called with them.
        penalty: What the loop adds to D's loss.

    Attributes:
        doubt: Why no weights are to be set, or "".
        withheld: Whether the latest weights were not set for that.
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
        device: torch.device | None,
        group: Group,
        conditional: bool | Call = False,
        penalty: Penalty | None = None,
    ) -> None:
        place = torch.device("cpu") if device is None else device
        super().__init__(
            config, plugins, options, config_name="own loop", total_steps=total_steps,
            seed=sampler.seed, group=group, device=place, precision=Precision("no", place),
            folder=None,
        )  # fmt: skip
        self._follows = device is None  # D to wherever it is
        self.conditional = bool(conditional)
        self._call = None if isinstance(conditional, bool) else conditional
        self._penalty = penalty
        self.doubt = ""
        self.withheld = False
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
        discriminator = unwrapped(discriminator)
        if self._shown is None or self._shown.network is not discriminator:
            self._shown = LogitView(discriminator, self.conditional, self._call)
        self.find_device(next(discriminator.parameters(), None))
        if optimizer is not None:
            within = getattr(optimizer, "optimizer", optimizer)  # Accelerate's is a wrapper
            self.optimizers["discriminator"] = (
                within if isinstance(within, torch.optim.Optimizer) else optimizer
            )

    def find_device(self, tensor: Tensor | None) -> None:
        """Takes the place of a tensor for that of D, where the loop has not named it."""
        if self._follows and tensor is not None and tensor.device != self.device:
            self.device = tensor.device
            self.precision = Precision("no", tensor.device)

    def regularization_of(self, discriminator: nn.Module, name: str) -> LoopPenalty | None:
        """Returns the loop's penalty, for a discriminator like its own; None where it has none."""
        if self._penalty is None:
            return None
        return LoopPenalty(self._penalty, discriminator, self.conditional)

    def drawn(self, batches: Sequence[MicroBatch]) -> npt.NDArray[np.int64]:
        """Returns the dataset indices of an update's batches, those of all ranks.

        A loader of one's own may drop a last batch or read ahead, so they are taken from the
        batches and not read off the sampler's stream.
        """
        own = torch.cat([batch.real.indices for batch in batches])
        if self.world_size > 1:  # alone they stay where they are: to fetch them would wait
            own = to_device(own, self.device)
        everyone: npt.NDArray[np.int64] = self.group.gather(own).cpu().numpy()
        return everyone

    def set_weights(self, weights: npt.NDArray[np.float64]) -> None:
        """Draws by `weights` [N] from the next index that no process's loader has asked for.

        Where there is a :attr:`doubt`, nothing is weighted: wrong weights do harm.
        """
        start, doubtful = self.position, bool(self.doubt)
        if self.world_size > 1 and distributed.is_initialized():
            # Loaders read ahead by different amounts, and all must change at the same position.
            furthest = torch.tensor([start, doubtful], device=self.device)
            distributed.all_reduce(furthest, distributed.ReduceOp.MAX)
            start, doubtful = int(furthest[0]), bool(furthest[1])
        self.withheld = doubtful
        if doubtful:
            _LOG.warning("step %d: no weights are set. %s", self.step, self.doubt)
            return
        self.sampler.set_weights(weights, start)


def unwrapped(network: nn.Module) -> nn.Module:
    """Takes off the wrappers for several devices and the compiled form."""
    while True:
        if isinstance(network, (DistributedDataParallel, DataParallel)):
            network = network.module
        elif isinstance(original := getattr(network, "_orig_mod", None), nn.Module):
            network = original  # of torch.compile: sweeps change modes and batch sizes
        else:
            return network
