"""How far D's log-density ratios of training samples lie above those of samples it never saw.

Both are drawn from the same distribution, so that a difference in their means beyond chance says
that D knows the training samples by heart: then a high ratio means memorisation.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor

MIN_EFFECT = 0.5
"""Smallest difference that counts, in standard deviations of the ratios (Cohen's "medium"): half of
what separates two samples of the same kind is then memory."""

MIN_ERRORS = 5.0
"""Smallest difference that counts, in standard errors: by chance one record in 3 million has it,
so that no run's hundred records raise an alarm."""


@dataclass(frozen=True)
class HoldoutGap:
    """One comparison of training samples with held-out ones.

    Attributes:
        step: Steps done.
        gap: Mean ratio of training samples, less that of held-out ones.
        standard_error: Of that difference.
        effect: The difference in pooled standard deviations of the ratios.
    """

    step: int
    gap: float
    standard_error: float
    effect: float

    @property
    def is_large(self) -> bool:
        """Whether it is beyond chance and large enough to matter."""
        return self.effect >= MIN_EFFECT and self.gap >= MIN_ERRORS * self.standard_error


def holdout_gap(step: int, training: Tensor, held_out: Tensor) -> HoldoutGap | None:
    """Compares the ratios of training samples with those of held-out ones.

    Args:
        step: Steps done.
        training: Ratios of training samples [N].
        held_out: Ratios of held-out samples [M].

    Returns:
        The comparison; None where one side has fewer than two finite ratios.
    """
    finite = [values.cpu().double() for values in (training, held_out)]
    finite = [values[values.isfinite()] for values in finite]
    if min(map(len, finite)) < 2:
        return None
    variances = [float(values.var()) for values in finite]
    pooled = sum(v * (len(x) - 1) for v, x in zip(variances, finite, strict=True))
    pooled /= sum(map(len, finite)) - 2
    gap = float(finite[0].mean() - finite[1].mean())
    error = math.sqrt(sum(v / len(x) for v, x in zip(variances, finite, strict=True)))
    # A D that is constant has no spread, and tells nobody apart.
    return HoldoutGap(step, gap, error, gap / math.sqrt(pooled) if pooled > 0.0 else 0.0)


def is_memorised(gaps: Sequence[HoldoutGap]) -> bool:
    """Whether the last comparison is large and has grown since the one before."""
    if not gaps or not gaps[-1].is_large:
        return False
    return len(gaps) < 2 or gaps[-1].gap > gaps[-2].gap
