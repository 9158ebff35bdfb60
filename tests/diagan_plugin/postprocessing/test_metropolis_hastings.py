from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import torch
from gaussian_proposals import MEAN, STD, collect, gaussians, log_ratio
from scipy import stats

from diagan_plugin.postprocessing.metropolis_hastings import (
    MetropolisHastingsSampler,
    acceptance_probability,
)
from diagan_plugin.postprocessing.streaming import AcceptanceRateError, Proposal
from gan_registry.errors import UserError


def real_scores(seed: int):
    noise = torch.Generator().manual_seed(1000 + seed)
    return lambda n: log_ratio(MEAN + STD * torch.randn(n, generator=noise, dtype=torch.float64))


def make(propose, seed: int = 0, **kwargs) -> MetropolisHastingsSampler:
    kwargs.setdefault("steps", 5)
    return MetropolisHastingsSampler(propose, rng=torch.Generator().manual_seed(seed), **kwargs)


# --- the formula --------------------------------------------------------------------------------


def test_probability_is_the_published_one_in_terms_of_d():
    rng = np.random.default_rng(0)
    now, new = rng.normal(0, 3, (2, 500))
    d_now, d_new = 1 / (1 + np.exp(-now)), 1 / (1 + np.exp(-new))
    want = np.minimum(1, (1 / d_now - 1) / (1 / d_new - 1))
    got = acceptance_probability(torch.tensor(now), torch.tensor(new))
    np.testing.assert_allclose(got, want, rtol=1e-10)


def test_probability_where_d_saturates():
    # (1/D − 1)/(1/D' − 1) would be 0/0 here; the logits still tell.
    got = acceptance_probability(torch.tensor([200.0, 201.0]), torch.tensor([201.0, 200.0]))
    torch.testing.assert_close(got, torch.tensor([1.0, math.exp(-1)]))


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_probability_of_what_is_no_number(bad):
    one, other = torch.tensor([bad, 0.0, bad]), torch.tensor([0.0, bad, bad])
    got = acceptance_probability(one, other)
    assert got[1:].tolist() == [0.0, 0.0]
    assert got[0] == 1.0


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
@pytest.mark.parametrize("shape", [(0,), (1,), (4,), (4, 1), ()])
def test_any_dtype_and_shape(dtype, shape):
    low, high = torch.full(shape, -1.0, dtype=dtype), torch.full(shape, 0.5, dtype=dtype)
    got = acceptance_probability(high, low)
    assert got.dtype == torch.float32
    torch.testing.assert_close(got, torch.full(shape, math.exp(-1.5)))


# --- two Gaussians with the exact ratio ---------------------------------------------------------


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("from_real", [True, False])
def test_long_chains_sample_the_data(seed, from_real):
    # M = 1.67, so that 20 steps leave at most (1 − 1/M)^20 < 1e-7 of where a chain began.
    initial = real_scores(seed) if from_real else None
    sampler = make(gaussians(seed), 100 + seed, steps=20, initial=initial, batch_size=1000)
    x = collect(sampler, 4000).numpy()
    assert stats.kstest(x, stats.norm(MEAN, STD).cdf).pvalue > 0.002
    assert stats.kstest(x, stats.norm(0, 1).cdf).pvalue < 1e-12
    assert sampler.restarted < 10


def distribution_after(steps: int):
    """The distribution function after so many steps from N(0, 1), by numerical integration."""
    grid = np.linspace(-6, 6, 1501)
    width = grid[1] - grid[0]
    proposal = stats.norm.pdf(grid) * width
    log_r = log_ratio(grid)
    accept = np.exp(np.minimum(log_r[None, :] - log_r[:, None], 0))  # from row to column
    kernel = accept * proposal[None, :]
    stay = 1 - kernel.sum(1)
    mass = proposal
    for _ in range(steps):
        mass = mass @ kernel + mass * stay
    cumulative = np.cumsum(mass) - mass / 2
    return (lambda x: np.interp(x, grid, cumulative)), float(grid @ mass)


@pytest.mark.parametrize("steps", [1, 2])
def test_short_chains_are_biased_towards_the_generator_just_as_much_as_they_must(steps):
    exact, mean = distribution_after(steps)
    assert 0 < mean < MEAN  # between the two
    for seed in range(3):
        sampler = make(gaussians(seed), 100 + seed, steps=steps, batch_size=1000)
        x = collect(sampler, 30_000).numpy()
        assert stats.kstest(x, exact).pvalue > 0.002
        assert stats.kstest(x, stats.norm(MEAN, STD).cdf).pvalue < 1e-4
    assert abs(distribution_after(20)[1] - MEAN) < 1e-5


def test_one_chain_follows_the_published_algorithm():
    propose, rng = gaussians(4), torch.Generator().manual_seed(9)
    start = 0.3
    sampler = make(propose, 9, steps=8, batch_size=1, initial=lambda n: torch.full((n,), start))
    got = collect(sampler, 30).tolist()
    noise, want, restarted, moves = gaussians(4), [], 0, 0
    while len(want) < 30:
        x, d = None, 1 / (1 + math.exp(-start))
        for attempt in range(2):
            for _ in range(8):
                new, logit = (value.item() for value in noise(1))
                d_new = 1 / (1 + math.exp(-logit))
                if torch.rand(1, generator=rng).item() < (1 / d - 1) / (1 / d_new - 1):
                    x, d, moves = new, d_new, moves + 1
            if x is not None:
                break
            restarted += 1  # still at the real sample: once more, from a generated one
            x, logit = (value.item() for value in noise(1))
            d = 1 / (1 + math.exp(-logit))
            assert attempt == 0
        want.append(x)
    assert got == pytest.approx(want, rel=1e-12)
    assert (sampler.restarted, sampler.accepted, sampler.chains) == (restarted, moves, 30)


