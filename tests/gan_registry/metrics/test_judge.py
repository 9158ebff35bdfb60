from __future__ import annotations

import math

import pytest
import torch
from gaussian_features import feed, gaussian
from scipy.stats import norm
from torch import Tensor

from gan_registry.errors import UserError
from gan_registry.metrics.base import Batch, MetricContext
from gan_registry.metrics.fitting import split
from gan_registry.metrics.judge import (
    PUBLISHED,
    Judge,
    JudgeSettings,
    PublishedJudge,
    judge_accuracy,
)

SMALL = JudgeSettings(width=32, hidden=2, steps=200, check_every=20)


def judge(real: Tensor, fake: Tensor, seed: int = 0, settings: JudgeSettings = SMALL):
    return judge_accuracy(real, fake, seed=seed, settings=settings)


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_equal_distributions_cannot_be_told_apart(seed):
    verdict = judge(gaussian(2000, 10 + seed), gaussian(2000, 20 + seed), seed)
    # 2,000 held-out samples at p = 1/2.
    assert verdict.standard_error == pytest.approx(math.sqrt(0.25 / 2000), rel=0.01)
    assert abs(verdict.accuracy - 0.5) < 3.5 * verdict.standard_error
    assert verdict.total_variation_bound == pytest.approx(2 * verdict.accuracy - 1)


def test_the_judge_is_not_asked_about_samples_that_it_learnt():
    # So few samples of so many dimensions that any network tells those that it learnt apart.
    real, fake = gaussian(400, 0, features=500), gaussian(400, 1, features=500)
    settings = JudgeSettings(width=64, hidden=1, steps=150, patience=100)
    assert judge(real, fake, settings=settings).accuracy < 0.6


def test_disjoint_distributions_are_told_apart_surely():
    verdict = judge(gaussian(1000, 0), gaussian(1000, 1, shift=12.0))
    assert verdict.accuracy > 0.995
    assert verdict.total_variation_bound > 0.99


@pytest.mark.parametrize("shift", [0.5, 1.0, 2.0])
def test_the_bound_approaches_the_total_variation_of_shifted_gaussians_from_below(shift):
    exact = 2 * norm.cdf(shift / 2) - 1
    verdicts = [
        judge(gaussian(4000, 30 + seed), gaussian(4000, 40 + seed, shift=shift), seed)
        for seed in range(2)
    ]
    for verdict in verdicts:
        assert verdict.total_variation_bound < exact + 3.5 * 2 * verdict.standard_error
        assert verdict.total_variation_bound > exact - 3.5 * 2 * verdict.standard_error - 0.02


def test_it_sees_more_than_a_shift():
    # Equal means and covariances: a ring against a Gaussian.
    ring = gaussian(3000, 0)
    ring = ring / ring.norm(dim=1, keepdim=True) * math.sqrt(2)
    # Inside a thin ring of radius r lies no mass; the best classifier is right all the time.
    settings = JudgeSettings(width=64, hidden=2, steps=400, check_every=20)
    assert judge(gaussian(3000, 1), ring, settings=settings).accuracy > 0.8


def test_the_unit_of_a_dimension_does_not_matter_and_a_constant_one_is_allowed():
    real, fake = gaussian(500, 0, features=3), gaussian(500, 1, shift=2.0, features=3)
    real[:, 2] = fake[:, 2] = 7.0
    scaled = torch.tensor([1024.0, 1 / 64, 1.0])
    assert judge(real * scaled, fake * scaled) == judge(real, fake)


def test_kinds_of_different_size_are_balanced():
    # Always saying "real" would be right in 90 % of all samples.
    verdict = judge(gaussian(4500, 0), gaussian(500, 1))
    assert abs(verdict.accuracy - 0.5) < 3.5 * math.sqrt(0.25 / 500)


