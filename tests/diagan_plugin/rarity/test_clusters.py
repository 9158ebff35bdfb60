"""Groups without labels: planted ones are found, chance is not, and intervals hold."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.stats import binomtest

from diagan_plugin.rarity import clusters
from diagan_plugin.rarity.clusters import (
    Factor,
    find_clusters,
    measured_factor,
    rated_factor,
)

TIMES = 9.0


def planted(seed: int, size: int = 64, total: int = 1600):
    """Points in 10 dimensions; a group far from the others is made 9 times too rarely."""
    rng = np.random.default_rng(seed)
    centres = 4 * rng.standard_normal((8, 10))
    which = np.where(np.arange(total) < size, 0, rng.integers(1, 8, total))
    points = centres[which] + rng.standard_normal((total, 10))
    rare = which == 0
    weight = np.where(rare, 1 / TIMES, 1.0)
    weight /= weight.mean()
    ldrm = -np.log(weight) + 0.4 * rng.standard_normal(total) + 0.08  # so that E[1/e^ldrm] is right
    made = rng.choice(total, 2000, p=weight / total)
    generated = points[made] + 0.1 * rng.standard_normal((2000, 10))
    return points, ldrm, generated, rare


def find(points, score, generated=None, ldrm=None, seed=0, **given):
    everything = np.ones(len(score), bool)
    given = {"eligible": everything, "at_random": everything, **given}
    threshold = float(np.nanquantile(score, 0.9))
    return find_clusters(
        points, score, ldrm, threshold, generated=generated, seed=seed, **given
    )  # fmt: skip


def test_planted_groups_are_found_and_their_factors_lie_in_the_intervals() -> None:
    true = TIMES * (1 - 0.04 + 0.04 / TIMES)  # of a share of 4 %
    inside = 0
    for seed in range(8):
        points, ldrm, generated, rare = planted(seed)
        (first,) = find(points, ldrm, generated, ldrm, seed)
        assert rare[first.rows].mean() > 0.9
        assert rare[first.rows].sum() > 0.9 * rare.sum()
        assert first.share_data == pytest.approx(0.04, rel=0.4)
        assert first.p_value < 0.01
        assert first.measured is not None
        assert first.rated is not None
        assert first.rated.low <= first.rated.value <= first.rated.high
        assert first.rated.value == pytest.approx(true, rel=0.25)
        inside += first.measured.low <= true <= first.measured.high
    assert inside >= 7


def test_chance_makes_no_clusters() -> None:
    false = 0
    for seed in range(20):
        rng = np.random.default_rng(100 + seed)
        points, _, generated, _ = planted(seed, size=40, total=800)
        false += bool(find(points, rng.standard_normal(len(points)), generated, seed=seed))
    assert false <= 1  # at a level of 1 % two of twenty are a chance of 1.7 %


def test_what_is_found_is_not_judged_by_the_samples_that_found_it() -> None:
    """Were the finding half judged too, its cluster's score would be high by selection."""
    effects = []
    for seed in range(10):
        points, _, _, _ = planted(seed, total=800)
        score = np.random.default_rng(seed).standard_normal(len(points))
        with pytest.MonkeyPatch.context() as patch:
            found = []

            def spy(values, slot, _found=found, **given):
                _found.append((values, slot))

            patch.setattr(clusters, "diagnose_groups", spy)
            find(points, score, seed=seed)
        values, slot = found[0]
        assert len(values) < 0.6 * len(score)
        effects.append(values[slot < slot.max()].mean())
    assert abs(np.mean(effects)) < 0.1


def test_samples_that_do_not_count_are_in_no_cluster() -> None:
    points, ldrm, generated, rare = planted(3)
    assert not find(points, ldrm, generated, ldrm, eligible=~rare)
    unknown = np.where(rare, np.nan, ldrm)
    assert not find(points, unknown, generated, unknown)


def test_shares_are_those_of_the_random_part() -> None:
    """Where the tails are looked at too, they help to find, and not to count."""
    points, ldrm, generated, rare = planted(5, size=200, total=2400)
    at_random = ~rare | (np.arange(len(rare)) < 100)
    first = find(points, ldrm, generated, ldrm, at_random=at_random)[0]
    assert first.share_data == pytest.approx(100 / 2300, rel=0.3)


def test_too_few_samples_have_no_clusters() -> None:
    points, ldrm, _, _ = planted(0)
    assert not find(points[:60], ldrm[:60])
    # Nearly all scores are equal, and the lower ones lie in the half that judges.
    score = np.ones(200)
    score[:2] = 0.0
    for seed in range(20):
        assert not find(points[:200], score, seed=seed)


def test_without_a_density_ratio_and_generated_samples_there_are_no_factors() -> None:
    points, ldrm, _, _ = planted(1)
    first = find(points, ldrm)[0]
    assert (first.rated, first.measured) == (None, None)
    assert first.effect > 1


def test_a_cluster_that_is_hardly_too_rare_is_not_worth_a_word() -> None:
    points, ldrm, _, rare = planted(2)
    slight = np.where(rare, math.log(1.05), 0.0) + 0.01 * (ldrm - ldrm.mean())
    assert not find(points, slight, ldrm=slight)


@pytest.mark.parametrize("factor", [0.5, 1.0, 4.0])
def test_measured_intervals_hold_for_95_percent(factor: float) -> None:
    rng = np.random.default_rng(0)
    share, inside = 0.04, 0
    for _ in range(1000):
        real = int(rng.binomial(800, share))
        made = int(rng.binomial(2000, share / factor))
        found = measured_factor(real, 800, made, 2000)
        assert found.low <= found.value <= found.high
        inside += found.low <= factor <= found.high
    assert inside >= 940


@pytest.mark.parametrize(("real", "made"), [(3, 40), (30, 7), (1, 1), (12, 0), (0, 12)])
def test_measured_intervals_are_clopper_and_pearsons(real: int, made: int) -> None:
    """Of the share that is real among those in the region, turned into a ratio of shares."""
    exact = binomtest(real, real + made).proportion_ci(0.95, "exact")
    found = measured_factor(real, 800, made, 2000)
    for end, share in ((found.low, exact.low), (found.high, exact.high)):
        expected = 2.5 * share / (1 - share) if share < 1 else math.inf
        assert end == pytest.approx(expected, rel=1e-6)
    assert found.value == (pytest.approx(2.5 * real / made) if made else math.inf)


def test_measured_factor_of_nothing_generated() -> None:
    found = measured_factor(30, 800, 0, 2000)
    assert math.isinf(found.value)
    assert math.isinf(found.high)
    assert 10 < found.low < 30
    assert measured_factor(0, 800, 5, 2000).low == 0.0
    assert math.isnan(measured_factor(0, 800, 0, 2000).value)


def test_rated_factor() -> None:
    rng = np.random.default_rng(0)
    found = rated_factor(np.full(10, math.log(9)), rng)
    assert isinstance(found, Factor)
    assert (found.value, found.low, found.high) == pytest.approx((9.0, 9.0, 9.0))
    # The mean of p_g / p_data, not the mean logarithm.
    found = rated_factor(np.log([2.0, 8.0] * 200), rng)
    assert found is not None
    assert found.value == pytest.approx(1 / np.mean([1 / 2, 1 / 8]))
    # 0.3125 ± 1.96 · 0.1875/√400, one over it.
    assert (found.low, found.high) == pytest.approx((3.022, 3.400), rel=0.01)
    huge = rated_factor(np.array([900.0, 1000.0]), rng)
    assert huge is not None
    assert math.isfinite(huge.value)
    assert rated_factor(np.array([np.nan]), rng) is None
