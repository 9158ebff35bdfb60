"""Updates of a host's D and G: fires the hooks, and hands back what they give to its loss."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor

from diagan_plugin.hosts.kit.run import HostRun
from gan_registry.errors import UserError
from gan_registry.records import Fake, MicroBatch, Real
from gan_registry.training.updates import detached


class Weights(NamedTuple):
    """Weights of D's terms, [B] each; None stands for ones."""

    real: Tensor | None = None
    fake: Tensor | None = None


class Updates:
    """Follows the updates of a run's networks.

    Args:
        run: The run.
    """

    def __init__(self, run: HostRun) -> None:
        self.run = run
        self._pending: list[MicroBatch] = []
        hooks = run.hooks
        self.shows = hooks.implements("gan_real_logits")
        self.weighs_discriminator = hooks.implements("gan_discriminator_weights")
        self.penalizes_discriminator = hooks.implements("gan_discriminator_penalty")
        self.weighs_generator = hooks.implements("gan_generator_weights")
        self.penalizes_generator = hooks.implements("gan_generator_penalty")

    def discriminator(self, real: Real, fake: Fake, real_out: Any, fake_out: Any) -> Weights:
        """Notes that D has seen a micro-batch: shows the logits and collects weights.

        Args:
            real: Training samples.
            fake: Generated samples.
            real_out: D's raw output on them, with its graph.
            fake_out: D's raw output on the generated ones.
        """
        run, weights = self.run, Weights()
        if self.shows or self.weighs_discriminator:
            with torch.no_grad():
                real_logits = run.loss.log_density_ratio(real_out, real.y).detach().float()
                fake_logits = run.loss.log_density_ratio(fake_out, fake.y).detach().float()
            if self.shows:
                self.show(real, real_logits)
            if self.weighs_discriminator:
                weights = Weights(
                    *run.hooks.discriminator_weights(
                        run, real, fake, real_logits, fake_logits, real_out, fake_out
                    )
                )
            if weights != Weights():
                self._check_weighted()
        apart = Fake(fake.x.detach(), fake.z.detach(), fake.y)
        self._pending.append(MicroBatch(real, apart, detached(real_out), detached(fake_out)))
        return weights

    def show(self, real: Real, logits: Tensor) -> None:
        """Shows plugins D's logits [B] of training samples."""
        self.run.hooks.real_logits(self.run, real, logits)

    def discriminator_loss(
        self,
        own: Callable[[], Tensor],
        real: Real,
        fake: Fake,
        real_out: Any,
        fake_out: Any,
    ) -> Tensor:
        """Returns D's loss: the host's own where no plugin weights, else in weighted terms.

        Args:
            own: Computes the host's loss.
            real: As for :meth:`discriminator`, like the rest.
            fake: Generated samples.
            real_out: D's raw output on the training samples.
            fake_out: D's raw output on the generated ones.
        """
        run = self.run
        weights = self.discriminator(real, fake, real_out, fake_out)
        if weights == Weights():
            loss = own()
        else:
            loss = weighted_mean(run.loss.real_terms(real_out, real.y), weights.real)
            loss = loss + weighted_mean(run.loss.fake_terms(fake_out, fake.y), weights.fake)
        if self.penalizes_discriminator:
            penalty = run.hooks.discriminator_penalty(run, real, fake, real_out, fake_out)
            loss = loss if penalty is None else loss + penalty
        return loss

    def generator(self, fake: Fake, fake_out: Any) -> Tensor | None:
        """Collects the weights [B] of G's terms; None stands for ones."""
        if not self.weighs_generator:
            return None
        run = self.run
        with torch.no_grad():
            logits = run.loss.log_density_ratio(fake_out, fake.y).detach().float()
        weights: Tensor | None = run.hooks.generator_weights(run, fake, logits, fake_out)
        if weights is not None:
            self._check_weighted()
        return weights

    def generator_loss(self, own: Callable[[], Tensor], fake: Fake, fake_out: Any) -> Tensor:
        """Returns G's loss, as :meth:`discriminator_loss` does D's."""
        run = self.run
        weights = self.generator(fake, fake_out)
        if weights is None:
            loss = own()
        else:
            loss = weighted_mean(run.loss.generator_terms(fake_out, fake.y), weights)
        if self.penalizes_generator:
            penalty = run.hooks.generator_penalty(run, fake, fake_out)
            loss = loss if penalty is None else loss + penalty
        return loss

    def _check_weighted(self) -> None:
        if self.run.loss.is_pairwise:
            raise UserError(
                f"The loss {self.run.config.LOSS.adv_loss!r} is of pairs, and {self.run.host} "
                "weights single samples: leave out what weights them, or use 'gan-registry train'."
            )

    def stepped(self) -> None:
        """D's optimiser has stepped: fires `gan_discriminator_updated`."""
        batches, self._pending = self._pending, []
        if batches:
            self.run.health.discriminator_updated(batches, number=0)
            self.run.hooks.discriminator_updated(self.run, batches)

    def abandon(self) -> None:
        """Forgets an update that never came to an end."""
        self._pending = []


def weighted_mean(terms: Tensor, weights: Tensor | None) -> Tensor:
    """Returns the mean of terms [B], each times its weight; None stands for ones."""
    return (terms if weights is None else terms * weights.to(terms.dtype)).mean()
