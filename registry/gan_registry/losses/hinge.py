"""The hinge loss (Lim & Ye, 2017; Tran et al., 2017)."""

from __future__ import annotations

from typing import Any, ClassVar

from torch import Tensor
from torch.nn.functional import relu

from gan_registry.losses.base import LogitLoss


class Hinge(LogitLoss):
    """A margin of 1 for D on both sides; G raises D's output.

    The optimal output is sign(p_data - p_g), which holds no density ratio; D's raw output stands in
    for it, as proposed by Lee et al. (2021, section 5, "Extension to hinge loss").
    """

    is_density_ratio: ClassVar[bool] = False

    def real_terms(self, out: Any, y: Tensor | None = None) -> Tensor:
        """Returns max(0, 1 - v), [B]."""
        return relu(1.0 - self.logits(out))

    def fake_terms(self, out: Any, y: Tensor | None = None) -> Tensor:
        """Returns max(0, 1 + v), [B]."""
        return relu(1.0 + self.logits(out))

    def generator_terms(self, out: Any, y: Tensor | None = None) -> Tensor:
        """Returns -v, [B]."""
        return -self.logits(out)
