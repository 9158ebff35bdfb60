from __future__ import annotations

import dataclasses
import math

import pytest
import torch
from gaussian_features import feed, gaussian
from scipy.stats import wasserstein_distance
from torch import Tensor, nn

from gan_registry.errors import UserError
from gan_registry.metrics import critic
from gan_registry.metrics.base import Batch, MetricContext
from gan_registry.metrics.critic import (
    PUBLISHED,
    Critic,
    CriticSettings,
    PublishedCritic,
    _gradient_norms,
    _lipschitz,
    critic_wasserstein,
)

SMALL = CriticSettings(width=32, hidden=2, steps=150, batch_size=128, learning_rate=2e-3)
ACCURATE = CriticSettings(width=64, hidden=2, steps=250, batch_size=128, learning_rate=2e-3)


def estimate(real: Tensor, fake: Tensor, seed: int = 0, settings: CriticSettings = SMALL) -> float:
    return critic_wasserstein(real, fake, seed=seed, settings=settings)


@pytest.mark.parametrize("shift", [0.5, 2.0, 6.0])
@pytest.mark.parametrize("features", [1, 4])
def test_it_is_near_the_distance_of_shifted_gaussians(shift, features):
    # W1 of two equal distributions of which one is shifted is the length of the shift.
    for seed in range(2):
        real = gaussian(2000, 10 + seed, features=features)
        fake = gaussian(2000, 20 + seed, shift, features)
        value = estimate(real, fake, seed, ACCURATE)
        # Normalised by the largest gradient, it is too small by 10 to 20 %; it is larger by no more
        # than the sampling error of two means of 1,000.
        error = 3.5 * math.sqrt(2 / 1000)
        assert 0.75 * shift - error < value < shift + error


@pytest.mark.parametrize("features", [1, 16])
def test_it_is_near_zero_for_equal_distributions(features):
    for seed in range(2):
        real = gaussian(2000, 30 + seed, features=features)
        fake = gaussian(2000, 60 + seed, features=features)
        assert abs(estimate(real, fake, seed)) < 3.5 * math.sqrt(2 / 1000)


def test_it_sees_more_than_a_shift():
    # Equal means, other spread; scipy has the exact distance of one-dimensional samples.
    real, fake = gaussian(3000, 0, features=1), 3 * gaussian(3000, 1, features=1)
    exact = wasserstein_distance(real.flatten().numpy(), fake.flatten().numpy())
    assert 0.7 * exact < estimate(real, fake, settings=ACCURATE) < 1.1 * exact
    assert exact > 1.5


def test_swapped_arguments_give_about_the_same():
    real, fake = gaussian(1000, 0), gaussian(1000, 1, 2.0)
    assert estimate(fake, real) == pytest.approx(estimate(real, fake), rel=0.15)


def test_it_has_the_unit_of_the_samples_and_a_common_shift_changes_nothing():
    real, fake = gaussian(200, 0), gaussian(200, 1, 1.0)
    value = estimate(real, fake)
    # A power of two scales exactly.
    assert estimate(64 * real, 64 * fake) == pytest.approx(64 * value, rel=1e-4)
    assert estimate(real + 2, fake + 2) == pytest.approx(value, rel=0.02)


def test_a_steep_critic_gains_nothing():
    # Equation 2: what a k-Lipschitz critic says is divided by k.
    test = torch.stack([gaussian(300, 0), gaussian(300, 1, 1.0)])
    linear = nn.Sequential(nn.Linear(2, 1))
    with torch.no_grad():
        linear[0].weight.copy_(torch.tensor([[3.0, 4.0]]))
    assert _lipschitz(linear, test, 0) == pytest.approx(5.0, rel=1e-6)
    torch.testing.assert_close(_gradient_norms(linear, test[0]), torch.full((300,), 5.0))


def test_equal_samples_of_one_point_have_no_distance():
    point = torch.ones(100, 3)
    assert estimate(point, point, settings=CriticSettings(width=8, steps=5)) == 0.0


