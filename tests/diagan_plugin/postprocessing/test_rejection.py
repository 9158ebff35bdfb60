from __future__ import annotations

import itertools
import logging
import math
from decimal import Decimal, localcontext

import numpy as np
import pytest
import torch
from gaussian_proposals import MEAN, STD, collect, gaussians, log_ratio
from scipy import stats

from diagan_plugin.postprocessing.rejection import (
    AcceptanceRateError,
    Proposal,
    RejectionSampler,
    acceptance_probability,
    drs_statistic,
)
from gan_registry.errors import UserError

_PEAK = MEAN / (1 - STD**2)
LOG_M = _PEAK**2 / 2 - ((_PEAK - MEAN) / STD) ** 2 / 2 - math.log(STD)


def make(propose, seed: int = 0, **kwargs) -> RejectionSampler:
    return RejectionSampler(propose, rng=torch.Generator().manual_seed(seed), **kwargs)


def constant(logits: float):
    return lambda n: (torch.zeros(n), torch.full((n,), logits))


# --- the formula --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "gap", ["0", "1e-12", "1e-8", "1e-5", "0.01", "0.5", "0.7", "1", "30", "700"]
)
@pytest.mark.parametrize("eps", ["1e-6", "1e-14", "0.1"])
def test_statistic_agrees_with_50_digits(gap, eps):
    with localcontext() as context:
        context.prec = 400
        l_minus_m = -Decimal(float(gap))
        want = l_minus_m - (1 - (l_minus_m - Decimal(float(eps))).exp()).ln()
    got = drs_statistic(torch.tensor(-float(gap), dtype=torch.float64), 0.0, float(eps)).item()
    assert got == pytest.approx(float(want), rel=1e-12)


def test_statistic_at_the_edges():
    logits = torch.tensor([3.0, 5.0, -math.inf, math.nan, -1e30])
    f = drs_statistic(logits, 3.0, eps=1e-6)
    assert f.dtype == torch.float64
    assert f[0].item() == pytest.approx(-math.log(1e-6), rel=1e-6)
    assert f[1] == f[0]  # over the maximum counts as the maximum
    assert f[2] == -math.inf
    assert f[3].isnan()
    assert f[4].item() == pytest.approx(-1e30)
    p = acceptance_probability(logits, 3.0)
    assert torch.equal(p[2:], torch.zeros(3, dtype=torch.float64))
    assert p[0].item() == pytest.approx(1, abs=2e-6)


def test_gamma_0_is_exact_rejection_up_to_epsilon():
    logits = torch.linspace(-40, 2, 200, dtype=torch.float64)
    p = acceptance_probability(logits, 2.0, gamma=0.0, eps=1e-9)
    torch.testing.assert_close(p, torch.exp(logits - 2), rtol=2e-9, atol=0)


def test_probability_falls_with_gamma_and_grows_with_the_logit():
    logits = torch.linspace(-5, 0, 50)
    previous = torch.ones(50, dtype=torch.float64)
    for gamma in (-20.0, -3.0, 0.0, 3.0):
        p = acceptance_probability(logits, 0.0, gamma)
        assert (p.diff() > 0).all()
        assert (p < previous).all()
        previous = p


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
@pytest.mark.parametrize("shape", [(0,), (1,), (5,), (5, 1), ()])
def test_any_dtype_and_shape(dtype, shape):
    logits = torch.full(shape, -1.5, dtype=dtype)
    p = acceptance_probability(logits, 0.0)
    assert p.shape == shape
    assert p.dtype == torch.float64
    torch.testing.assert_close(p, torch.full(shape, math.exp(-1.5)).double(), rtol=1e-5, atol=0)


def test_bad_maximum_and_epsilon():
    for maximum in (math.nan, math.inf, -math.inf):
        with pytest.raises(ValueError, match="`max_logit` must be finite"):
            drs_statistic(torch.zeros(2), maximum)
    for eps in (0.0, -1.0, math.nan):
        with pytest.raises(ValueError, match="`eps` must be positive"):
            drs_statistic(torch.zeros(2), 0.0, eps)


# --- two Gaussians with the exact ratio ---------------------------------------------------------


@pytest.mark.parametrize("seed", range(5))
def test_exact_rejection_samples_the_data_and_accepts_one_in_m(seed):
    sampler = make(gaussians(seed), seed=100 + seed, gamma=0.0)
    x = collect(sampler, 4000).numpy()
    assert stats.kstest(x, stats.norm(MEAN, STD).cdf).pvalue > 0.002
    assert stats.kstest(x, stats.norm(0, 1).cdf).pvalue < 1e-12  # and that is no small feat
    rate = math.exp(-LOG_M)
    assert abs(sampler.acceptance_rate - rate) < 4 * math.sqrt(rate * (1 - rate) / sampler.proposed)
    assert sampler.max_logit == pytest.approx(LOG_M, abs=1e-4)


