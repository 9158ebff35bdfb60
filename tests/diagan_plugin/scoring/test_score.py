"""Discrepancy scores and sampling probabilities against the paper's formulas in plain numpy."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from diagan_plugin.recording.tracker import LDRTracker
from diagan_plugin.scoring.score import discrepancy_score, sampling_probabilities


def test_score_is_equation_7():
    score = discrepancy_score(np.array([1.0, -2.0, 0.5]), np.array([4.0, 9.0, 0.0]), k=0.3)
    np.testing.assert_allclose(score, [1.6, -1.1, 0.5])


def test_score_of_recorded_values_matches_numpy():
    rng = np.random.default_rng(0)
    records = rng.normal(1, 2, (50, 20)).astype(np.float32)
    tracker = LDRTracker(20)
    for row in records:
        tracker.record_all(torch.from_numpy(row))
    score = discrepancy_score(tracker.mean, tracker.variance, k=5)
    r = records.astype(np.float64)
    expected = r.mean(0) + 5 * np.sqrt(((r - r.mean(0)) ** 2).sum(0) / 49)  # n−1, as in eq. 2
    np.testing.assert_allclose(score.numpy(), expected, rtol=1e-12)


def test_score_keeps_the_kind_of_array_and_is_float64():
    mean, variance = np.ones(3, dtype=np.float32), np.ones(3, dtype=np.float32)
    assert discrepancy_score(mean, variance, 1).dtype == np.float64
    tensor = discrepancy_score(torch.from_numpy(mean), torch.from_numpy(variance), 1)
    assert isinstance(tensor, torch.Tensor)
    assert tensor.dtype == torch.float64
    assert isinstance(sampling_probabilities(mean), np.ndarray)
    assert isinstance(sampling_probabilities(torch.from_numpy(mean)), torch.Tensor)


def test_too_few_records_give_no_score():
    mean, variance = np.array([1.0, 2.0, np.nan]), np.array([1.0, np.nan, np.nan])
    np.testing.assert_array_equal(discrepancy_score(mean, variance, 1), [2.0, np.nan, np.nan])
    np.testing.assert_array_equal(discrepancy_score(mean, variance, 0), mean)


@pytest.mark.parametrize(
    ("mean", "variance", "k", "match"),
    [
        (np.ones(2), np.ones(3), 1, "shape"),
        (np.ones((2, 1)), np.ones((2, 1)), 1, r"\[N\]"),
        (np.ones(2), -np.ones(2), 1, "negative"),
        (np.ones(2), np.ones(2), -1, "`k`"),
        (np.ones(2), np.ones(2), np.nan, "`k`"),
    ],
)
def test_bad_scores_are_refused(mean, variance, k, match):
    with pytest.raises(ValueError, match=match):
        discrepancy_score(mean, variance, k)


def paper_formula(score, min_clip, max_ratio):
    floored = np.where(score < min_clip, min_clip, score)
    capped = np.where(floored > max_ratio * floored.min(), max_ratio * floored.min(), floored)
    return capped / capped.sum()


@settings(max_examples=100, deadline=None)
@given(
    score=st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=30).map(np.array),
    min_clip=st.floats(1e-4, 10),
    max_ratio=st.floats(1, 1e4),
)
def test_probabilities_follow_section_4_1(score, min_clip, max_ratio):
    p = sampling_probabilities(score, min_clip, max_ratio)
    np.testing.assert_allclose(p, paper_formula(score, min_clip, max_ratio), rtol=1e-12)
    assert p.sum() == pytest.approx(1, abs=1e-12)
    assert p.min() > 0
    assert p.max() / p.min() <= max_ratio * (1 + 1e-9)
    order = np.argsort(score)
    assert (np.diff(p[order]) >= 0).all()


def test_one_low_score_collapses_the_papers_clip():
    score = np.linspace(1, 30, 1000)
    spread = sampling_probabilities(score)
    assert spread.max() / spread.min() == pytest.approx(30)
    score[0] = -0.3  # puts the cap at 0.01 × 50 = 0.5, below every other score
    collapsed = sampling_probabilities(score)
    np.testing.assert_allclose(collapsed[1:], collapsed[1])
    assert collapsed[1] / collapsed[0] == pytest.approx(50)


def test_samples_without_a_score_get_the_median_of_the_clipped_others():
    score = np.array([np.nan, 0.0, 2.0, 4.0, 100.0, np.nan])
    p = sampling_probabilities(score, min_clip=0.1, max_ratio=50)  # clipped: 0.1, 2, 4, 5
    np.testing.assert_allclose(p, np.array([3, 0.1, 2, 4, 5, 3]) / 17.1)
    # Never a fixed number: on another scale they move along.
    q = sampling_probabilities(score * 1000, min_clip=100, max_ratio=50)
    np.testing.assert_allclose(p, q)


def test_a_score_only_for_some_does_not_change_the_ratios_among_them():
    score = np.random.default_rng(0).uniform(0, 3, 50)
    known = sampling_probabilities(score)
    extended = sampling_probabilities(np.append(score, [np.nan] * 7))
    np.testing.assert_allclose(extended[:50] / extended[:50].sum(), known)


def test_huge_scores_do_not_overflow():
    p = sampling_probabilities(np.array([1e308, 1e308, 5e307]))
    np.testing.assert_allclose(p, [0.4, 0.4, 0.2])


@pytest.mark.parametrize(
    ("score", "options", "match"),
    [
        ([np.nan, np.nan], {}, "only NaN"),
        ([], {}, "at least one"),
        ([1.0, np.inf], {}, "infinite"),
        ([1.0], {"min_clip": 0}, "min_clip"),
        ([1.0], {"min_clip": np.nan}, "min_clip"),
        ([1.0], {"max_ratio": 0.5}, "max_ratio"),
        ([[1.0]], {}, r"\[N\]"),
    ],
)
def test_bad_input_is_refused(score, options, match):
    with pytest.raises(ValueError, match=match):
        sampling_probabilities(np.array(score), **options)


def test_numbers_only():
    with pytest.raises(TypeError, match="real numbers"):
        sampling_probabilities(np.array([1j]))