def test_equal_seeds_agree_exactly_others_closely_and_global_randomness_is_left_alone():
    real, fake = gaussian(1000, 0), gaussian(1000, 1, 2.0)
    before = torch.random.get_rng_state()
    first = estimate(real, fake, 3)
    assert torch.equal(before, torch.random.get_rng_state())
    torch.rand(3)
    assert estimate(real, fake, 3) == first
    other = estimate(real, fake, 4)
    assert other != first
    assert other == pytest.approx(first, rel=0.2)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_any_floating_type_also_in_inference_mode(dtype):
    settings = CriticSettings(width=8, steps=3)
    real, fake = gaussian(100, 0).to(dtype), gaussian(100, 1, 3.0).to(dtype)
    expected = estimate(real.float(), fake.float(), settings=settings)
    with torch.inference_mode():
        assert estimate(real * 1, fake * 1, settings=settings) == expected


def test_too_few_or_bad_samples_are_refused_with_numbers():
    real, fake = gaussian(100, 0), gaussian(100, 1)
    with pytest.raises(UserError, match="at least 100 real samples, but got 99"):
        estimate(real[:99], fake)
    with pytest.raises(UserError, match="at least 100 generated samples, but got 1"):
        estimate(real, fake[:1])
    real[4, 0] = -math.inf
    with pytest.raises(UserError, match="NaN or infinity in 1 of 100 real"):
        estimate(real, fake)
    with pytest.raises(ValueError, match="equal sample shape"):
        estimate(fake, gaussian(100, 0, features=3))


class Brief(Critic):
    settings = CriticSettings(width=8, hidden=1, steps=20)


@pytest.mark.parametrize("size", [1000, 33])
def test_the_streaming_form_agrees_with_the_function(size):
    real, fake = gaussian(150, 0), gaussian(120, 1, 1.5)
    seen: list[tuple[str, int, int]] = []
    metric = Brief(
        MetricContext(sample_shape=(2,), seed=7, progress=lambda *args: seen.append(args))
    )
    feed(metric, real, fake, size)
    assert metric.compute() == {"critic_wasserstein": estimate(real, fake, 7, Brief.settings)}
    assert metric.compute().keys() == Critic.directions.keys()
    assert seen[-1][1:] == (20, 20)


def test_the_streaming_form_refuses_too_few_or_bad_samples():
    metric = Brief(MetricContext(sample_shape=(2,)))
    metric.update_fake(Batch(features=gaussian(100, 0)))
    with pytest.raises(UserError, match="at least 100 real samples, but got 0"):
        metric.compute()


def test_the_published_critic_has_the_size_and_length_of_the_paper():
    """Tang (2020), section IV: 3 × 1,024 units, 100,000 steps of 256, rate 1e-4, λ = 10."""
    assert PublishedCritic.settings == PUBLISHED
    assert dataclasses.astuple(PUBLISHED) == (1024, 3, 100_000, 256, 1e-4, 10.0, True)


class Rates(torch.optim.Adam):
    """Adam that notes its learning rate at each step."""

    seen: list[float] = []  # noqa: RUF012

    def step(self, closure=None):
        self.seen.append(self.param_groups[0]["lr"])
        return super().step(closure)


@pytest.mark.parametrize("published", [False, True])
def test_published_rates_and_penalties_are_those_of_the_first_step(monkeypatch, published):
    monkeypatch.setattr(Rates, "seen", [])
    monkeypatch.setattr(torch.optim, "Adam", Rates)
    real, fake = gaussian(200, 0), gaussian(200, 1, 2.0)
    settings = CriticSettings(width=8, hidden=1, steps=8, learning_rate=0.5, as_published=published)
    critic_wasserstein(real, fake, settings=settings)
    falling = [0.5 * (1 - step / 8) for step in range(8)]
    assert Rates.seen == ([0.5] * 8 if published else falling)
    # The penalty begins leniently, for one step in so many, unless as published.
    before = estimate(real, fake, settings=settings)
    monkeypatch.setattr(critic, "_WARM_UP", 1)
    assert (estimate(real, fake, settings=settings) == before) == published
