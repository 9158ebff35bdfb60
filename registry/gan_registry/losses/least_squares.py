"""The least-squares loss (Mao et al., 2017, eq. 9: a = 0, b = c = 1)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

import torch
from torch import Tensor

from gan_registry.losses.base import LogitLoss


class LeastSquares(LogitLoss):
    """D regresses 1 on real and 0 on generated samples, with no activation; G wants D's 1.

    The regression is optimal where D(x) = p_data / (p_data + p_g), the value that the logistic D
    reaches through a sigmoid: the log density ratio is log(D / (1 - D)). A trained D leaves (0, 1),
    where no ratio exists; it is then read at the nearest end of [eps, 1 - eps]. The default allows
    for ratios from 1:999 to 999:1 (±6.9): the output of a regression isn't known more finely, and
    a smaller `eps` would let the few samples beyond the ends rule every variance.

    Args:
        realness: Reads one output per sample, [B], from D's raw output.
        eps: How far from 0 and 1 the outputs are kept, within (0, 0.5).

    Raises:
        ValueError: `eps` is out of range.
    """

    is_density_ratio: ClassVar[bool] = True

    def __init__(self, realness: Callable[[Any], Tensor], eps: float = 1e-3) -> None:
        super().__init__(realness)
        if not 0.0 < eps < 0.5:
            raise ValueError(f"Argument `eps` must be within (0, 0.5), but got {eps}.")
        self._eps = eps

    def real_terms(self, out: Any, y: Tensor | None = None) -> Tensor:
        """Returns (D - 1)² / 2, [B]."""
        return 0.5 * (self.logits(out) - 1.0).square()

    def fake_terms(self, out: Any, y: Tensor | None = None) -> Tensor:
        """Returns D² / 2, [B]."""
        return 0.5 * self.logits(out).square()

    def log_density_ratio(self, out: Any, y: Tensor | None = None) -> Tensor:
        """Returns log(D / (1 - D)) with D clipped to [eps, 1 - eps], [B]."""
        return torch.logit(self.logits(out), eps=self._eps)