def test_chains_that_never_move_are_begun_anew_from_a_generated_sample():
    sampler = make(gaussians(0), initial=lambda n: torch.full((n,), 50.0), steps=20, batch_size=500)
    x = collect(sampler, 2000).numpy()
    assert sampler.restarted == sampler.chains == 2000
    assert sampler.proposed == 2 * 2000 * 20
    assert stats.kstest(x, stats.norm(MEAN, STD).cdf).pvalue > 0.002


# --- a source of samples ------------------------------------------------------------------------


@pytest.mark.parametrize("from_real", [True, False])
def test_samples_depend_on_the_seed_and_not_on_how_they_are_asked_for(from_real):
    def sampler(seed):
        initial = real_scores(1) if from_real else None
        return make(gaussians(1), seed, batch_size=64, initial=initial)

    whole = collect(sampler(2), 300)
    assert len(whole) == 300
    one = sampler(2)
    assert torch.equal(whole, torch.cat([collect(one, n) for n in (1, 0, 33, 50, 216)]))
    assert not torch.equal(whole, collect(sampler(3), 300))


def test_it_streams():
    asked, inner = [], gaussians(0)

    def propose(n):
        asked.append(n)
        return inner(n)

    stream = make(propose, steps=3, batch_size=64).sample(10**12)
    assert not asked
    assert len(next(stream).x) == 64
    assert asked == [64] * 4  # where they begin, and three steps
    with pytest.raises(ValueError, match="`n` must be at least 0, but got -1"):
        make(propose).sample(-1)


def test_sample_label_latent_and_logit_stay_together():
    noise = torch.Generator().manual_seed(0)

    def propose(n):
        x = torch.randn(n, 1, 2, 2, generator=noise)
        value = x[:, 0, 0, 0]
        return Proposal(x, value[:, None], (value > 0).long(), x.flatten(1))

    sampler = make(propose, initial=lambda n: torch.full((n, 1), 1.2), batch_size=50)
    for batch in sampler.sample(120):
        assert torch.equal(batch.x.flatten(1), batch.z)
        assert torch.equal(batch.x[:, 0, 0, 0], batch.logits)
        assert torch.equal(batch.y, (batch.logits > 0).long())
    assert sampler.restarted > 0


def test_no_gradients_and_no_global_random_numbers():
    weight, inner = torch.ones((), requires_grad=True), gaussians(0)

    def propose(n):
        x, logits = inner(n)
        return x * weight, logits * weight

    state = torch.get_rng_state()
    assert not collect(make(propose), 100).requires_grad
    assert torch.equal(torch.get_rng_state(), state)


# --- logits that are no numbers, and rates that are too low -------------------------------------


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("from_real", [True, False])
def test_unusable_logits_never_come_out(bad, from_real):
    def propose(n):
        x = torch.arange(n, dtype=torch.float32)
        return x, torch.where(x % 4 != 1, bad, 0.01 * x)

    initial = (lambda n: torch.full((n,), bad)) if from_real else None
    sampler = make(propose, batch_size=40, initial=initial, steps=1)
    x = collect(sampler, 200)
    assert (x % 4 == 1).all()
    assert len(x.unique()) == 10
    assert (sampler.invalid > 0) == (bad != -math.inf)


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_no_finite_logit_at_all(bad):
    sampler = make(lambda n: (torch.zeros(n), torch.full((n,), bad)), floor=0.0)
    with pytest.raises(AcceptanceRateError, match="no finite logit among"):
        next(sampler.sample(1))


def test_a_rate_under_the_floor_stops_with_a_clear_message():
    values = itertools.chain([30.0], itertools.repeat(0.0))  # a start that is never left

    def propose(n):
        return torch.zeros(n), torch.full((n,), next(values))

    sampler = make(propose, steps=10, batch_size=100, floor=0.01)
    with pytest.raises(
        AcceptanceRateError, match=r"accepted 0 of 1,000 proposals, under the floor"
    ):
        collect(sampler, 10)
    assert issubclass(AcceptanceRateError, UserError)


def test_counts():
    sampler = make(gaussians(0), steps=6, batch_size=50)
    assert math.isnan(sampler.acceptance_rate)
    collect(sampler, 120)
    assert (sampler.chains, sampler.proposed) == (150, 900)
    # The mean of min(1, r'/r) over independent pairs of target and proposal is about 0.7.
    assert 0.6 < sampler.acceptance_rate < 0.8


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        ({"steps": 0}, "`steps` must be at least 1, but got 0"),
        ({"batch_size": 0}, "`batch_size` must be at least 1, but got 0"),
        ({"floor": 1}, r"`floor` must lie in \[0, 1\), but got 1"),
        ({"initial": lambda n: torch.zeros(n + 1)}, "`initial` must return 256 logits"),
    ],
)
def test_bad_arguments(kwargs, message):
    with pytest.raises(ValueError, match=message):
        next(make(gaussians(0), **kwargs).sample(1))
