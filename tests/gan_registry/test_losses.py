from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy.integrate import quad
from scipy.stats import norm
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits as bce

from gan_registry.backbones.base import realness
from gan_registry.catalogs import Catalog
from gan_registry.losses import BUILTIN
from gan_registry.losses.base import Loss

TERMS = ("real_terms", "fake_terms", "generator_terms")
METHODS = (*TERMS, "log_density_ratio")
P, Q = norm(0.0, 1.0), norm(1.0, 1.5)  # "data" and "generated"
GRID = torch.linspace(-12.0, 14.0, 4001, dtype=torch.float64)


def make(name: str) -> Loss:
    catalog = Catalog("loss")
    for known, path in BUILTIN.items():
        catalog.register(known, path)
    loss = catalog[name](realness)
    assert isinstance(loss, Loss)
    return loss


def density(distribution: object) -> Tensor:
    return torch.from_numpy(distribution.pdf(GRID.numpy()))  # type: ignore[attr-defined]


def log_ratio() -> Tensor:
    return torch.from_numpy(P.logpdf(GRID.numpy()) - Q.logpdf(GRID.numpy()))


def expected_discriminator_loss(loss: Loss, v: Tensor) -> Tensor:
    """E_p[real_terms] + E_q[fake_terms] of a D with logits `v` on the grid."""
    integrand = density(P) * loss.real_terms(v) + density(Q) * loss.fake_terms(v)
    return torch.trapezoid(integrand, GRID)


def discriminator_gradient(loss: Loss, v: Tensor) -> Tensor:
    v = v.clone().requires_grad_()
    expected_discriminator_loss(loss, v).backward()
    assert v.grad is not None
    return v.grad


@pytest.mark.parametrize("name", ["logistic", "vanilla", "minimax"])
def test_the_log_density_ratio_of_two_gaussians_is_the_optimal_logit(name):
    loss = make(name)
    assert loss.is_density_ratio
    optimum = log_ratio()
    step = float(GRID[1] - GRID[0])
    assert discriminator_gradient(loss, optimum).abs().max() < 1e-9 * step
    # The gradient points back to the optimum from both sides, wherever both have mass.
    mass = torch.minimum(density(P), density(Q)) > 1e-3
    assert (discriminator_gradient(loss, optimum + 0.1)[mass] > 1e-5 * step).all()
    assert (discriminator_gradient(loss, optimum - 0.1)[mass] < -1e-5 * step).all()
    torch.testing.assert_close(loss.log_density_ratio(optimum), optimum, rtol=0, atol=0)


def test_at_the_optimum_the_loss_is_2_log_2_minus_twice_the_jensen_shannon_divergence():
    def integrand(x):
        p, q = P.pdf(x), Q.pdf(x)
        mean = (p + q) / 2
        return 0.5 * (p * math.log(p / mean) + q * math.log(q / mean))

    jensen_shannon = quad(integrand, -12, 14, limit=200)[0]
    value = expected_discriminator_loss(make("logistic"), log_ratio())
    assert float(value) == pytest.approx(2 * math.log(2) - 2 * jensen_shannon, abs=1e-7)


def test_the_optimal_hinge_output_is_the_sign_and_no_density_ratio():
    loss = make("hinge")
    assert not loss.is_density_ratio
    optimum = log_ratio().sign()
    best = float(expected_discriminator_loss(loss, optimum))
    rng = torch.Generator().manual_seed(0)
    for scale in (0.01, 0.1, 1.0):
        noise = scale * torch.randn(len(GRID), generator=rng, dtype=torch.float64)
        assert float(expected_discriminator_loss(loss, optimum + noise)) > best
    assert float(expected_discriminator_loss(loss, log_ratio())) > best + 0.01


def test_logistic_terms_equal_torchs_cross_entropy():
    v = torch.linspace(-30, 30, 101, dtype=torch.float64)
    ones, zeros = torch.ones_like(v), torch.zeros_like(v)
    for name in ("logistic", "vanilla", "minimax"):
        loss = make(name)
        torch.testing.assert_close(loss.real_terms(v), bce(v, ones, reduction="none"))
        torch.testing.assert_close(loss.fake_terms(v), bce(v, zeros, reduction="none"))
        generator = -bce(v, zeros, reduction="none")
        if name != "minimax":
            generator = bce(v, ones, reduction="none")
        torch.testing.assert_close(loss.generator_terms(v), generator)


