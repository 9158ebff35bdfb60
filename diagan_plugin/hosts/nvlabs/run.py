"""A training of NVlabs' trainers as hooks see it: the `run`, and the loss of R3GAN."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.functional import softplus

from diagan_plugin.hosts.kit.run import HostRun
from gan_registry.losses.base import LogitLoss
from gan_registry.records import AddedTerms, Fake, MicroBatch, Real
from gan_registry.regularizers.gradient_penalty import r1_penalty
from gan_registry.training.discriminator_regularization import DiscriminatorRegularization


class NvlabsRun(HostRun):
    """One training.

    Attributes:
        seen: The stream position behind the batch that D sees now, or saw last.
        reads_ahead: Whether G's batch has been read, too, while D sees its own.
        penalizes_fakes: Whether D is penalised on generated samples, too (R2).
    """

    seen = 0
    reads_ahead = False
    penalizes_fakes = False

    def drawn(self, batches: Sequence[MicroBatch]) -> NDArray[np.int64]:
        """Returns the dataset indices of an update's micro-batches, those of all ranks."""
        return self.sampler.draw(self.seen - len(batches) * self.batch_size, self.seen)

    def regularization_of(self, discriminator: nn.Module, name: str) -> AddedTerms:
        """Returns the trainer's R1, for R3GAN with R2."""
        kind = _BothPenalties if self.penalizes_fakes else DiscriminatorRegularization
        return kind(self, discriminator, name)


class _BothPenalties(DiscriminatorRegularization):
    """R1 and R2, with the weight that R1 has."""

    def _penalties(
        self, real: Real, fake: Fake, real_out: Any, fake_out: Any, update: int, piece: int
    ) -> list[Tensor]:
        terms = super()._penalties(real, fake, real_out, fake_out, update, piece)
        networks = self._networks
        penalty = r1_penalty(networks.discriminator, fake.x, fake.y, realness=networks.realness)
        return [*terms, self._settings.r1_lambda * penalty]


class RelativisticPairs(LogitLoss):
    """The relativistic loss of pairs (Jolicoeur-Martineau, 2018; R3GAN: Huang et al., 2024).

    D minimises log(1 + exp(D(G(z)) - D(x))) over pairs, so that a constant added to all it says
    changes nothing: its logits are log-density ratios up to an unknown constant. The terms of one
    sample are those of a pair whose other half stands at 0; R3GAN computes its loss itself.
    """

    is_density_ratio: ClassVar[bool] = False
    is_shift_invariant: ClassVar[bool] = True

    def real_terms(self, out: Any, y: Tensor | None = None) -> Tensor:
        """Returns log(1 + exp(-v)), [B]."""
        return softplus(-self.logits(out))

    def fake_terms(self, out: Any, y: Tensor | None = None) -> Tensor:
        """Returns log(1 + exp(v)), [B]."""
        return softplus(self.logits(out))
