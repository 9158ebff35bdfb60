"""How sure a score is: percentile bootstrap of one anchor's MCCS, and of the population's."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from scipy.stats import binom

from diagan_plugin.blackbox.mccs import Comparison, collapse_score

RESAMPLES = 1000
LEVEL = 0.95
_RULE_OF_THREE = 3.0


class Interval(NamedTuple):
    """A confidence interval."""

    low: float
    high: float


def mccs_interval(
    similarities: npt.ArrayLike,
    rng: np.random.Generator,
    *,
    level: float = LEVEL,
    resamples: int = RESAMPLES,
) -> Interval:
    """Computes an interval for one anchor's MCCS by drawing its similarities [n] in [0, 1] anew.

    Only those above 0 are drawn, as many as a draw of all would have hit: it is the same
    distribution, at the cost of the few that matter. Where there is none, resampling would be
    certain of 0; the upper end is then that of 3 copies of the anchor among the n ("rule of three",
    which holds for 95 %). An interval has the confidence `level` in (0, 1), by `resamples` draws.

    Raises:
        ValueError: `similarities` is no list of numbers, or `level` is out of its range.
    """
    values = np.asarray(similarities, np.float64)
    if values.ndim != 1 or not len(values):
        raise ValueError(
            f"Argument `similarities` must be [n] with n > 0, but got {list(values.shape)}."
        )
    positive, count = values[values > 0.0], len(values)
    if not len(positive):
        _tails(level)
        return Interval(0.0, float(collapse_score(min(_RULE_OF_THREE / count, 1.0))))
    hits = rng.binomial(count, len(positive) / count, resamples)
    sums = np.array([positive[rng.integers(len(positive), size=n)].sum() for n in hits])
    return _interval(collapse_score(sums / count), level, float(collapse_score(values.mean())))


def share_interval(
    hits: int,
    count: int,
    rng: np.random.Generator,
    *,
    level: float = LEVEL,
    resamples: int = RESAMPLES,
) -> Interval:
    """Computes an interval for a share of which `hits` of `count` were seen, likewise."""
    rest = min(_RULE_OF_THREE / count, 1.0)
    if hits in (0, count):  # where resampling would be certain
        return Interval(0.0, rest) if hits == 0 else Interval(1.0 - rest, 1.0)
    return _interval(rng.binomial(count, hits / count, resamples) / count, level, hits / count)


def population_intervals(
    comparison: Comparison,
    rng: np.random.Generator,
    *,
    level: float = LEVEL,
    resamples: int = RESAMPLES,
) -> tuple[Interval, Interval]:
    """Computes intervals for mean and standard deviation of MCCS over the anchors (paper, eq. 8).

    Anchors are drawn anew, and so are the blocks of samples, 20 or so, since all anchors share
    their samples' luck.
    """
    anchors, blocks = comparison.similarities.shape
    means, deviations = np.empty(resamples), np.empty(resamples)
    for number in range(resamples):
        times = np.bincount(rng.integers(blocks, size=blocks), minlength=blocks)
        scores = collapse_score(comparison.similarities @ times / (comparison.sizes @ times))
        drawn = scores[rng.integers(anchors, size=anchors)]
        means[number], deviations[number] = drawn.mean(), drawn.std(ddof=min(1, anchors - 1))
    scores = comparison.scores
    return (
        _interval(means, level, float(scores.mean())),
        _interval(deviations, level, float(scores.std(ddof=min(1, anchors - 1)))),
    )


def smallest_above(bound: float, count: int, level: float = LEVEL) -> float:
    """Returns the smallest share of `count` samples that is surely at or above a bound.

    Surely: so is the lower end of its interval. Above 1 where no share is.
    """
    shares = np.arange(1, count + 1) / count
    low = np.asarray(binom.ppf((1.0 - level) / 2.0, count, shares)) / count
    notable = shares[low >= bound]
    return float(notable[0]) if notable.size else 2.0


def _interval(values: npt.NDArray[np.float64], level: float, estimate: float) -> Interval:
    """Returns the middle of resampled values, and out to the estimate where it lies outside.

    What is resampled is biased, most of all where there are few samples: a standard deviation of
    draws with repeats is too small.
    """
    low, high = np.quantile(values, _tails(level))
    return Interval(min(float(low), estimate), max(float(high), estimate))


def _tails(level: float) -> tuple[float, float]:
    if not 0.0 < level < 1.0:
        raise ValueError(f"Argument `level` must be in (0, 1), but got {level}.")
    return (1.0 - level) / 2.0, (1.0 + level) / 2.0