@pytest.mark.parametrize("per_batch", [False, True])
def test_the_published_percentile_is_not_exact(per_batch):
    for seed in range(3):
        sampler = make(gaussians(seed), seed=100 + seed, per_batch=per_batch)
        x = collect(sampler, 4000).numpy()
        assert stats.kstest(x, stats.norm(MEAN, STD).cdf).pvalue < 1e-6


def test_percentile_gamma_is_that_of_the_burn_in_and_stays():
    sampler = make(gaussians(0), burn_in=1000, batch_size=100, percentile=65)
    assert sampler.gamma is None
    collect(sampler, 10)
    burn_in = gaussians(0)
    logits = torch.cat([burn_in(100)[1] for _ in range(10)]).numpy()
    gap = logits - logits.max()
    f = gap - np.log(1 - np.exp(gap - 1e-6))
    assert sampler.gamma == pytest.approx(np.percentile(f, 65), rel=1e-6)
    before = sampler.gamma
    collect(sampler, 3000)
    assert sampler.gamma == before


def test_per_batch_reproduces_the_published_procedure():
    sampler = make(gaussians(3), seed=8, per_batch=True, batch_size=50, burn_in=100)
    got = collect(sampler, 60).numpy()
    # As published, in numpy: maximum so far, percentile within the batch, sigmoid, compare.
    noise, rng = torch.Generator().manual_seed(3), torch.Generator().manual_seed(8)

    def batch():
        x = torch.randn(50, generator=noise, dtype=torch.float64)
        return x.numpy(), log_ratio(x).numpy()

    maximum = max(batch()[1].max() for _ in range(2))
    want: list[float] = []
    while len(want) < 60:
        x, logits = batch()
        maximum = max(maximum, logits.max())
        f = (logits - maximum) - np.log(1 - np.exp(logits - maximum - 1e-6))
        f = f - np.percentile(f, 80)
        psi = torch.rand(50, generator=rng, dtype=torch.float64).numpy()
        want += list(x[1 / (1 + np.exp(-f)) > psi])
    np.testing.assert_array_equal(got, want[:60])
    assert sampler.gamma is None


# --- a source of samples ------------------------------------------------------------------------


@pytest.mark.parametrize("gamma", [None, 0.0])
def test_samples_depend_on_the_seed_and_not_on_how_they_are_asked_for(gamma):
    whole = collect(make(gaussians(1), seed=2, gamma=gamma), 700)
    assert len(whole) == 700
    sampler = make(gaussians(1), seed=2, gamma=gamma)
    pieces = torch.cat([collect(sampler, n) for n in (1, 0, 33, 250, 416)])
    assert torch.equal(whole, pieces)
    forever = itertools.islice(
        (x for b in make(gaussians(1), seed=2, gamma=gamma) for x in b.x), 700
    )
    assert torch.equal(whole, torch.stack(list(forever)))
    assert not torch.equal(whole, collect(make(gaussians(1), seed=3, gamma=gamma), 700))


def test_it_streams():
    asked = []
    inner = gaussians(0)

    def propose(n):
        asked.append(n)
        return inner(n)

    sampler = make(propose, batch_size=64, burn_in=100)
    stream = sampler.sample(10**12)
    assert not asked
    first = next(stream)
    assert asked == [64, 64, 64]  # two whole batches of burn-in, one to accept from
    assert 0 < len(first.x) <= 64
    assert len(first.x) == len(first.logits) == sampler.accepted
    list(sampler.sample(0))
    assert len(asked) == 3
    with pytest.raises(ValueError, match="`n` must be at least 0, but got -1"):
        sampler.sample(-1)


def test_labels_and_shapes_are_kept():
    def propose(n):
        y = torch.arange(n)
        return Proposal(
            x=y.float().reshape(n, 1, 1).expand(n, 2, 2), logits=-0.01 * y[:, None], y=y
        )

    sampler = make(propose, gamma=0.0, batch_size=32, burn_in=32)
    for batch in sampler.sample(50):
        assert batch.x.shape == (len(batch.y), 2, 2)
        assert torch.equal(batch.x[:, 0, 0], batch.y.float())
        torch.testing.assert_close(batch.logits, -0.01 * batch.y.double())


