from __future__ import annotations

import itertools
import math

import pytest
import torch
from scipy import stats

from diagan_plugin.postprocessing.interpolation import interpolate_latents, random_interpolation
from diagan_plugin.postprocessing.streaming import AcceptanceRateError
from diagan_plugin.postprocessing.threshold import ThresholdSampler


def counting(batch: int = 100):
    """Proposals x = logit = 0, 1, …, batch − 1, over and over."""

    def propose(n):
        assert n == batch
        x = torch.arange(n, dtype=torch.float32)
        return x, x[:, None]

    return propose


def normal(seed: int):
    noise = torch.Generator().manual_seed(seed)

    def propose(n):
        x = torch.randn(n, generator=noise, dtype=torch.float64)
        return x, x

    return propose


def collect(sampler: ThresholdSampler, n: int) -> torch.Tensor:
    return torch.cat([batch.x for batch in sampler.sample(n)])


@pytest.mark.parametrize(("percentile", "share"), [(0, 1.0), (50, 0.5), (80, 0.2), (99, 0.01)])
def test_percentile_keeps_exactly_its_share(percentile, share):
    sampler = ThresholdSampler(counting(), percentile=percentile, burn_in=300, batch_size=100)
    kept = round(100 * share)
    x = collect(sampler, 10 * kept)
    assert sampler.acceptance_rate == pytest.approx(share)
    assert sorted(set(x.tolist())) == list(range(100 - kept, 100))


def test_threshold_keeps_exactly_what_is_not_below_it():
    sampler = ThresholdSampler(counting(), threshold=90, batch_size=100)
    assert sorted(collect(sampler, 10).tolist()) == list(range(90, 100))
    assert (sampler.proposed, sampler.accepted) == (100, 10)  # and there was no burn-in


@pytest.mark.parametrize("seed", range(3))
def test_what_is_kept_is_the_truncated_distribution(seed):
    sampler = ThresholdSampler(normal(seed), threshold=0.5, batch_size=1000)
    x = collect(sampler, 3000).numpy()
    assert stats.kstest(x, stats.truncnorm(0.5, math.inf).cdf).pvalue > 0.002
    share = stats.norm.sf(0.5)
    deviation = math.sqrt(share * (1 - share) / sampler.proposed)
    assert abs(sampler.acceptance_rate - share) < 4 * deviation


def test_constant_logits_are_all_kept_at_any_percentile():
    sampler = ThresholdSampler(lambda n: (torch.zeros(n), torch.ones(n)), percentile=90)
    assert len(collect(sampler, 500)) == 500
    assert sampler.acceptance_rate == 1


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_unusable_logits_are_never_kept(bad):
    def propose(n):
        x = torch.arange(n, dtype=torch.float32)
        return x, torch.where(x % 2 == 0, bad, x)

    for kwargs in ({"percentile": 60}, {"threshold": 10.0}):
        x = collect(ThresholdSampler(propose, batch_size=100, burn_in=100, **kwargs), 200)
        assert (x % 2 == 1).all()


@pytest.mark.parametrize("kwargs", [{}, {"threshold": 0.0, "floor": 0.0, "burn_in": 500}])
def test_no_finite_logit_at_all(kwargs):
    sampler = ThresholdSampler(lambda n: (torch.zeros(n), torch.full((n,), math.nan)), **kwargs)
    with pytest.raises(AcceptanceRateError, match="no finite logit"):
        next(sampler.sample(1))


def test_finite_logits_below_the_threshold_are_no_error_without_a_floor():
    values = itertools.chain([0.0] * 20, itertools.repeat(5.0))
    sampler = ThresholdSampler(
        lambda n: (torch.zeros(n), torch.full((n,), next(values))),
        threshold=1.0, floor=0.0, burn_in=500, batch_size=100,
    )  # fmt: skip
    next(sampler.sample(1))
    assert (sampler.proposed, sampler.accepted) == (2100, 100)


def test_a_rate_under_the_floor_stops_with_a_clear_message():
    sampler = ThresholdSampler(counting(), threshold=1000, batch_size=100, floor=0.01)
    with pytest.raises(
        AcceptanceRateError, match=r"accepted 0 of 1,000 .*\(now the logit 1e\+03\).*[^.]\.$"
    ):
        next(sampler.sample(1))


def test_samples_depend_on_the_seed_and_not_on_how_they_are_asked_for():
    whole = collect(ThresholdSampler(normal(1)), 300)
    sampler = ThresholdSampler(normal(1))
    assert torch.equal(whole, torch.cat([collect(sampler, n) for n in (1, 33, 266)]))
    assert not torch.equal(whole, collect(ThresholdSampler(normal(2)), 300))


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        ({"threshold": math.nan}, "`threshold` must be finite or None, but got nan"),
        ({"percentile": 100}, r"`percentile` must lie in \[0, 100\), but got 100"),
        ({"burn_in": 0}, "`burn_in` must be at least 1, but got 0"),
        ({"batch_size": 0}, "`batch_size` must be at least 1"),
        ({"floor": -0.1}, "`floor` must lie in"),
    ],
)
def test_bad_arguments(kwargs, message):
    with pytest.raises(ValueError, match=message):
        ThresholdSampler(normal(0), **kwargs)


# --- interpolation ------------------------------------------------------------------------------


def test_interpolation_by_hand():
    z1, z2 = torch.tensor([[4.0, 0.0], [1.0, 1.0]]), torch.tensor([[0.0, 8.0], [3.0, 5.0]])
    got = interpolate_latents(z1, z2, torch.tensor([0.25, 1.0]))
    assert got.tolist() == [[1.0, 6.0], [1.0, 1.0]]
    assert torch.equal(interpolate_latents(z1, z2, torch.zeros(2)), z2)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
@pytest.mark.parametrize("shape", [(0, 3), (1, 3), (4, 2, 3)])
def test_interpolation_shapes_and_dtypes(dtype, shape):
    z = torch.full(shape, 2.0, dtype=dtype)
    got = random_interpolation(z, z, torch.Generator().manual_seed(0))
    assert got.dtype == dtype
    torch.testing.assert_close(got, z, rtol=0.02, atol=0)


def test_interpolated_latents_have_two_thirds_of_the_variance_and_a_share_each():
    rng = torch.Generator().manual_seed(0)
    z1, z2 = torch.randn(2, 20_000, 4, generator=rng)
    z = random_interpolation(z1, z2, rng)
    assert z.var().item() == pytest.approx(2 / 3, rel=0.03)
    alpha = ((z - z2) / (z1 - z2)).median(1).values.numpy()
    assert stats.kstest(alpha, "uniform").pvalue > 0.002


@pytest.mark.parametrize(("other", "alpha"), [((3, 2), (2,)), ((2, 2), (3,)), ((2, 2), (2, 1))])
def test_interpolation_of_what_does_not_fit(other, alpha):
    with pytest.raises(ValueError, match="must be"):
        interpolate_latents(torch.zeros(2, 2), torch.zeros(other), torch.zeros(alpha))
