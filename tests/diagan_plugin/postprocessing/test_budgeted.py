from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from gaussian_proposals import MEAN, STD, collect, gaussians
from scipy import optimize, stats

from diagan_plugin.postprocessing.budgeted import BudgetedRejectionSampler, budget_offset
from diagan_plugin.postprocessing.rejection import AcceptanceRateError, acceptance_probability


def make(propose, seed: int = 0, **kwargs) -> BudgetedRejectionSampler:
    return BudgetedRejectionSampler(propose, rng=torch.Generator().manual_seed(seed), **kwargs)


def accepted(logits: torch.Tensor, budget: float) -> tuple[torch.Tensor, float]:
    """What the sampler does once these logits were its burn-in: probabilities, and log c."""
    sampler = make(constant(0.0), budget=budget)
    logits = logits.double()
    sampler.max_logit = float(logits[logits.isfinite()].max())
    sampler._settle(logits)
    return sampler._probability(logits), sampler.log_constant


def constant(logits: float):
    return lambda n: (torch.zeros(n), torch.full((n,), logits))


# --- the optimum --------------------------------------------------------------------------------
# A generator that is uniform on 12 places, so that the mean over them is that over what it makes.

PLACES = 12
BUDGETS = (0.35, 0.5, 0.8)


def target(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).dirichlet(np.full(PLACES, 0.5)) + 1e-9


def kept(accept: np.ndarray) -> np.ndarray:
    return accept / accept.sum(-1, keepdims=True)


def total_variation(p: np.ndarray, q: np.ndarray) -> np.ndarray:
    return abs(p - q).sum(-1) / 2


def kullback_leibler(p: np.ndarray, q: np.ndarray) -> np.ndarray:
    return (p * np.log(p / q)).sum(-1)


def chi_squared(p: np.ndarray, q: np.ndarray) -> np.ndarray:
    return ((p - q) ** 2 / q).sum(-1)


def optimal(p: np.ndarray, budget: float) -> np.ndarray:
    return accepted(torch.from_numpy(np.log(p * PLACES)), budget)[0].numpy()


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("budget", BUDGETS)
def test_no_acceptance_has_less_total_variation(seed, budget):
    p, size = target(seed), PLACES
    budget = max(budget, 1.01 / (PLACES * p.max()))  # 1/M is exact rejection's
    accept = optimal(p, budget)
    assert accept.mean() == pytest.approx(budget, rel=1e-12)
    # Minimise Σ u / 2 with u ≥ |p − a/(nb)|, Σ a = nb, 0 ≤ a ≤ 1.
    scaled, one = np.eye(size) / (size * budget), np.eye(size)
    found = optimize.linprog(
        np.r_[np.zeros(size), np.full(size, 0.5)],
        A_ub=np.block([[scaled, -one], [-scaled, -one]]),
        b_ub=np.r_[p, -p],
        A_eq=[np.r_[np.ones(size), np.zeros(size)]],
        b_eq=[size * budget],
        bounds=[(0, 1)] * size + [(0, None)] * size,
    )
    assert total_variation(p, kept(accept)) == pytest.approx(found.fun, abs=1e-9)
    # What a wrong constant or exponent would give is worse, or misses the budget.
    for wrong in (p / p.max(), accept**0.5):
        assert wrong.mean() != pytest.approx(budget, rel=1e-3)


@pytest.mark.parametrize("divergence", [kullback_leibler, chi_squared, total_variation])
@pytest.mark.parametrize("budget", BUDGETS)
def test_no_random_acceptance_at_the_budget_is_better(divergence, budget):
    rng = np.random.default_rng(0)
    for seed in range(4):
        p = target(seed)
        if budget <= 1 / (PLACES * p.max()):
            continue  # exact rejection has a divergence of 0
        accept = optimal(p, budget)
        ends = rng.uniform(1e-6, 1, (3000, PLACES))
        mean = ends.mean(1, keepdims=True)  # brought to the budget within [0, 1]
        others = np.where(
            mean > budget, ends * budget / mean, 1 - (1 - ends) * (1 - budget) / (1 - mean)
        )
        near = accept + rng.uniform(0, 1, (3000, 1)) ** 4 * (others - accept)
        best = divergence(p, kept(accept))
        assert (divergence(p, kept(near)) >= best - 1e-12).all()
        assert (divergence(p, kept(others)) > best).all()


# --- the function -------------------------------------------------------------------------------


