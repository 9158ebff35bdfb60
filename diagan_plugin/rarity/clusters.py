"""Groups that no label names: clusters of under-represented samples, and a test against chance.

Whoever clusters the samples of the highest scores, and then looks at their scores, finds them high.
So the clusters are found among one half of the samples, as regions of the feature space, and all
that is said of a region (score, test, share, factor) comes of the other half.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import beta
from sklearn.cluster import KMeans
from sklearn.metrics import silhouette_score

from diagan_plugin.report.findings import MIN_SHORTFALL
from diagan_plugin.report.verdict import diagnose_groups

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]

NONE = -1
_MOST_CLUSTERS = 6
_MIN_FOUND, _MIN_SIZE = 20, 5  # samples to be clustered, and in a cluster of the other half
_MOST_FOUND = 2_000
_BACKGROUND = 64  # regions for the other samples, at most
_RESAMPLES = 1_000
_LEVEL = 0.95


@dataclass(frozen=True)
class Factor:
    """How many times too rarely samples are generated; the interval holds for 95 %.

    Attributes:
        value: Share of the data over share of what is generated; infinite if there is nothing.
        low: The interval's lower end.
        high: Its upper end.
    """

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Cluster:
    """A region of the feature space that is under-represented beyond chance.

    Attributes:
        rows: Its samples among the M that were looked at, the most central first, int64.
        share_data: Its share of the data.
        p_value: Chance that shuffled scores would put any region so far above the others.
        effect: Mean score above that of the others, in standard deviations.
        rated: How much too rare D rates it; None where its records are no density ratio.
        measured: How much too rare it is among the generated samples; None without any.
    """

    rows: Integers
    share_data: float
    p_value: float
    effect: float
    rated: Factor | None
    measured: Factor | None

    @property
    def matters(self) -> bool:
        """Whether D, or what was measured, says that it is too rare by an amount that counts."""
        least = 1 / (1 - MIN_SHORTFALL)
        opinion = self.rated is None or self.rated.value >= least
        return opinion or (self.measured is not None and self.measured.low >= least)


def find_clusters(
    points: Floats,
    score: Floats,
    ldrm: Floats | None,
    threshold: float,
    *,
    eligible: NDArray[np.bool_],
    at_random: NDArray[np.bool_],
    generated: Floats | None = None,
    seed: int = 0,
) -> list[Cluster]:
    """Finds under-represented clusters, the largest factor first.

    Args:
        points: Features of the samples, [M, D].
        score: Their scores, [M].
        ldrm: Their mean log-density ratios, [M]; None where these are none.
        threshold: The score from which on a sample counts as under-represented.
        eligible: Which samples count, [M]; broken ones should not.
        at_random: Which of them stand for the data, [M].
        generated: Features of generated samples, [n, D]; None where there are none.
        seed: Of the split, the clusters and the permutations.
    """
    eligible = eligible & np.isfinite(score)
    rng = np.random.default_rng([seed, 0xC1])
    judging = eligible & at_random & (rng.random(len(score)) < 0.5)
    finding = np.flatnonzero(eligible & ~judging)
    high = score[finding] >= threshold
    if high.sum() < _MIN_FOUND or judging.sum() < _MIN_FOUND or high.all():
        return []
    tail, rest = finding[high], finding[~high]
    tail = tail[np.argsort(-score[tail], kind="stable")][:_MOST_FOUND]
    centres, count = _regions(points, tail, rest, seed)
    region = _nearest(points, centres)
    slot = np.minimum(region, count)  # the background is one
    made = None if generated is None else np.minimum(_nearest(generated, centres), count)
    judges = np.flatnonzero(judging)
    found = diagnose_groups(score[judges], slot[judges], seed=seed)
    clusters = []
    for finding_of in found.findings if found is not None else ():
        number = finding_of.group
        if number == count or not finding_of.stands_out or finding_of.size < _MIN_SIZE:
            continue
        members = judges[slot[judges] == number]
        rows = np.flatnonzero(eligible & (slot == number))
        distance = np.square(points[rows] - centres[number]).sum(1)
        factor = None
        if made is not None:
            count_made = int((made == number).sum())
            factor = measured_factor(len(members), len(judges), count_made, len(made))
        cluster = Cluster(
            rows=rows[np.argsort(distance, kind="stable")],
            share_data=len(members) / len(judges),
            p_value=finding_of.p_value,
            effect=finding_of.effect,
            rated=None if ldrm is None else rated_factor(ldrm[members], rng),
            measured=factor,
        )
        if cluster.matters:
            clusters.append(cluster)
    return sorted(clusters, key=_order)


def rated_factor(ldrm: Floats, rng: np.random.Generator) -> Factor | None:
    """Returns by how much D rates samples of these log-density ratios [n] as too rare.

    The ratio of the region's share of the data to that of the generator's output is, by D, one over
    the mean of p_g/p_data over the region's real samples; the interval is a percentile bootstrap.
    """
    ldrm = ldrm[np.isfinite(ldrm)]
    if not ldrm.size:
        return None
    # In logarithms from the smallest on: ratios of e^800 are recorded of a D that wins.
    shift = float(ldrm.min())
    inverse = np.exp(shift - ldrm)
    means = inverse[rng.integers(ldrm.size, size=(_RESAMPLES, ldrm.size))].mean(1)
    tails = np.quantile(means, [(1 + _LEVEL) / 2, (1 - _LEVEL) / 2])
    value = shift - float(np.log(inverse.mean()))
    low, high = (shift - np.log(tails)).tolist()
    ends = [value, min(low, value), max(high, value)]
    return Factor(*np.exp(np.clip(ends, -700, 700)).tolist())


def measured_factor(real: int, of_real: int, made: int, of_made: int) -> Factor:
    """Compares a region's share of real and of generated samples.

    Given how many of both lie in the region, how many of them are generated is binomial; its exact
    interval (Clopper and Pearson) becomes one of the ratio.
    """
    total, scale = real + made, of_made / of_real
    tail = (1 - _LEVEL) / 2
    ends = [
        beta.ppf(tail, real, made + 1) if real else 0.0,
        beta.ppf(1 - tail, real + 1, made) if made else 1.0,
    ]
    value = real / made if made else float("inf") if real else float("nan")
    if not total:
        return Factor(float("nan"), 0.0, float("inf"))
    low, high = (p / (1 - p) * scale if p < 1 else float("inf") for p in ends)
    return Factor(value * scale, low, high)


def _regions(points: Floats, tail: Integers, rest: Integers, seed: int) -> tuple[Floats, int]:
    """Returns the centres of the tail's clusters and of the background; and the former's number.

    A sample belongs to the nearest centre. The background has centres for about twice as many
    samples each, so that a cluster ends where other samples begin.
    """
    most = min(_MOST_CLUSTERS, len(tail) // _MIN_SIZE)
    tries = [_fit(points[tail], count, seed) for count in range(2, most + 1)]
    best = max(tries, key=lambda fit: _silhouette(points[tail], fit.labels_, seed))
    per_cluster = len(tail) / best.n_clusters
    count = int(np.clip(round(len(rest) / (2 * per_cluster)), 1, _BACKGROUND))
    background = _fit(points[rest], min(count, len(rest)), seed).cluster_centers_
    return np.concatenate([best.cluster_centers_, background]), int(best.n_clusters)


def _fit(points: Floats, count: int, seed: int) -> KMeans:
    return KMeans(count, n_init=3, random_state=seed % 2**32).fit(points)


def _silhouette(points: Floats, labels: Integers, seed: int) -> float:
    if len(np.unique(labels)) < 2:
        return -1.0
    size = min(len(points), 500)
    try:
        return float(silhouette_score(points, labels, sample_size=size, random_state=seed % 2**32))
    except ValueError:  # all that were sampled lie in one cluster
        return -1.0


def _nearest(points: Floats, centres: Floats) -> Integers:
    away = np.square(centres).sum(1) - 2.0 * points @ centres.T
    nearest: Integers = away.argmin(1)
    return nearest


def _order(cluster: Cluster) -> tuple[float, float]:
    factor = cluster.measured or cluster.rated
    return (-(factor.value if factor is not None else 0.0), -cluster.effect)
