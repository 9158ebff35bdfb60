"""What a loop adds to its discriminator's loss, for the auxiliary discriminator as well."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from torch import Tensor, nn

from gan_registry.records import Fake, Real

Penalty = Callable[[Any, Tensor, Tensor], Tensor]
"""`(discriminator, real_x [B, ...], fake_x [B, ...]) -> scalar`."""


class LoopPenalty:
    """The user's penalty, computed for another discriminator than the run's own.

    Args:
        penalty: Called with a discriminator that is called as the user's own is.
        discriminator: The network, as `D(x, y)`.
        conditional: Whether the user's D takes labels: the one that `penalty` gets is called with
            samples alone, and knows the labels of the real ones.
    """

    def __init__(self, penalty: Penalty, discriminator: nn.Module, conditional: bool) -> None:
        self._penalty = penalty
        self._discriminator = discriminator
        self._conditional = conditional

    def terms(
        self, real: Real, fake: Fake, real_out: Any, fake_out: Any, update: int, piece: int = 0
    ) -> Tensor | None:
        """Returns the penalty on a micro-batch, a scalar."""
        network: Any = getattr(self._discriminator, "network", self._discriminator)
        if self._conditional:
            network = lambda x: self._discriminator(x, real.y)  # noqa: E731
        return self._penalty(network, real.x, fake.x)

    def lazy_terms(self, reals: Sequence[Real], update: int) -> list[Callable[[], Tensor]]:
        """Returns nothing: the penalty is part of each update."""
        return []

    def stepped(self) -> None:
        """Does nothing: what a loop does after its optimiser's step is not known."""