def test_no_gradients_and_no_global_random_numbers():
    weight = torch.ones((), requires_grad=True)
    inner = gaussians(0)

    def propose(n):
        x, logits = inner(n)
        return x * weight, logits * weight

    state = torch.get_rng_state()
    sampler = make(propose)
    assert not collect(sampler, 100).requires_grad
    assert torch.equal(torch.get_rng_state(), state)


def test_a_larger_logit_raises_the_maximum(caplog):
    values = itertools.chain([0.0, 1.0, 0.5, 3.0], itertools.repeat(2.0))

    def propose(n):
        return torch.zeros(n), torch.full((n,), next(values))

    sampler = make(propose, gamma=0.0, batch_size=10, burn_in=20)
    with caplog.at_level(logging.INFO, logger="diagan_plugin.postprocessing.thinning"):
        collect(sampler, 40)
    assert sampler.max_logit == 3.0
    assert sampler.max_updates == 1  # 1.0 belonged to the burn-in
    assert [record.getMessage() for record in caplog.records] == [
        "A larger logit after 10 proposals: M raised from 1.0000 to 3.0000"
    ]


def test_counts():
    sampler = make(gaussians(0), gamma=0.0, batch_size=100)
    assert math.isnan(sampler.acceptance_rate)
    collect(sampler, 300)
    assert sampler.proposed % 100 == 0
    assert 300 <= sampler.accepted < 400
    assert sampler.acceptance_rate == sampler.accepted / sampler.proposed
    assert sampler.invalid == 0


# --- logits that are no numbers, and rates that are too low -------------------------------------


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("kwargs", [{"gamma": 0.0}, {}, {"per_batch": True}])
def test_unusable_logits_are_never_accepted(bad, kwargs):
    def propose(n):
        x = torch.arange(n, dtype=torch.float32)
        logits = torch.where(x % 4 == 0, bad, 0.01 * x)
        return x, logits

    sampler = make(propose, batch_size=40, burn_in=80, **kwargs)
    x = collect(sampler, 500)
    assert (x % 4 != 0).all()
    assert len(x.unique()) == 30  # all the others do come
    assert sampler.max_logit == pytest.approx(0.39)
    drawn = sampler.proposed + 80
    assert sampler.invalid == (0 if bad == -math.inf else drawn // 4)


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_no_finite_logit_at_all(bad):
    with pytest.raises(AcceptanceRateError, match="no finite logit among 10,240 proposals"):
        next(make(constant(bad)).sample(1))


def test_a_rate_under_the_floor_stops_with_a_clear_message():
    values = itertools.chain([10.0], itertools.repeat(0.0))  # one outlier in the burn-in

    def propose(n):
        return torch.zeros(n), torch.full((n,), next(values))

    sampler = make(propose, gamma=0.0, batch_size=100, burn_in=100, floor=0.01)
    with pytest.raises(AcceptanceRateError, match=r"under the floor of 0.01 \(largest logit 10"):
        collect(sampler, 10)
    assert sampler.proposed == 1000  # 10/floor: not at once, and not never
    assert issubclass(AcceptanceRateError, UserError)


def test_a_rate_over_the_floor_does_not_stop():
    sampler = make(gaussians(0), gamma=2.0, floor=0.25)
    collect(sampler, 500)
    assert 0.25 < sampler.acceptance_rate < 0.4


# --- bad input ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        ({"gamma": math.nan}, "`gamma` must be finite or None, but got nan"),
        ({"gamma": 0.5, "per_batch": True}, "`gamma` must be None with `per_batch`, but got 0.5"),
        ({"percentile": 101}, r"`percentile` must lie in \[0, 100\], but got 101"),
        ({"percentile": math.nan}, "`percentile` must lie in"),
        ({"burn_in": 0}, "`burn_in` and `batch_size` must be at least 1, but got 0 and 256"),
        ({"batch_size": 0}, "`burn_in` and `batch_size` must be at least 1"),
        ({"eps": 0}, "`eps` must be positive"),
        ({"floor": 1}, r"`floor` must lie in \[0, 1\), but got 1"),
        ({"floor": -0.1}, "`floor` must lie in"),
    ],
)
def test_bad_arguments(kwargs, message):
    with pytest.raises(ValueError, match=message):
        make(constant(0.0), **kwargs)


@pytest.mark.parametrize(
    "propose",
    [
        lambda n: (torch.zeros(n - 1), torch.zeros(n)),
        lambda n: (torch.zeros(n), torch.zeros(n - 1)),
        lambda n: (torch.zeros(n), torch.zeros(n, 2)),
    ],
)
def test_a_proposal_of_the_wrong_size(propose):
    with pytest.raises(ValueError, match="`propose` must return 256 samples and a logit for each"):
        next(make(propose).sample(1))
