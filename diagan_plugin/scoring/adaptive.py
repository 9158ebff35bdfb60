"""Two choices that the statistics of a run can make: k, and when the ranking has settled.

Neither rule is of the papers, which search k by hand (0.3 on CIFAR-10 to 5 on CelebA) and end phase
1 at a fixed share of the steps. Both are heuristics of ours: pure functions of the statistics, the
same for any scale and any shift of the logits.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats

Floats = NDArray[np.float64]

K_RANGE = (0.1, 10.0)
"""A chosen k is kept in this range, around the paper's 0.3 to 5."""

K_NEUTRAL = 1.0
"""k where the statistics say nothing: the published value for Colored MNIST."""

SETTLED = 0.9
"""The ranking has settled from this rank correlation between two windows on."""


@dataclass(frozen=True)
class KChoice:
    """A chosen k, and what it rests on.

    Attributes:
        value: k, to three significant digits.
        spread_ldrm: Robust standard deviation of LDRM over the samples.
        spread_deviation: That of √LDRV.
        reliability_ldrm: Share of LDRM's variance over the samples that is not recording noise.
        reliability_deviation: That of √LDRV.
    """

    value: float
    spread_ldrm: float
    spread_deviation: float
    reliability_ldrm: float
    reliability_deviation: float

    @property
    def reason(self) -> str:
        """Says in a sentence why."""
        if not (self.reliability_ldrm or self.reliability_deviation):
            return (
                f"k = {self.value:g}, the default, as neither LDRM nor √LDRV differs between the "
                "samples by more than recording noise."
            )
        limited = ", the limit" if self.value in K_RANGE else ""
        return (
            f"k = {self.value:g}{limited}, so that LDRM and √LDRV count equally: over the samples "
            f"LDRM spreads by {self.spread_ldrm:.3g} ({self.reliability_ldrm:.0%} of it more than "
            f"recording noise), √LDRV by {self.spread_deviation:.3g} "
            f"({self.reliability_deviation:.0%})."
        )


def choose_k(mean: ArrayLike, variance: ArrayLike, count: ArrayLike) -> KChoice:
    """Chooses k such that LDRM and √LDRV count equally, as far as they are more than noise.

    Each statistic is measured in units of its spread over the samples, the median absolute
    deviation in the scale of a standard deviation: a small group stands out of either by so many
    spreads, and does not move the spread itself. Then it is weighted by its reliability r, the
    share of its variance over the samples that is not noise of recording (Kelley's regressed
    estimate of the true value, in the same units). With n records the noise of LDRM is LDRV/n, and
    that of √LDRV about LDRV/(2(n − 1)), as if records were independent and normal. Hence, kept
    within :data:`K_RANGE`,

        k = (r(√LDRV) / spread(√LDRV)) / (r(LDRM) / spread(LDRM)).

    Without r, samples that fluctuate alike, so that √LDRV differs by nothing but noise, would get
    half of their score from noise.

    Args:
        mean: LDRM [N].
        variance: LDRV [N].
        count: Records of each sample [N]. Samples with fewer than two, or with NaN, are left out.

    Returns:
        The choice: :data:`K_NEUTRAL` where neither statistic says anything.

    Raises:
        ValueError: The shapes differ.
    """
    m, v, n = (np.asarray(given, np.float64).reshape(-1) for given in (mean, variance, count))
    if not m.shape == v.shape == n.shape:
        raise ValueError(
            "Arguments `mean`, `variance` and `count` must be of one shape, but got "
            f"{m.shape}, {v.shape} and {n.shape}."
        )
    usable = np.isfinite(m) & np.isfinite(v) & (n >= 2)
    m, v, n = m[usable], v[usable], n[usable]
    if m.size < 2:
        return KChoice(K_NEUTRAL, 0.0, 0.0, 0.0, 0.0)
    # The median of a variance estimate is below its mean, much so of few records: the factor is
    # that of a χ² distribution (Wilson and Hilferty, 1931).
    true = v / (1 - 2 / (9 * (n - 1))) ** 3
    spread_m, reliability_m = _spread(m, true / n)
    spread_s, reliability_s = _spread(np.sqrt(v), true / (2 * (n - 1)))
    if reliability_m and reliability_s:
        k = (reliability_s / spread_s) / (reliability_m / spread_m)
    elif reliability_m:
        k = K_RANGE[0]
    elif reliability_s:
        k = K_RANGE[1]
    else:
        k = K_NEUTRAL
    # Three digits say all there is, and can be given as --dia-k in another run.
    value = float(f"{min(max(k, K_RANGE[0]), K_RANGE[1]):.3g}")
    return KChoice(value, spread_m, spread_s, reliability_m, reliability_s)


def _spread(values: Floats, noise: Floats) -> tuple[float, float]:
    """Returns a robust standard deviation, and which share of its square is not noise."""
    spread = float(stats.median_abs_deviation(values, scale="normal"))
    if not spread or not math.isfinite(spread):
        return 0.0, 0.0
    return spread, max(1.0 - float(np.median(noise)) / spread**2, 0.0)


def rank_correlation(one: ArrayLike, other: ArrayLike) -> float:
    """Returns Spearman's rank correlation of two scores over the samples that have both.

    Args:
        one: Scores [N]; NaN where there is none.
        other: Scores [N], likewise.

    Returns:
        A number in [−1, 1]; 0 where either ranks nothing (fewer than two samples, or all equal).

    Raises:
        ValueError: The shapes differ.
    """
    a, b = (np.asarray(given, np.float64).reshape(-1) for given in (one, other))
    if a.shape != b.shape:
        raise ValueError(
            f"Argument `other` must have the shape of `one`, {a.shape}, but got {b.shape}."
        )
    known = ~(np.isnan(a) | np.isnan(b))
    if known.sum() < 2:
        return 0.0
    x, y = (stats.rankdata(given[known]) for given in (a, b))
    x, y = x - x.mean(), y - y.mean()
    size = math.sqrt(float(x @ x) * float(y @ y))
    return min(max(float(x @ y) / size, -1.0), 1.0) if size else 0.0