def test_a_small_budget_is_exact_rejection():
    logits = torch.randn(500, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    exact = acceptance_probability(logits, float(logits.max()), gamma=0.0, eps=1e-12)
    for budget in (float(exact.mean()), 0.01, 1e-300):
        got, log_constant = accepted(logits, budget)
        torch.testing.assert_close(got, exact, rtol=1e-9, atol=0)
        assert log_constant == pytest.approx(0, abs=1e-9)


@pytest.mark.parametrize("budget", [0.2, 0.5, 0.9, 0.999])
@pytest.mark.parametrize("scale", [1, 30, 1e4])
def test_the_mean_is_the_budget_and_the_form_is_that_of_the_theorem(budget, scale):
    logits = scale * torch.randn(999, generator=torch.Generator().manual_seed(1)).double()
    got, log_constant = accepted(logits, budget)
    if scale > 1:  # else exact rejection may keep more than 0.2
        assert float(got.mean()) == pytest.approx(budget, rel=1e-9)
    want = (log_constant + logits - logits.max()).clamp(max=0).exp()
    torch.testing.assert_close(got, want, rtol=1e-9, atol=0)
    assert log_constant >= 0


def test_edges():
    nan, inf = math.nan, math.inf
    got, log_constant = accepted(torch.tensor([nan, inf, -inf, 0.0, 2.0, 3.0]), 0.4)
    assert got[:3].tolist() == [0, 0, 0]
    assert float(got.sum()) == pytest.approx(0.4 * 6)
    assert 0 < log_constant < inf
    got, log_constant = accepted(torch.tensor([nan, 0.0, -800.0]), 0.9)
    assert (got.tolist(), log_constant) == ([0, 1, 1], inf)
    got, log_constant = accepted(torch.tensor([-1e30, 0.0, 1e30]), 1.0)
    assert (got.tolist(), log_constant) == ([1, 1, 1], inf)
    # Where all ratios are equal, p_g is p_data, and nothing is gained by keeping less.
    assert accepted(torch.full((7,), 1e5), 0.5)[0].tolist() == [1] * 7
    ties = accepted(torch.tensor([0.0, 0.0, 9.0, 9.0]), 0.6)[0]
    torch.testing.assert_close(ties, torch.tensor([0.2, 0.2, 1, 1]).double())
    for budget in (0, -1, 1.5, nan):
        with pytest.raises(ValueError, match=r"`budget` must lie in \(0, 1\]"):
            budget_offset(torch.zeros(2), budget)
        with pytest.raises(ValueError, match=r"`budget` must lie in \(0, 1\]"):
            make(constant(0.0), budget=budget)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
@pytest.mark.parametrize("shape", [(4,), (4, 1), (2, 2)])
def test_any_dtype_and_shape(dtype, shape):
    logits = torch.tensor([0.0, 1.0, 2.0, 8.0], dtype=dtype).reshape(shape)
    got, _ = accepted(logits, 0.5)
    assert (got.shape, got.dtype) == (shape, torch.float64)
    assert budget_offset(logits.clone().requires_grad_(), 0.5) == budget_offset(logits, 0.5)
    assert float(got.mean()) == pytest.approx(0.5, rel=1e-12)


# --- the sampler --------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("budget", [0.7, 0.9])
def test_the_budget_is_kept_to(seed, budget):
    sampler = make(gaussians(seed), seed=100 + seed, budget=budget)
    collect(sampler, 8000)
    error = math.sqrt(budget * (1 - budget) * (1 / sampler.proposed + 1 / 10_000))
    assert abs(sampler.acceptance_rate - budget) < 4 * error


def test_a_budget_that_exact_rejection_can_do_with_gives_the_data():
    sampler = make(gaussians(0), budget=0.3)
    x = collect(sampler, 4000).numpy()
    assert stats.kstest(x, stats.norm(MEAN, STD).cdf).pvalue > 0.002
    assert sampler.acceptance_rate == pytest.approx(0.6, abs=0.03)  # exact rejection's, 1/M
    assert sampler.log_constant == 0


def test_all_is_kept_at_a_budget_of_1():
    sampler = make(gaussians(0), budget=1.0, burn_in=256)
    x = collect(sampler, 512)
    noise = gaussians(0)
    noise(256)
    assert torch.equal(x, torch.cat([noise(256)[0], noise(256)[0]]))


def test_samples_depend_on_the_seed_and_not_on_how_they_are_asked_for():
    whole = collect(make(gaussians(1), seed=2, budget=0.8), 700)
    sampler = make(gaussians(1), seed=2, budget=0.8)
    assert torch.equal(whole, torch.cat([collect(sampler, n) for n in (1, 0, 33, 250, 416)]))
    assert not torch.equal(whole, collect(make(gaussians(1), seed=3, budget=0.8), 700))


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"budget": "0.5"}, "`budget` must be a number"),
        ({"burn_in": 2.5}, "`burn_in` must be a whole number"),
        ({"rng": 3}, "`rng` must be a Generator"),
    ],
)
def test_arguments_of_another_kind_are_named(wrong, said):
    with pytest.raises(TypeError, match=said):
        BudgetedRejectionSampler(
            lambda n: (torch.zeros(n), torch.zeros(n)), **{"rng": torch.Generator(), **wrong}
        )


def test_a_larger_logit_raises_m_and_keeps_the_budget():
    logits = [torch.tensor([0.0] * 5 + [4.0] * 5), torch.tensor([0.0] * 9 + [7.0])]
    calls = iter([*logits, *[logits[1]] * 2000])
    sampler = make(lambda n: (torch.zeros(n), next(calls)), budget=0.6, burn_in=10, batch_size=10)
    next(sampler.sample(1))
    # 5 · 1 + 5 · exp(t) = 6
    assert (sampler.max_logit, sampler.max_updates) == (7.0, 1)
    assert sampler.log_constant == pytest.approx(7 + math.log(0.2))
    collect(sampler, 1000)
    assert sampler.acceptance_rate == pytest.approx(0.9 * 0.2 + 0.1, abs=0.03)


def test_what_cannot_be_sampled_is_refused():
    with pytest.raises(AcceptanceRateError, match=r"Budgeted rejection .* no finite logit"):
        collect(make(constant(math.nan)), 1)
    spiked = torch.full((100,), -50.0)
    spiked[0] = 0.0
    calls = iter([spiked, *[torch.full((100,), -50.0)] * 100])
    low = make(
        lambda n: (torch.zeros(n), next(calls)), budget=0.01, burn_in=100, batch_size=100,
        floor=0.01,
    )  # fmt: skip
    with pytest.raises(AcceptanceRateError, match="Take a larger budget, or lower the floor"):
        collect(low, 1)
