"""Summaries and warnings on weights whose properties are known in closed form."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from diagan_plugin.dia.centring import as_a_ratio
from diagan_plugin.scoring.score import sampling_probabilities
from diagan_plugin.scoring.weights import group_shares, summarize_weights, weight_warnings


def summary_of(score, min_clip=0.01, max_ratio=50.0):
    return summarize_weights(
        sampling_probabilities(score, min_clip, max_ratio), score, min_clip, max_ratio
    )


def test_uniform_weights():
    s = summary_of(np.full(1000, 2.0))
    assert s.num == 1000
    assert s.ess == pytest.approx(1000)
    assert s.ess_share == pytest.approx(1)
    assert s.max_over_mean == pytest.approx(1)
    assert s.share_at_floor == s.share_at_cap == 0
    assert [w for w in weight_warnings(s) if "nearly uniform" in w]


def test_equal_weights_on_m_samples_count_as_m():
    p = np.zeros(100)
    p[:7] = 3.0  # need not be normalised
    s = summarize_weights(p, np.ones(100))
    assert s.ess == pytest.approx(7)
    assert s.max_over_mean == pytest.approx(100 / 7)


def test_tripled_minority_is_no_alarm():
    score = np.ones(10_000)
    score[:100] = 3.0
    s = summary_of(score)
    assert s.ess_share == pytest.approx(0.9630, abs=1e-3)  # (1.02)² / (0.99 + 0.01 × 9)
    assert s.ess_share > 0.96
    assert s.max_over_mean == pytest.approx(3 / 1.02)
    assert weight_warnings(s) == []


def test_collapsed_clip_is_told_in_plain_english():
    score = np.linspace(1, 30, 1000)
    assert weight_warnings(summary_of(score)) == []
    score[:10] = -1.0
    s = summary_of(score)
    assert s.share_at_floor == pytest.approx(0.01)
    assert s.share_at_cap == pytest.approx(0.99)
    text = " ".join(weight_warnings(s))
    assert "99 % of the weights are at the cap" in text
    assert "nearly uniform" in text
    assert "1.01 times" in text


def test_the_remedy_for_nearly_uniform_draws_is_one_that_helps():
    """Scores from 8 to 9: taking their level off is what would spread the draws."""
    rng = np.random.default_rng(0)
    score = rng.uniform(8, 9, 1000)
    (warning,) = weight_warnings(summary_of(score))
    assert "--dia-centre data" in warning
    centred = as_a_ratio(torch.from_numpy(score)).double().numpy()
    assert summary_of(centred).max_over_mean > 1.5 > summary_of(score).max_over_mean
    # Where that was done already it is not proposed again, nor beside what the clip needs.
    (warning,) = weight_warnings(summary_of(score), centred=True)
    assert "--dia-centre" not in warning
    score[:10] = -1.0
    assert "--dia-centre" not in " ".join(weight_warnings(summary_of(score)))


def test_concentrated_draws_are_told():
    score = np.full(10_000, -1.0)
    score[:5] = 10.0
    s = summary_of(score, max_ratio=1e6)
    assert s.share_at_floor == pytest.approx(0.9995)
    p = np.where(score < 0, 0.01, 10.0)
    assert s.ess == pytest.approx(p.sum() ** 2 / (p**2).sum())
    (warning,) = weight_warnings(s)
    assert "effective sample size" in warning
    assert "10,000" in warning


@pytest.mark.parametrize(("share", "warned"), [(0.5, False), (0.501, True)])
def test_more_than_half_at_the_cap(share, warned):
    score = np.full(1000, 0.01)
    score[: round(1000 * share)] = 100.0
    warnings = weight_warnings(summary_of(score))
    assert any("at the cap" in w for w in warnings) is warned


def test_the_floor_must_bind():
    # The smallest weight is no floor when no score was raised to it.
    assert summary_of(np.array([0.5, 0.5, 1.0])).share_at_floor == 0
    assert summary_of(np.array([-0.5, 0.01, 0.015, 1.0])).share_at_floor == 0.5


def test_samples_without_a_score_are_counted_where_their_weight_is():
    score = np.array([-1.0, 9.0, 9.0, 9.0, np.nan, np.nan])
    s = summary_of(score)  # the median of the clipped others is the cap
    assert s.share_at_cap == pytest.approx(5 / 6)


def test_group_shares():
    p = np.array([1.0, 2.0, 3.0, 4.0])
    np.testing.assert_allclose(group_shares(p, np.array([0, 2, 0, 2]), 3), [0.4, 0, 0.6])
    np.testing.assert_allclose(group_shares(p, np.array([0, -1, 0, 1]), 2), [0.4, 0.4])
    np.testing.assert_allclose(
        group_shares(torch.tensor([0.5, 0.5]), torch.tensor([1, 1]), 2), [0, 1]
    )


def test_tensors_are_taken():
    score = torch.tensor([1.0, 2.0, 3.0], dtype=torch.bfloat16, requires_grad=True)
    s = summarize_weights(sampling_probabilities(score), score)
    assert s.ess == pytest.approx(36 / 14)


@pytest.mark.parametrize(
    ("probabilities", "score", "match"),
    [
        ([1.0, np.nan], [1.0, 1.0], "finite"),
        ([1.0, -1.0], [1.0, 1.0], "not negative"),
        ([0.0, 0.0], [1.0, 1.0], "not all zero"),
        ([], [], r"\[N\]"),
        ([1.0, 1.0], [1.0], "shape"),
    ],
)
def test_bad_weights_are_refused(probabilities, score, match):
    with pytest.raises(ValueError, match=match):
        summarize_weights(np.array(probabilities), np.array(score))


@pytest.mark.parametrize("groups", [[0, 3], [0, -2], [0], [0.0, 1.0]])
def test_bad_groups_are_refused(groups):
    with pytest.raises(ValueError, match="groups"):
        group_shares(np.ones(2), np.array(groups), 3)