def test_halves_are_balanced_disjoint_and_drawn_by_the_seed():
    real, fake = torch.arange(11.0)[:, None], 100 + torch.arange(7.0)[:, None]
    train, test = split(real, fake, 0)
    assert (train.shape, test.shape) == ((2, 4, 1), (2, 3, 1))
    assert len(set(torch.cat([train[0], test[0]]).flatten().tolist())) == 7
    assert set(torch.cat([train[1], test[1]]).flatten().tolist()) == set(fake.flatten().tolist())
    assert torch.equal(split(real, fake, 0).train, train)
    assert not torch.equal(split(real, fake, 1).train, train)


def test_equal_seeds_agree_exactly_others_closely_and_global_randomness_is_left_alone():
    real, fake = gaussian(1000, 0), gaussian(1000, 1, shift=1.0)
    before = torch.random.get_rng_state()
    first = judge(real, fake, 3)
    assert torch.equal(before, torch.random.get_rng_state())
    torch.rand(3)
    assert judge(real, fake, 3) == first
    for seed in (4, 5):
        assert abs(judge(real, fake, seed).accuracy - first.accuracy) < 5 * first.standard_error


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_any_floating_type_also_in_inference_mode(dtype):
    settings = JudgeSettings(width=8, steps=3)
    real, fake = gaussian(100, 0).to(dtype), gaussian(100, 1, shift=3.0).to(dtype)
    expected = judge(real.float(), fake.float(), settings=settings)
    with torch.inference_mode():
        assert judge(real * 1, fake * 1, settings=settings) == expected


def test_images_are_flattened():
    real, fake = torch.zeros(100, 1, 2, 2), torch.ones(100, 1, 2, 2)
    assert judge(real, fake).accuracy == 1.0


def test_too_few_or_bad_samples_are_refused_with_numbers():
    real, fake = gaussian(100, 0), gaussian(100, 1)
    with pytest.raises(UserError, match="at least 100 real samples, but got 99"):
        judge(real[:99], fake)
    with pytest.raises(UserError, match="at least 100 generated samples, but got 0"):
        judge(real, fake[:0])
    fake[4, 0], fake[9] = math.nan, math.inf
    with pytest.raises(UserError, match="NaN or infinity in 2 of 100 generated"):
        judge(real, fake)
    with pytest.raises(ValueError, match="equal sample shape"):
        judge(real, gaussian(100, 0, features=3))


class Brief(Judge):
    settings = JudgeSettings(width=8, hidden=1, steps=20)


@pytest.mark.parametrize("size", [1000, 33])
def test_the_streaming_form_agrees_with_the_function(size):
    real, fake = gaussian(150, 0), gaussian(120, 1, shift=1.5)
    seen: list[tuple[str, int, int]] = []
    metric = Brief(
        MetricContext(sample_shape=(2,), seed=7, progress=lambda *args: seen.append(args))
    )
    feed(metric, real, fake, size)
    verdict = judge(real, fake, 7, Brief.settings)
    assert metric.compute() == {
        "judge_accuracy": verdict.accuracy,
        "total_variation_bound": verdict.total_variation_bound,
    }
    assert metric.compute().keys() == Judge.directions.keys()
    assert seen[-1][1:] == (20, 20)


def test_the_streaming_form_refuses_too_few_or_bad_samples():
    metric = Brief(MetricContext(sample_shape=(2,)))
    metric.update_real(Batch(features=gaussian(100, 0)))
    with pytest.raises(UserError, match="at least 100 generated samples, but got 0"):
        metric.compute()
    fake = gaussian(100, 0)
    fake[5, 1] = math.nan
    metric.update_fake(Batch(features=fake))
    with pytest.raises(UserError, match="1 of 100 generated"):
        metric.compute()


def test_the_published_judge_has_the_size_and_length_of_the_paper():
    """Tang (2020), section IV: 3 × 1,024 units, 100,000 steps of Adam, 256 samples of each kind."""
    assert PublishedJudge.settings == PUBLISHED
    size = (PUBLISHED.width, PUBLISHED.hidden, PUBLISHED.steps, PUBLISHED.batch_size)
    assert size == (1024, 3, 100_000, 2 * 256)
    assert (PUBLISHED.learning_rate, PUBLISHED.weight_decay) == (1e-4, 0.0)
    assert PUBLISHED.patience * PUBLISHED.check_every >= PUBLISHED.steps  # it never ends early
