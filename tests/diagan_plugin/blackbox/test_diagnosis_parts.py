"""Thresholds, dense modes, intervals."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy import stats

from diagan_plugin.blackbox.bootstrap import mccs_interval, population_intervals, share_interval
from diagan_plugin.blackbox.collapse_diagnosis import diagnose
from diagan_plugin.blackbox.diagnosis_report import verdict
from diagan_plugin.blackbox.mccs import (
    Comparison,
    angular_distances,
    collapse_score,
    unit_vectors,
)
from diagan_plugin.blackbox.modes import find_modes, nearest_samples
from diagan_plugin.blackbox.thresholds import (
    RESOLUTION,
    SHARE,
    min_samples,
    share_of,
    typical_radius,
)


def sphere(n: int, seed: int, dense: float = 0.0, width: float = 0.05):
    """Unit vectors in 6 dimensions, a share of them near the first axis."""
    rng = torch.Generator().manual_seed(seed)
    x = unit_vectors(torch.randn(n, 6, generator=rng))
    planted = torch.rand(n, generator=rng) < dense
    near = torch.eye(6)[0] + width * torch.randn(n, 6, generator=rng)
    return unit_vectors(torch.where(planted[:, None], near, x))


def circle(*angles):
    """Unit vectors at shares of π."""
    turned = torch.tensor(angles) * torch.pi
    return torch.stack([turned.cos(), turned.sin()], 1)


# ------------------------------------------------------------------ thresholds


def test_the_median_anchor_has_the_share():
    anchors, samples = sphere(301, 0), sphere(2000, 1)
    radius = typical_radius(anchors, samples, 0.01)
    shares = (angular_distances(anchors, samples) <= radius).float().mean(1)
    assert shares.median().item() == pytest.approx(0.01, abs=1e-6)


def test_a_dense_mode_does_not_move_it():
    usual = typical_radius(sphere(400, 0), sphere(2000, 1))
    dense = typical_radius(sphere(400, 0, 0.2), sphere(2000, 1, 0.2))
    assert dense == pytest.approx(usual, rel=0.1)
    # A quantile of all pairs, the obvious rule, would have fallen to the mode's own width.
    pairs = angular_distances(sphere(400, 0, 0.2), sphere(2000, 1, 0.2))
    assert pairs.flatten().quantile(0.01) < 0.5 * usual


def test_total_collapse_still_has_a_radius():
    same = torch.eye(3)[:1].repeat(600, 1)
    assert typical_radius(same[:20], same) == RESOLUTION
    found = diagnose(same[:20], same)
    assert found.mean > 0.9
    assert found.modes[0].share == 1.0


def test_too_few_for_the_rule():
    with pytest.raises(ValueError, match="at least 500"):
        typical_radius(sphere(20, 0), sphere(499, 1))
    assert 0 < typical_radius(sphere(20, 0), sphere(500, 1)) < 0.5
    with pytest.raises(ValueError, match="share"):
        typical_radius(sphere(20, 0), sphere(500, 1), 0.0)


# ----------------------------------------------------------------------- modes


def test_further_modes_are_not_the_first_again():
    anchors = circle(0.0, 0.01, 0.02, 0.5, 0.51, 0.9)
    assert find_modes(anchors, [50, 60, 40, 30, 31, 5], 3, 0.1) == [1, 4, 5]
    assert find_modes(anchors, [50, 60, 40, 30, 31, 5], 2, 0.1) == [1, 4]
    assert find_modes(anchors, [50, 60, 40, 30, 31, 5], 3, 0.0) == [1, 0, 2]


def test_ties_and_anchors_without_neighbours():
    anchors = circle(0.0, 0.3, 0.6)
    assert find_modes(anchors, [7, 7, 0], 3, 0.1) == [0, 1]
    assert find_modes(anchors, [7, 7, 0], 3, 0.1, ties=[1, 2, 3]) == [1, 0]
    assert find_modes(anchors, [0, 0, 0], 3, 0.1) == [0]
    with pytest.raises(ValueError, match="count"):
        find_modes(anchors, [1, 1, 1], 0, 0.1)
    for wrong, ties in ((anchors, [1, 1, 1, 1]), (anchors, [1]), (anchors[:0], [])):
        with pytest.raises(ValueError, match="`neighbors` and `ties` must be"):
            find_modes(wrong, [1] * len(wrong), 1, 0.1, ties=ties)
    with pytest.raises(ValueError, match="`neighbors` and `ties` must be"):
        find_modes(anchors, [1, 1], 1, 0.1)


def test_nearest_samples_in_order():
    rows, distances = nearest_samples(circle(0.0)[0], circle(0.4, 0.1, 0.2, 0.9), 3)
    assert rows == [1, 2, 0]
    assert distances == pytest.approx([0.1, 0.2, 0.4], abs=1e-5)
    assert len(nearest_samples(circle(0.0)[0], circle(0.4), 12)[0]) == 1


# ------------------------------------------------------------------- intervals


def test_interval_is_that_of_drawing_all_samples_anew():
    rng = np.random.default_rng(0)
    values = np.where(rng.random(400) < 0.1, rng.random(400), 0.0)
    low, high = mccs_interval(values, np.random.default_rng(1), resamples=4000)
    again = values[rng.integers(400, size=(4000, 400))].mean(1)
    want = np.quantile(collapse_score(again), [0.025, 0.975])
    assert low == pytest.approx(want[0], abs=0.006)
    assert high == pytest.approx(want[1], abs=0.006)


def test_interval_covers_the_truth():
    # s is 1 with probability 0.05, so MCCS is 1 / (1 − ln 0.05).
    truth, covered = 1.0 / (1.0 - np.log(0.05)), 0
    for seed in range(100):
        rng = np.random.default_rng(seed)
        values = (rng.random(1000) < 0.05).astype(float)
        low, high = mccs_interval(values, rng, resamples=200)
        covered += low <= truth <= high
    assert 86 <= covered <= 100


def test_nothing_seen_is_not_certain_of_nothing():
    low, high = mccs_interval(np.zeros(300), np.random.default_rng(0))
    assert low == 0.0
    assert high == pytest.approx(1.0 / (1.0 - np.log(0.01)))
    assert share_interval(0, 300, np.random.default_rng(0)) == (0.0, 0.01)
    assert share_interval(300, 300, np.random.default_rng(0)) == (0.99, 1.0)
    with pytest.raises(ValueError, match="n > 0"):
        mccs_interval([], np.random.default_rng(0))
    with pytest.raises(ValueError, match="level"):
        mccs_interval([1.0], np.random.default_rng(0), level=1.0)


def test_population_interval_knows_of_the_samples_luck():
    # All anchors are alike: only the samples can make a difference, and they must show.
    rng = np.random.default_rng(0)
    blocks = np.tile(rng.random(20), (50, 1))
    comparison = Comparison(blocks, np.zeros((50, 20), np.int64), np.full(20, 10))
    mean, std = population_intervals(comparison, rng)
    assert mean.high - mean.low > 0.005
    assert mean.low < comparison.scores.mean() < mean.high
    assert std == pytest.approx((0.0, 0.0), abs=1e-12)
    alone, none = population_intervals(Comparison(blocks[:1], blocks[:1], comparison.sizes), rng)
    assert alone.low < alone.high
    assert none == (0.0, 0.0)  # one anchor has no spread


@pytest.mark.parametrize(("level", "errors"), [(0.95, 1.96), (0.5, 0.6745)])
def test_population_interval_knows_of_the_anchors_luck(level, errors):
    # All blocks are alike: only the anchors, of normal scores, can make a difference.
    rng = np.random.default_rng(1)
    scores = 0.2 + 0.03 * rng.standard_normal(400)
    comparison = Comparison(
        np.tile(10 * np.exp(1 - 1 / scores)[:, None], 20), np.zeros((400, 20), np.int64),
        np.full(20, 10),
    )  # fmt: skip
    np.testing.assert_allclose(comparison.scores, scores)
    mean, std = population_intervals(comparison, rng, level=level, resamples=4000)
    spread = scores.std(ddof=1)
    for found, center, error in (
        (mean, scores.mean(), spread / 400**0.5), (std, spread, spread / 800**0.5),
    ):  # fmt: skip
        assert found == pytest.approx((center - errors * error, center + errors * error), rel=0.01)


@pytest.mark.parametrize("level", [0.95, 0.5])
def test_interval_of_a_share_is_that_of_a_binomial(level):
    found = share_interval(30, 100, np.random.default_rng(0), level=level, resamples=20_000)
    tails = [(1 - level) / 2, (1 + level) / 2]
    assert found == pytest.approx(stats.binom.ppf(tails, 100, 0.3) / 100, abs=0.0101)


# ----------------------------------------------------------------- all of them


@pytest.mark.parametrize("seed", range(3))
def test_finds_a_planted_mode_and_measures_it(seed):
    anchors, samples = sphere(300, 10 + seed, 0.04), sphere(3000, 20 + seed, 0.04)
    found = diagnose(anchors, samples, modes=3, seed=seed)
    first, second = found.modes[:2]
    assert anchors[first.anchor, 0] > 0.85  # r reaches farther than the mode is wide
    assert first.share_interval.low <= 0.05
    assert first.share_interval.high >= 0.04
    assert first.times_typical > 3
    assert first.mccs_interval.low > second.mccs_interval.high
    assert list(first.distances) == sorted(first.distances)
    plain = diagnose(sphere(300, 10 + seed), sphere(3000, 20 + seed), modes=1, seed=seed)
    assert plain.modes[0].mccs_interval.high < first.mccs_interval.low
    # A uniform sphere is as dense everywhere: the luck of the densest anchor is not counted.
    assert plain.modes[0].times_typical < 2.0


def test_equal_seeds_give_equal_diagnoses_and_plain_values():
    anchors, samples = sphere(50, 0), sphere(600, 1)
    state = torch.get_rng_state()
    one, two = (diagnose(anchors, samples, seed=3).to_dict() for _ in range(2))
    assert one == two
    assert one["num_anchors"] == 50
    assert one["modes"][0]["neighbors"]
    assert torch.equal(state, torch.get_rng_state())
    for wrong, message in ((anchors[:9], "anchors"), (anchors, "samples")):
        with pytest.raises(ValueError, match=message):
            diagnose(
                wrong, samples[:19] if message == "samples" else samples, theta=0.2, radius=0.2
            )


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("count", [20, 27, 700])
@pytest.mark.parametrize("level", [0.1, 0.95])  # narrow ones show what resampling gets wrong
def test_an_estimate_never_lies_outside_its_own_interval(seed, count, level):
    anchors, samples = sphere(12, seed), sphere(count, 100 + seed)
    found = diagnose(anchors, samples, modes=3, seed=seed, level=level, resamples=200)
    pairs = [(found.mean, found.mean_interval), (found.std, found.std_interval)]
    for mode in found.modes:
        pairs += [(mode.share, mode.share_interval), (mode.mccs, mode.mccs_interval)]
    assert all(low <= value <= high for value, (low, high) in pairs)


def test_few_samples_are_seen_more_coarsely():
    assert share_of(40) == 0.125
    assert share_of(499) > share_of(500) == share_of(10_000) == SHARE
    for count in range(20, 500):  # whatever rounding does, the rule takes what it asks for
        assert min_samples(share_of(count)) <= count


def test_the_verdict_knows_total_collapse():
    """Equal samples leave no mode that stands out, and are not therefore in order."""
    one = unit_vectors(torch.tensor([[0.6, 0.8, 0.1]])).expand(600, -1)
    found = diagnose(one[:50], one, resamples=20)
    assert found.radius == RESOLUTION
    said = verdict(found)
    assert said.headline.startswith("Most samples are alike")
    assert said.tone == "attention"
    spread = diagnose(sphere(50, 0), sphere(600, 1), radius=0.5, resamples=20)
    assert spread.typical_share > 0.3  # by the user's own radius
    assert "alike" not in verdict(spread).headline


def test_a_mode_beside_which_nothing_is_near_anything_is_told():
    """By a radius of the user's own so small that a typical anchor has no neighbour."""
    found = diagnose(sphere(200, 0, 0.3), sphere(1000, 1, 0.3), radius=0.02, resamples=20)
    assert (found.typical_share, found.modes[0].times_typical) == (0.0, np.inf)
    said = verdict(found)
    assert said.headline == "The generator makes one kind of sample far more often than is typical"
    assert said.tone == "attention"
    none = diagnose(sphere(200, 0), sphere(1000, 1), radius=0.001, resamples=20)
    assert none.typical_share == 0.0
    assert verdict(none).tone == "ok"
