"""What passes between a run and its hooks: batches of samples, and what is added to a loss."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class Real:
    """A batch of training samples.

    Attributes:
        indices: Dataset indices, int64 [B], always on the CPU.
        x: Samples [B, ...] on the run's device.
        y: Class labels, int64 [B], or None.
    """

    indices: Tensor
    x: Tensor
    y: Tensor | None = None


@dataclass(frozen=True)
class Fake:
    """A batch of generated samples.

    Attributes:
        x: Samples [B, ...] on the run's device.
        z: The latents they were made from, [B, z_dim].
        y: The class labels they were made for, int64 [B], or None.
    """

    x: Tensor
    z: Tensor
    y: Tensor | None = None


@dataclass(frozen=True)
class MicroBatch:
    """One micro-batch of a discriminator update, as `gan_discriminator_updated` sees it.

    Attributes:
        real: The training samples.
        fake: The generated samples, detached from the generator.
        real_out: D's raw output on `real.x`, detached tensors.
        fake_out: D's raw output on `fake.x`, detached tensors.
    """

    real: Real
    fake: Fake
    real_out: Any = None
    fake_out: Any = None


class AddedTerms(Protocol):
    """What is added to the loss of a discriminator beside its terms of each sample.

    See :class:`gan_registry.training.discriminator_regularization.DiscriminatorRegularization`.
    """

    def terms(
        self, real: Real, fake: Fake, real_out: Any, fake_out: Any, update: int, piece: int = 0
    ) -> Tensor | None:
        """Returns what is added on a micro-batch, a scalar or None."""
        ...

    def lazy_terms(self, reals: Sequence[Real], update: int) -> list[Callable[[], Tensor]]:
        """Returns what a step of its own minimises after an update: one term a micro-batch."""
        ...

    def stepped(self) -> None:
        """Does what follows each step of the discriminator's optimiser."""
        ...
