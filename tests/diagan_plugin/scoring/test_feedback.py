"""The weights in closed loop, by another implementation of the rule."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from diagan_plugin.scoring.feedback import FeedbackRule, FeedbackWeights

RULE = FeedbackRule()


def slowly(p, ldrm, updates, rule):
    """The rule as a loop over samples; `updates` are (ratios by sample, progress)."""
    n = len(p)
    found = [(p[i], ldrm[i]) for i in range(n) if math.isfinite(ldrm[i])]
    missing = max(sum(w * v for w, v in found) / sum(w for w, _ in found), 0.0)
    aim = min(missing, rule.aim)
    strength = (missing - rule.healthy) / (rule.missed - rule.healthy)
    strength = min(max(strength, 0.0), 1.0)
    p = [v**strength for v in p]
    log_w = [math.log(p[i] / (sum(p) / n)) for i in range(n)]
    middle, highest = sum(log_w) / n, max(math.exp(max(log_w)), rule.high)
    above = [max(v - middle, 0.0) for v in log_w]
    emphasis = [v / max(above) if max(above) else 0.0 for v in above]
    r, age, pressed = [math.nan] * n, [0] * n, True
    for ratios, progress in updates:
        for i in range(n):
            age[i] += 1
            if i in ratios and math.isfinite(ratios[i]):
                keep = 0.0 if math.isnan(r[i]) else rule.smoothing ** age[i]
                r[i] = ratios[i] if keep == 0.0 else keep * r[i] + (1 - keep) * ratios[i]
                age[i] = 0
        known = [i for i in range(n) if not math.isnan(r[i])]
        begin, end = rule.landing
        height = 1.0 if progress < begin else max((end - progress) / (end - begin), 0.0)
        new = list(log_w)
        error = [r[i] + aim * height * emphasis[i] if i in known else 0.0 for i in range(n)]
        if sum(math.exp(log_w[i]) * error[i] for i in range(n)) < 0 or progress >= begin:
            pressed = False
        if pressed:
            continue
        for i in range(n):
            clipped = min(max(error[i], -rule.clip), rule.clip)
            new[i] += strength * rule.gain * clipped - rule.leak * log_w[i]
        w = [math.exp(v) for v in new]
        w = [min(max(v / (sum(w) / n), rule.low), highest) for v in w]
        log_w = [math.log(v / (sum(w) / n)) for v in w]
    w = [math.exp(v) for v in log_w]
    return [v / (sum(w) / n) for v in w]


@pytest.mark.parametrize("gain", [RULE.gain, 1.0])
@pytest.mark.parametrize("missed", [RULE.missed, 5.0])
def test_it_is_what_a_loop_over_samples_says(gain, missed) -> None:
    rng = np.random.default_rng(0)
    rule = replace(RULE, gain=gain, missed=missed)
    p, ldrm = rng.uniform(0.1, 5.0, 30), rng.normal(0.3, 0.5, 30)
    ldrm[:2] = np.nan, np.inf
    loop, updates = FeedbackWeights(p, ldrm, rule), []
    for number in range(40):
        indices = np.sort(rng.choice(30, 20, replace=False))
        ratio = rng.normal(0.5 - number / 20, 2.0, 20)
        ratio[rng.random(20) < 0.1] = rng.choice([np.nan, np.inf, -np.inf])
        loop.update(ratio, number / 40, indices)
        updates.append((dict(zip(indices.tolist(), ratio.tolist(), strict=True)), number / 40))
    np.testing.assert_allclose(
        loop.weights, slowly(p.tolist(), ldrm.tolist(), updates, rule), rtol=1e-10
    )
    assert not loop.pressing
    assert 0.1 < loop.aim < RULE.aim


@pytest.mark.parametrize(
    ("missing", "exponent"),
    [(-1.0, 0.0), (0.0, 0.0), (0.05, 0.0), (0.1, 1 / 3), (0.2, 1.0), (3.0, 1.0)],
)
def test_the_weights_begin_as_those_of_the_scores_only_where_something_was_missed(
    missing, exponent
) -> None:
    p = np.array([1.0, 2.0, 4.0, 8.0])
    loop = FeedbackWeights(p, np.full(4, missing))
    began = loop.weights
    np.testing.assert_allclose(began, p**exponent / np.mean(p**exponent), rtol=1e-12)
    assert loop.aim == pytest.approx(min(max(missing, 0.0), RULE.aim))


def test_a_healthy_generator_is_left_alone() -> None:
    noise = np.random.default_rng(0).normal(size=(50, 100))
    spread = []
    for missing in (RULE.healthy, RULE.healthy + 0.0075, 1.0):
        loop = FeedbackWeights(np.ones(100), np.full(100, missing))
        for number, ratio in enumerate(noise):
            loop.update(ratio, 0.3 + number / 100)
        spread.append(np.log(loop.weights).std())
    assert spread[0] == 0.0
    assert spread[1] < 0.06 * spread[2]


def test_weights_without_evidence_stay() -> None:
    p = [1.0, 1.0, 8.0, 4.0]
    loop = FeedbackWeights(p, np.ones(4))
    before = loop.weights
    for ratio, progress in (([], 0.1), ([np.nan] * 4, 0.1), ([np.inf] * 4, 0.5)):
        loop.update(ratio, progress, np.arange(len(ratio)))
    np.testing.assert_array_equal(loop.weights, before)
    # One that nobody asked about is neither pressed nor let go, half-way down the landing: its
    # weight only leaks.
    loop.update([0.0], 0.45, np.array([2]))
    expected = (1 - RULE.leak) * np.log(before)
    expected[2] += RULE.gain * RULE.aim / 2
    np.testing.assert_allclose(np.log(loop.weights / loop.weights[0]), expected - expected[0])
    # Equal weights and a ratio of 1 are the fixed point.
    even = FeedbackWeights(np.ones(4), np.zeros(4))
    for progress in (0.1, 0.5, 0.9):
        even.update(np.zeros(4), progress)
    np.testing.assert_array_equal(even.weights, np.ones(4))


def test_the_fixed_point_is_where_the_ratio_pays_for_the_leak() -> None:
    loop = FeedbackWeights(np.ones(2), np.ones(2))
    log_w = np.array([math.log(1.5), math.log(0.5)])
    for _ in range(3000):
        loop.update(RULE.leak / RULE.gain * log_w, 1.0)
    got = np.log(loop.weights)
    assert got[0] - got[1] == pytest.approx(log_w[0] - log_w[1], rel=1e-3)


def test_weights_keep_their_bounds() -> None:
    rule = replace(RULE, gain=5.0)
    p = np.where(np.arange(1000) < 5, 20.0, 1.0)
    loop = FeedbackWeights(p, np.ones(1000), rule)
    highest = loop.weights.max()
    for _ in range(30):
        loop.update(np.where(np.arange(1000) < 10, 10.0, -10.0), 0.9)
        # Clipped with 1 as the mean, and then of mean 1 again.
        assert loop.weights.max() / loop.weights.min() <= highest / rule.low * (1 + 1e-9)
    assert loop.weights.max() / loop.weights.min() == pytest.approx(highest / rule.low)
    assert loop.weights.mean() == pytest.approx(1.0)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_ratios_of_any_type(dtype) -> None:
    ratio = torch.tensor([0.5, -2.0, 0.25, 0.0], dtype=dtype)
    p, ldrm = [1.0, 4.0, 2.0, 1.0], torch.tensor([0.0, 1.0, 0.5, 0.0], dtype=dtype)
    one, other = FeedbackWeights(p, ldrm), FeedbackWeights(p, ldrm.double().numpy())
    one.update(ratio, 0.5)
    other.update([0.5, -2.0, 0.25, 0.0], 0.5)
    np.testing.assert_array_equal(one.weights, other.weights)


def test_it_goes_on_from_its_state() -> None:
    rng = np.random.default_rng(1)
    p, ratios = rng.uniform(0.1, 5.0, 20), rng.normal(size=(6, 20))
    whole, first = FeedbackWeights(p, ratios[0]), FeedbackWeights(p, ratios[0])
    for number, ratio in enumerate(ratios):
        whole.update(ratio, number / 6)
        if number < 3:
            first.update(ratio, number / 6)
    second = FeedbackWeights(p, ratios[0])
    second.load_state_dict(first.state_dict())
    first.update(ratios[5], 1.0)  # the state holds copies, or is copied
    for number in (3, 4, 5):
        second.update(ratios[number], number / 6)
    np.testing.assert_array_equal(second.weights, whole.weights)
    with pytest.raises(ValueError, match="of shape"):
        FeedbackWeights(np.ones(3), np.ones(3)).load_state_dict(first.state_dict())


def test_one_sample_and_wrong_arguments() -> None:
    one = FeedbackWeights([0.3], [math.nan])
    one.update([2.0], 0.5)
    assert one.weights == pytest.approx(1.0)
    for wrong in ([], [0.0, 1.0], [math.nan, 1.0], [math.inf, 1.0], [[1.0]]):
        with pytest.raises(ValueError, match="positive and finite"):
            FeedbackWeights(wrong, wrong)
    with pytest.raises(ValueError, match="shape"):
        one.update([1.0, 2.0], 0.5)
