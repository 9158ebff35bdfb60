"""The two rules by which a run chooses k and the end of phase 1: pure functions."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from diagan_plugin.scoring.adaptive import K_NEUTRAL, K_RANGE, choose_k, rank_correlation

N = 2000


def records(
    seed: int, spread_mean: float, deviation: float, spread_deviation: float, n: int = 50
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """LDRM, LDRV and count of samples whose means and deviations are normal over the samples."""
    rng = np.random.default_rng(seed)
    mean = rng.normal(2.0, spread_mean, N)
    scale = np.abs(rng.normal(deviation, spread_deviation, N))
    rows = mean + scale * rng.standard_normal((n, N))
    return rows.mean(0), rows.var(0, ddof=1), np.full(N, n)


# ------------------------------------------------------------------ k


def test_k_is_the_ratio_of_spreads_where_nothing_is_noise() -> None:
    rng = np.random.default_rng(0)
    mean, deviation = rng.normal(0, 3.0, N), 5.0 + rng.uniform(-1, 1, N)
    choice = choose_k(mean, deviation**2, np.full(N, 10**9))
    expected = [stats.median_abs_deviation(x, scale="normal") for x in (mean, deviation)]
    assert [choice.spread_ldrm, choice.spread_deviation] == pytest.approx(expected)
    assert choice.reliability_ldrm == pytest.approx(1.0)
    assert choice.value == float(f"{expected[0] / expected[1]:.3g}")
    assert "LDRM and √LDRV count equally" in choice.reason
    # Both then add the same spread to the score.
    parts = mean, choice.value * deviation
    one, other = (stats.median_abs_deviation(part) for part in parts)
    assert one == pytest.approx(other, rel=0.01)


@pytest.mark.parametrize("seed", range(3))
def test_reliability_is_that_of_repeated_recording(seed: int) -> None:
    # The same samples recorded twice: their statistics correlate by their reliability.
    rng = np.random.default_rng(seed)
    mean, scale = rng.normal(0, 0.2, N), rng.uniform(0.8, 1.2, N)
    twice = [mean + scale * rng.standard_normal((20, N)) for _ in range(2)]
    choice = choose_k(twice[0].mean(0), twice[0].var(0, ddof=1), np.full(N, 20))
    of_means = np.corrcoef(*(rows.mean(0) for rows in twice))[0, 1]
    of_deviations = np.corrcoef(*(rows.std(0, ddof=1) for rows in twice))[0, 1]
    assert choice.reliability_ldrm == pytest.approx(of_means, abs=0.08)
    assert choice.reliability_deviation == pytest.approx(of_deviations, abs=0.08)


@pytest.mark.parametrize("seed", range(3))
def test_a_variance_that_is_all_noise_hardly_counts(seed: int) -> None:
    noisy = choose_k(*records(seed, 1.0, 1.0, 0.0))
    # By spreads alone √LDRV, which is noise, would make up half of the score.
    assert noisy.spread_ldrm / noisy.spread_deviation > 8
    assert noisy.value < 2
    telling = choose_k(*records(seed, 1.0, 1.0, 0.25))
    assert telling.value == pytest.approx(1.0 / 0.25, rel=0.25)


@pytest.mark.parametrize("scale", [0.25, 64.0])
def test_k_knows_neither_scale_nor_shift_nor_order(scale: float) -> None:
    mean, variance, count = records(1, 0.5, 1.0, 0.2)
    k = choose_k(mean, variance, count).value
    assert choose_k(scale * mean - 7.0, scale**2 * variance, count).value == k
    order = np.random.default_rng(0).permutation(N)
    assert choose_k(mean[order], variance[order], count[order]).value == k


def test_a_few_broken_or_unknown_samples_do_not_move_k() -> None:
    mean, variance, count = records(2, 0.5, 1.0, 0.3)
    k = choose_k(mean, variance, count).value
    mean[:20], variance[:20] = 1e6, 1e12
    assert choose_k(mean, variance, count).value == pytest.approx(k, rel=0.1)
    mean[20:30], variance[30:40], count[40:50] = np.nan, np.nan, 1
    assert choose_k(mean, variance, count).value == pytest.approx(k, rel=0.1)


@pytest.mark.parametrize(
    ("mean", "variance", "expected"),
    [
        ([], [], K_NEUTRAL),
        ([1.0], [1.0], K_NEUTRAL),
        ([np.nan] * 3, [np.nan] * 3, K_NEUTRAL),
        ([1.0] * 5, [2.0] * 5, K_NEUTRAL),
        ([0.0, 10.0, 20.0, 30.0], [1.0] * 4, K_RANGE[0]),  # √LDRV tells nothing
        ([1.0] * 4, [0.0, 100.0, 400.0, 900.0], K_RANGE[1]),  # LDRM tells nothing
        ([0.0, 1e4, 2e4, 3e4], [1.0, 1.1, 1.2, 1.3], K_RANGE[1]),  # beyond the range
    ],
)
def test_k_where_the_statistics_are_degenerate(mean, variance, expected) -> None:
    choice = choose_k(mean, variance, np.full(len(mean), 1000))
    assert choice.value == expected
    assert f"k = {expected:g}" in choice.reason


def test_two_records_say_nothing_of_the_variance() -> None:
    assert choose_k(*records(0, 3.0, 1.0, 0.2, n=2)).value == K_RANGE[0]


def test_k_of_unequal_shapes_is_refused() -> None:
    with pytest.raises(ValueError, match="of one shape"):
        choose_k([1.0, 2.0], [1.0], [2, 2])


# ------------------------------------------------------------------ ranking


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("ties", [False, True])
def test_rank_correlation_is_spearmans(seed: int, ties: bool) -> None:
    rng = np.random.default_rng(seed)
    one = rng.normal(size=300)
    other = one + rng.normal(size=300)
    if ties:
        one, other = one.round(), other.round()
    expected = stats.spearmanr(one, other).statistic
    assert rank_correlation(one, other) == pytest.approx(expected)
    assert rank_correlation(np.exp(3 * one), other) == pytest.approx(expected)
    one[:9], other[5:15] = np.nan, np.nan
    expected = stats.spearmanr(one[15:], other[15:]).statistic
    assert rank_correlation(one, other) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("one", "other"),
    [([], []), ([1.0], [2.0]), ([1.0, 1.0], [1.0, 2.0]), ([np.nan] * 3, [1.0, 2.0, 3.0])],
)
def test_what_ranks_nothing_correlates_with_nothing(one, other) -> None:
    assert rank_correlation(one, other) == 0.0


def test_noise_of_the_scores_lowers_the_correlation() -> None:
    rng = np.random.default_rng(0)
    score, noise = rng.normal(size=(2, 2000))
    correlations = [rank_correlation(score, score + share * noise) for share in (0.2, 1.0)]
    assert correlations[0] > 0.95 > 0.8 > correlations[1]
    assert rank_correlation(score, score) == 1.0
    assert rank_correlation(score, -score) == -1.0
    # float16 and infinite scores have ranks, too.
    assert rank_correlation(score.astype(np.float16), score) > 0.999
    assert rank_correlation([0.0, 1.0, np.inf], [0.0, 1.0, 2.0]) == 1.0


def test_mistakes_of_the_ranking_are_named() -> None:
    with pytest.raises(ValueError, match="shape"):
        rank_correlation([1.0, 2.0], [1.0])
