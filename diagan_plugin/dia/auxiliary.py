"""The auxiliary discriminator of a run: a copy of D as it is when phase 2 begins, and its steps."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from contextlib import nullcontext
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, nn

from diagan_plugin.auxiliary.discriminator import AuxiliaryDiscriminator
from diagan_plugin.dia.options import AUXILIARY, NAME, DiaOptions
from diagan_plugin.flags import AUTO
from gan_registry.datasets.fetching import fetch_to
from gan_registry.losses.base import Loss
from gan_registry.losses.logistic import Logistic

if TYPE_CHECKING:
    from gan_registry.live_run import LiveRun
    from gan_registry.records import AddedTerms, MicroBatch

_LOG = logging.getLogger(__name__)


def is_logistic(run: LiveRun) -> bool:
    """Whether the auxiliary discriminator of a run is trained by the logistic loss.

    By default it is where the run's own loss gives no density ratio, as one is what rejection
    sampling needs: the published code does so whatever D's loss is.
    """
    chosen = DiaOptions(**run.options.get(NAME, {})).aux_loss
    return not run.loss.is_density_ratio if chosen == AUTO else chosen == "logistic"


def auxiliary_loss(run: LiveRun) -> Loss:
    """Returns the loss that the auxiliary discriminator of a run is trained by."""
    return Logistic(run.loss.realness) if is_logistic(run) else run.loss


def add_auxiliary(run: LiveRun, options: DiaOptions) -> AuxiliaryDiscriminator:
    """Copies D with its optimiser; the run keeps the copies, and saves and restores them."""

    def added(network: nn.Module) -> AddedTerms | None:
        found = run.regularization_of(network, AUXILIARY)
        if found is None:
            _LOG.info(
                "The auxiliary discriminator is trained on its loss alone: %s does not show what "
                "else D is trained on, such as a gradient penalty. Where D needs that, so does it.",
                run.host,
            )
        return found

    # In float16 its gradients would need a scale of their own; bfloat16 has float32's range.
    half = run.precision.autocast if run.precision.name == "bf16" else nullcontext

    def forward(network: nn.Module, x: Tensor, y: Tensor | None) -> Any:
        with half():
            return network(x, y)

    auxiliary = AuxiliaryDiscriminator(
        run.discriminator,
        run.optimizers["discriminator"],
        auxiliary_loss(run),
        len(run.dataset),
        seed=run.seed,
        every=options.aux_every,
        mode=options.aux,
        rank=run.rank,
        world_size=run.world_size,
        forward=forward,
        added=added,
        average_gradients=run.group.average_gradients,
    )
    run.add(AUXILIARY, auxiliary.discriminator)
    # Its learning rate is D's at each step, whatever schedule that follows.
    run.add(f"{AUXILIARY}_optimizer", auxiliary.optimizer, scheduled=False)
    return auxiliary


def train_auxiliary(
    auxiliary: AuxiliaryDiscriminator, run: LiveRun, batches: Sequence[MicroBatch]
) -> None:
    """Trains it after an update of D, on the same fakes.

    Args:
        auxiliary: The auxiliary discriminator.
        run: The run.
        batches: The micro-batches of D's update; their real samples count in importance mode.
    """

    def provide(indices: NDArray[np.int64]) -> tuple[Tensor, Tensor | None]:
        return fetch_to(run.dataset, indices, run.device)

    weighted = auxiliary.mode == "importance"
    losses = auxiliary.step(
        [batch.real for batch in batches] if weighted else provide,
        [batch.fake for batch in batches],
    )
    if losses is not None:
        run.log({"loss/auxiliary discriminator": losses.real + losses.fake})
