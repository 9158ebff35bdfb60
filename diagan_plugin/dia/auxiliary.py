"""The auxiliary discriminator of a run: a copy of D as it is when phase 2 begins, and its steps."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from diagan_plugin.auxiliary.discriminator import AuxiliaryDiscriminator
from diagan_plugin.dia.options import AUXILIARY, DiaOptions
from gan_registry.datasets.fetching import fetch, to_device
from gan_registry.losses.logistic import Logistic

if TYPE_CHECKING:
    from gan_registry.live_run import LiveRun
    from gan_registry.records import MicroBatch


def add_auxiliary(run: LiveRun, options: DiaOptions) -> AuxiliaryDiscriminator:
    """Copies D with its optimiser; the run keeps the copies, and saves and restores them."""
    auxiliary = AuxiliaryDiscriminator(
        run.discriminator,
        run.optimizers["discriminator"],
        # A ratio is what DRS needs; D's own loss may not give one.
        Logistic(run.backbone.realness) if options.aux_ratio else run.loss,
        len(run.dataset),
        seed=run.seed,
        every=options.aux_every,
        mode=options.aux,
        rank=run.rank,
        world_size=run.world_size,
        forward=lambda network, x, y: network(x, y),
        average_gradients=run.group.average_gradients,
    )
    run.add(AUXILIARY, auxiliary.discriminator)
    run.add(f"{AUXILIARY}_optimizer", auxiliary.optimizer)
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
        x, y = fetch(run.dataset, indices)
        return to_device(x, run.device), None if y is None else to_device(y, run.device)

    weighted = auxiliary.mode == "importance"
    losses = auxiliary.step(
        [batch.real for batch in batches] if weighted else provide,
        [(batch.fake.x, batch.fake.y) for batch in batches],
    )
    if losses is not None:
        run.log({"loss/auxiliary discriminator": losses.real + losses.fake})
