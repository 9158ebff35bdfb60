"""Systematic and independent draws: exact counts, the right frequencies, and the edges."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from diagan_plugin.sampling import draws
from diagan_plugin.sampling.draws import (
    DRAW_METHODS,
    iid_draw,
    normalized_weights,
    systematic_counts,
    systematic_draw,
)


def generator(seed):
    return np.random.Generator(np.random.PCG64(np.random.SeedSequence([seed])))


def exact_expectations(weights, size):
    """size·w/Σw in rational arithmetic."""
    exact = [Fraction(float(w)) for w in weights]
    total = sum(exact)
    return [size * w / total for w in exact]


@pytest.fixture(params=sorted(DRAW_METHODS))
def method(request):
    return DRAW_METHODS[request.param]


@settings(max_examples=200, deadline=None)
@given(
    weights=st.lists(
        st.one_of(st.just(0.0), st.floats(1e-12, 1.0), st.integers(1, 10**6).map(float)),
        min_size=1,
        max_size=40,
    ).filter(any),
    size=st.integers(0, 500),
    seed=st.integers(0, 2**32),
)
def test_every_count_is_its_expectation_rounded_up_or_down(weights, size, seed):
    counts = systematic_counts(np.array(weights), size, generator(seed))
    assert counts.sum() == size
    for count, expected in zip(counts.tolist(), exact_expectations(weights, size), strict=True):
        # The expectation is a float64 in the code: allow its last bits.
        assert abs(count - expected) < 1 + Fraction(1, 10**9)
        assert count == 0 or expected > 0


@pytest.mark.parametrize("n", [1, 7, 1000, 65_536, 65_537, 200_001])
@pytest.mark.parametrize("seed", range(3))
def test_equal_weights_draw_every_sample_exactly_once(n, seed):
    weights = np.full(n, 0.1)  # not a float64 fraction of anything
    np.testing.assert_array_equal(systematic_counts(weights, n, generator(seed)), np.ones(n))
    np.testing.assert_array_equal(systematic_counts(weights, 3 * n, generator(seed)), np.full(n, 3))


@pytest.mark.parametrize("u", [0.0, 2.0**-53, 0.5, 1 - 2.0**-53])
def test_extreme_uniform_numbers_keep_the_total(u):
    class Fixed:
        def random(self):
            return u

        def choice(self, candidates, size, replace):
            return candidates[:size]

    for n in (1, 7, 49, 1000, 200_001):  # expectations of 1 that rounding puts below it
        assert (systematic_counts(np.full(n, 0.1), n, Fixed()) == 1).all()
    for seed in range(20):
        rng = np.random.default_rng(seed)
        weights = rng.random(1000) ** 8 * (rng.random(1000) < 0.7)
        expected = weights * (777 / weights.sum())
        counts = systematic_counts(weights, 777, Fixed())
        assert counts.sum() == 777
        assert (np.abs(counts - expected) < 1).all()
        assert (counts[weights == 0] == 0).all()


@pytest.mark.parametrize("missing", [-2, -1, 1, 2])
def test_a_draw_lost_to_rounding_is_settled_within_the_bounds(missing):
    rng = np.random.default_rng(0)
    weights = rng.random(500) * (rng.random(500) < 0.8)
    scale = 300 / weights.sum()
    counts = systematic_counts(weights, 300, rng)
    spoiled = counts.copy()
    rounded_up = counts > np.floor(weights * scale)
    rounded_down = ~rounded_up & (weights > 0)
    pool = np.flatnonzero(rounded_up if missing > 0 else rounded_down)[: abs(missing)]
    spoiled[pool] -= np.sign(missing)
    draws._settle(spoiled, missing, weights, scale, rng)
    assert spoiled.sum() == 300
    assert (np.abs(spoiled - weights * scale) < 1).all()
    assert (spoiled[weights == 0] == 0).all()


@pytest.mark.parametrize("chunk", [16, 1 << 16])
def test_mean_counts_over_epochs_are_the_expectations(chunk, monkeypatch):
    monkeypatch.setattr(draws, "_CHUNK", chunk)
    monkeypatch.setattr(draws, "_settle", None)  # rounding alone: not in 2000 epochs
    # A count is ⌊e⌋ or ⌊e⌋+1 with variance r(1−r), so the mean over E epochs has a known σ.
    rng = np.random.default_rng(0)
    n, epochs = 400, 2000
    weights = rng.random(n) ** 3 + 1e-3
    expected = n * weights / weights.sum()
    total = np.zeros(n)
    for epoch in range(epochs):
        total += systematic_counts(weights, n, generator(epoch))
    remainder = expected % 1
    sigma = np.sqrt(remainder * (1 - remainder) / epochs)
    z = (total / epochs - expected) / sigma
    assert np.abs(z).max() < 5  # 400 values: 4 σ is exceeded by one of them in 2.5 % of all runs
    assert (np.abs(z) < 4).mean() > 0.99


@pytest.mark.parametrize("seed", range(3))
def test_million_fold_ratio(seed, method):
    # 100,000 samples of weight 1e-6 hold 1 draw in 11 together with ten of weight 0.1 in all.
    weights = np.concatenate([np.full(10, 1.0), np.full(1_000_000, 1e-6)])
    size = 110_000
    drawn = method(weights, size, generator(seed))
    light = (drawn >= 10).sum()
    expected, sigma = size / 11, math.sqrt(size * 10 / 121)
    assert abs(light - expected) < (2 if method is systematic_draw else 5 * sigma)
    # Each light one is equally likely wherever it stands.
    tenth = np.bincount((drawn[drawn >= 10] - 10) // 100_000, minlength=10)
    assert stats.chisquare(tenth).pvalue > 1e-4


@pytest.mark.parametrize("seed", range(3))
def test_independent_draws_pass_chi_square(seed):
    weights = np.random.default_rng(seed).random(200) ** 2
    size = 100_000
    counts = np.bincount(iid_draw(weights, size, generator(seed)), minlength=200)
    test = stats.chisquare(counts, size * weights / weights.sum())
    assert 1e-5 < test.pvalue < 1 - 1e-5  # as noisy as independent draws, and no less


@pytest.mark.parametrize("seed", range(3))
def test_successive_independent_draws_are_independent(seed):
    weights = np.array([1.0, 2.0, 3.0, 4.0])
    drawn = iid_draw(weights, 50_000, generator(seed))
    table = np.zeros((4, 4))
    np.add.at(table, (drawn[:-1], drawn[1:]), 1)
    assert stats.chi2_contingency(table).pvalue > 1e-4


@pytest.mark.parametrize("seed", range(3))
def test_the_order_is_a_uniform_shuffle(seed):
    # All 24 orders of four samples are equally frequent …
    orders = np.zeros(4**4)
    rng = generator(seed)
    for _ in range(6000):
        orders[systematic_draw(np.ones(4), 4, rng) @ [64, 16, 4, 1]] += 1
    assert (orders > 0).sum() == 24
    assert stats.chisquare(orders[orders > 0]).pvalue > 1e-4
    # … and in a long draw no sample prefers a place.
    drawn = systematic_draw(np.ones(100_000), 100_000, generator(seed))
    assert abs(stats.spearmanr(drawn, np.arange(100_000)).statistic) < 5 / math.sqrt(100_000)


@pytest.mark.parametrize("seed", range(3))
def test_zero_weights_are_never_drawn(method, seed):
    rng = np.random.default_rng(seed)
    weights = rng.random(150_000) * (rng.random(150_000) < 0.5)
    weights[:100] = weights[-100:] = 0  # also at both ends
    drawn = method(weights, 300_000, generator(seed))
    assert (weights[drawn] > 0).all()
    single = np.zeros(70_000)
    single[66_000] = 1e-250
    assert set(method(single, 50, generator(seed)).tolist()) == {66_000}


def test_the_largest_point_stays_inside(method):
    class Ends:
        """Uniform numbers at the very ends of [0, 1)."""

        def __init__(self):
            self.rng = generator(0)

        def random(self, size=None):
            value = 1 - 2.0**-53
            return value if size is None else np.where(np.arange(size) % 2, value, 0.0)

        def __getattr__(self, name):
            return getattr(self.rng, name)

    weights = np.concatenate([np.zeros(3), np.random.default_rng(0).random(5) * 1e3, np.zeros(3)])
    drawn = method(weights, 40, Ends())
    assert drawn.size == 40
    assert drawn.min() >= 3
    assert drawn.max() < 8


def test_shape_dtype_and_determinism(method):
    weights = np.arange(1.0, 50.0)
    drawn = method(weights, 123, generator(5))
    assert drawn.shape == (123,)
    assert drawn.dtype == np.int32
    np.testing.assert_array_equal(drawn, method(weights, 123, generator(5)))
    assert not np.array_equal(drawn, method(weights, 123, generator(6)))
    np.testing.assert_array_equal(drawn, method(weights * 8, 123, generator(5)))  # scale-free
    assert method(weights, 0, generator(5)).shape == (0,)
    assert method(np.ones(1), 5, generator(5)).tolist() == [0] * 5


def test_global_random_state_is_not_touched(method):
    np.random.seed(0)  # noqa: NPY002
    before = np.random.get_state()[1].copy()  # noqa: NPY002
    method(np.ones(10), 10, generator(0))
    np.testing.assert_array_equal(np.random.get_state()[1], before)  # noqa: NPY002


@pytest.mark.parametrize(
    "weights", [[], [[1.0]], [0.0, 0.0], [1e-310, 0.0], [1.0, -1.0], [1.0, np.nan], [1.0, np.inf]]
)
def test_bad_weights_are_refused(method, weights):
    with pytest.raises(ValueError, match="probabilities"):
        method(np.array(weights), 3, generator(0))


def test_a_negative_size_is_refused(method):
    with pytest.raises(ValueError, match="size"):
        method(np.ones(3), -1, generator(0))


@pytest.mark.parametrize(
    "dtype", [np.float16, np.float32, np.float64, np.int8, np.uint16, np.int64]
)
def test_normalized_weights(dtype):
    given_weights = np.array([0, 1, 3], dtype=dtype)
    weights = normalized_weights(given_weights, 3)
    assert weights.dtype == np.float64
    np.testing.assert_allclose(weights, [0, 0.25, 0.75])
    assert weights[0] == 0
    weights[:] = 9
    assert given_weights[1] == 1


def test_huge_and_tiny_weights_are_normalized():
    np.testing.assert_allclose(normalized_weights([1.5e308, 1.5e308], 2), [0.5, 0.5])
    np.testing.assert_allclose(normalized_weights([1e-310, 3e-310], 2), [0.25, 0.75])


@pytest.mark.parametrize(
    ("weights", "error", "match"),
    [
        ([1.0, -2.0, 1.0], ValueError, "negative, but got -2.0 at index 1"),
        ([1.0, np.nan, 1.0], ValueError, "finite, but got nan at index 1"),
        ([np.inf, 1.0, 1.0], ValueError, "finite, but got inf at index 0"),
        ([0.0, 0.0, 0.0], ValueError, "all zero"),
        ([1.0, 1.0], ValueError, "each of the 3 samples, but got 2"),
        ([[1.0, 1.0, 1.0]], ValueError, r"\[N\]"),
        ([], ValueError, r"\[N\]"),
        ([True, False, True], TypeError, "bool"),
        ([1j, 1j, 1j], TypeError, "complex"),
        (["1", "1", "1"], TypeError, "real numbers"),
        ([None, 1.0, 1.0], TypeError, "object"),
    ],
)
def test_normalized_weights_refuses(weights, error, match):
    with pytest.raises(error, match=match):
        normalized_weights(weights, 3)