def test_a_rejected_generator_gets_gradients_from_every_loss_but_the_saturating_one():
    gradients = {}
    for name in BUILTIN:
        v = torch.full((1,), -20.0, requires_grad=True)
        make(name).generator_terms(v).sum().backward()
        gradients[name] = float(v.grad)
    assert gradients["logistic"] == gradients["vanilla"] == pytest.approx(-1.0)
    assert gradients["hinge"] == -1.0
    assert -1e-8 < gradients["minimax"] < 0.0  # the same direction, vanishing


def test_hinge_terms_by_hand():
    loss = make("hinge")
    v = torch.tensor([-2.0, -1.0, 0.0, 0.5, 1.0, 3.0])
    assert loss.real_terms(v).tolist() == [3.0, 2.0, 1.0, 0.5, 0.0, 0.0]
    assert loss.fake_terms(v).tolist() == [0.0, 0.0, 1.0, 1.5, 2.0, 4.0]
    assert loss.generator_terms(v).tolist() == (-v).tolist()
    assert loss.log_density_ratio(v).tolist() == v.tolist()


@pytest.mark.parametrize("name", BUILTIN)
@pytest.mark.parametrize("method", METHODS)
def test_terms_and_gradients_are_finite_at_large_logits(name, method):
    v = torch.tensor([-1e4, -100.0, 0.0, 100.0, 1e4], requires_grad=True)
    terms = getattr(make(name), method)(v)
    terms.sum().backward()
    assert torch.isfinite(terms).all()
    assert torch.isfinite(v.grad).all()
    assert terms.abs().max() >= 1e4  # linear in the tail, not cut off


@pytest.mark.parametrize("name", BUILTIN)
@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_computed_in_float32(name, method, dtype):
    v = torch.tensor([-1e4, -9.0, -0.3, 0.0, 0.7, 8.0, 1e4]).to(dtype).requires_grad_()
    loss = make(name)
    terms = getattr(loss, method)(v)
    assert terms.dtype == torch.float32
    expected = getattr(loss, method)(v.detach().float())
    torch.testing.assert_close(terms, expected, rtol=0, atol=0)
    terms.sum().backward()
    assert v.grad.dtype == dtype


@pytest.mark.parametrize("name", BUILTIN)
@pytest.mark.parametrize("method", METHODS)
def test_one_term_a_sample_whatever_d_returns(name, method):
    loss = make(name)
    v = torch.randn(5, generator=torch.Generator().manual_seed(0))
    expected = getattr(loss, method)(v)
    assert expected.shape == (5,)
    labels = torch.arange(5)
    for out in (v[:, None], (v, None), [v[:, None]], {"adv_output": v, "label": None}):
        torch.testing.assert_close(getattr(loss, method)(out, labels), expected, rtol=0, atol=0)
    # A term depends on its own sample only.
    torch.testing.assert_close(getattr(loss, method)(v[2:3]), expected[2:3], rtol=0, atol=0)
    assert getattr(loss, method)(v[:0]).shape == (0,)


@pytest.mark.parametrize("name", BUILTIN)
@pytest.mark.parametrize("method", METHODS)
def test_nan_stays_visible_and_stays_in_its_sample(name, method):
    v = torch.tensor([0.5, float("nan"), -0.5])
    assert torch.isnan(getattr(make(name), method)(v)).tolist() == [False, True, False]


@pytest.mark.parametrize("name", BUILTIN)
def test_infinite_logits_give_the_limit(name):
    loss, inf = make(name), float("inf")
    v = torch.tensor([-inf, inf])
    assert loss.real_terms(v).tolist() == [inf, 0.0]
    assert loss.fake_terms(v).tolist() == [0.0, inf]
    assert loss.log_density_ratio(v).tolist() == [-inf, inf]
    limits = {"minimax": [0.0, -inf], "hinge": [inf, -inf]}.get(name, [inf, 0.0])
    np.testing.assert_array_equal(loss.generator_terms(v).numpy(), limits)
