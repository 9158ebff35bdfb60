"""The Wasserstein loss (Arjovsky et al., 2017, eq. 3)."""

from __future__ import annotations

from typing import Any, ClassVar

from torch import Tensor

from gan_registry.losses.base import LogitLoss


class Wasserstein(LogitLoss):
    """The difference of D's mean outputs; D must be kept Lipschitz by other means.

    That is, by weight clipping or a gradient penalty (`LOSS.apply_wc`, `apply_gp`, …): without, D's
    loss has no lower bound. The optimal D is a Kantorovich potential, known up to a constant and
    blind to the densities where its slope is at the bound: it holds no density ratio.
    """

    is_density_ratio: ClassVar[bool] = False
    is_shift_invariant: ClassVar[bool] = True

    def real_terms(self, out: Any, y: Tensor | None = None) -> Tensor:
        """Returns -v, [B]."""
        return -self.logits(out)

    def fake_terms(self, out: Any, y: Tensor | None = None) -> Tensor:
        """Returns v, [B]."""
        return self.logits(out)
