"""What is added to the losses of D and G in the host's own updates, and after their steps."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor

from gan_registry.backbones.base import Backbone
from gan_registry.live_run import LiveRun
from gan_registry.records import Fake, MicroBatch, Real
from gan_registry.regularizers.consistency import latent_diversity
from gan_registry.regularizers.feature_matching import feature_matching
from gan_registry.regularizers.lazy import is_regularised
from gan_registry.seeding import generator_for
from gan_registry.training.discriminator_regularization import (
    DiscriminatorRegularization,
    neighbour,
)


class Regularization:
    """What is added to the losses of D and G, micro-batch by micro-batch, and after their steps.

    Args:
        run: The run, with its networks.
        backbone: Its backbone, which may have terms of its own.
        latest: Returns the stream's latest batch once more, or None before the first.
    """

    def __init__(self, run: LiveRun, backbone: Backbone, latest: Callable[[], Real | None]) -> None:
        self._run = run
        self._latest = latest
        self._backbone = backbone
        self._of_discriminator = DiscriminatorRegularization(run)
        self._real: Real | None = None  # of D's latest micro-batch, for feature matching

    def discriminator(
        self, real: Real, fake: Fake, real_out: Any, fake_out: Any, number: int, piece: int
    ) -> Tensor | None:
        """Returns what is added to D's loss on a micro-batch, a scalar or None.

        Args:
            real: Training samples.
            fake: Generated samples.
            real_out: D's output on the former, with its graph.
            fake_out: D's output on the latter, with its graph.
            number: The update's number within the step.
            piece: The micro-batch's number within the update.
        """
        self._real = real
        update = self._count("d", number)
        return self._of_discriminator.terms(real, fake, real_out, fake_out, update, piece)

    def discriminator_stepped(self, batches: Sequence[MicroBatch], number: int) -> None:
        """Does what follows D's step: lazy R1 in a step of its own, and weight clipping.

        Args:
            batches: The micro-batches of the update.
            number: The update's number within the step.
        """
        reals = [batch.real for batch in batches]
        lazy = self._of_discriminator.lazy_terms(reals, self._count("d", number))
        if lazy:
            self._own_step("discriminator", lazy)
        self._of_discriminator.stepped()

    def generator(self, fake: Fake, fake_out: Any, number: int, piece: int) -> Tensor | None:
        """Returns what is added to G's loss on a micro-batch, a scalar or None."""
        run, loss = self._run, self._run.config.LOSS
        own = self._backbone.generator_terms(fake, fake_out)
        terms = [] if own is None else [own]
        if loss.apply_fm and self._real is None:
            # G comes before D, or else this is the first step of a run that was resumed.
            self._real = self._latest()
        if loss.apply_fm and self._real is not None:
            with torch.no_grad():
                of_real = run.backbone.features(self._real.x)
            distance = feature_matching(of_real, run.backbone.features(fake.x), loss.fm_reduction)
            terms.append(loss.fm_lambda * distance)
        if loss.apply_zcr:
            near = neighbour(run, fake, self._rng(number, piece))
            terms.append(loss.g_lambda * latent_diversity(fake.x, near))
        return torch.stack(terms).sum() if terms else None

    def generator_stepped(
        self, inputs: Sequence[tuple[Tensor, Tensor | None]], number: int
    ) -> None:
        """Does what follows G's step: the backbone's lazy terms in a step of their own.

        Args:
            inputs: Latents and labels of the update's micro-batches.
            number: The update's number within the step.
        """
        interval = self._backbone.lazy_intervals().get("generator")
        if interval is None or not is_regularised(self._count("g", number), interval):
            return
        terms = self._backbone.lazy_generator_terms
        self._own_step("generator", [partial(terms, z, y) for z, y in inputs])

    def _own_step(self, network: str, penalties: Sequence[Callable[[], Tensor | None]]) -> None:
        run = self._run
        optimizer = run.optimizers[network]
        optimizer.zero_grad(set_to_none=True)
        for compute in penalties:
            penalty = compute()
            if penalty is not None:
                run.precision.backward(penalty / len(penalties), network)
        run.average_gradients(getattr(run, network))
        run.precision.step(optimizer, network)

    def _count(self, network: str, number: int) -> int:
        per_step = getattr(self._run.config.OPTIMIZATION, f"{network}_updates_per_step")
        return int(per_step * self._run.step + number)

    def _rng(self, number: int, piece: int) -> torch.Generator:
        run = self._run
        return generator_for(
            run.seed, "regularization", run.rank, run.step, "generator", number, piece
        )
