from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from known_losses import make
from scipy.integrate import quad
from scipy.stats import norm
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits as bce

from gan_registry.backbones.base import realness
from gan_registry.losses import BUILTIN
from gan_registry.losses.base import Loss
from gan_registry.losses.least_squares import LeastSquares

TERMS = ("real_terms", "fake_terms", "generator_terms")
METHODS = (*TERMS, "log_density_ratio")
ONE_LOGIT = tuple(name for name in BUILTIN if name != "MH")  # D returns one number a sample
LOG_2 = math.log(2.0)
P, Q = norm(0.0, 1.0), norm(1.0, 1.5)  # "data" and "generated"
GRID = torch.linspace(-12.0, 14.0, 4001, dtype=torch.float64)


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


def softplus(v):
    return np.logaddexp(0.0, v)


#: real, fake and generator terms and the log density ratio, as their papers write them, in numpy
FORMULAS = {
    "logistic": (lambda v: softplus(-v), softplus, lambda v: softplus(-v), lambda v: v),
    "vanilla": (lambda v: softplus(-v), softplus, lambda v: softplus(-v), lambda v: v),
    "minimax": (lambda v: softplus(-v), softplus, lambda v: -softplus(v), lambda v: v),
    # beside a partner whose logit is 0; pairs are in test_relativistic.py
    "relativistic": (lambda v: softplus(-v), softplus, lambda v: softplus(-v), lambda v: v),
    "hinge": (
        lambda v: np.maximum(0, 1 - v), lambda v: np.maximum(0, 1 + v), lambda v: -v, lambda v: v,
    ),
    "wasserstein": (lambda v: -v, lambda v: v, lambda v: -v, lambda v: v),
    "least_square": (
        lambda v: (v - 1) ** 2 / 2, lambda v: v**2 / 2, lambda v: (v - 1) ** 2 / 2,
        lambda v: np.log(np.clip(v, 1e-3, 1 - 1e-3)) - np.log(1 - np.clip(v, 1e-3, 1 - 1e-3)),
    ),
    # -T, f*(T) and G's -T or -f*(T), with T = g_f(v) put into f* as in the table of the f-GAN paper
    "f_kl": (
        lambda v: -v, lambda v: np.exp(v - 1), lambda v: -v, lambda v: v - 1,
    ),
    "f_kl_minimax": (
        lambda v: -v, lambda v: np.exp(v - 1), lambda v: -np.exp(v - 1), lambda v: v - 1,
    ),
    "f_reverse_kl": (
        lambda v: np.exp(-v), lambda v: -1 - np.log(np.exp(-v)),
        lambda v: 1 + np.log(np.exp(-v)), lambda v: v,
    ),
    "f_js": (
        lambda v: -(LOG_2 - np.log(1 + np.exp(-v))),
        lambda v: -np.log(2 - np.exp(LOG_2 - np.log(1 + np.exp(-v)))),
        lambda v: -(LOG_2 - np.log(1 + np.exp(-v))), lambda v: v,
    ),
    "f_js_minimax": (
        lambda v: -(LOG_2 - np.log(1 + np.exp(-v))),
        lambda v: -np.log(2 - np.exp(LOG_2 - np.log(1 + np.exp(-v)))),
        lambda v: np.log(2 - np.exp(LOG_2 - np.log(1 + np.exp(-v)))), lambda v: v,
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", ONE_LOGIT)
def test_terms_and_their_gradients_equal_the_formulas_of_the_papers(name):
    # No point lies where a formula has a kink.
    v = np.linspace(-5.03, 5.01, 67)
    for method, formula in zip(METHODS, FORMULAS[name], strict=True):
        x = torch.from_numpy(v).requires_grad_()
        terms = getattr(make(name), method)(x)
        assert terms.dtype == torch.float64
        np.testing.assert_allclose(terms.detach(), formula(v), rtol=1e-9, atol=1e-12)
        step = 1e-6
        slope = (formula(v + step) - formula(v - step)) / (2 * step)
        terms.sum().backward()
        np.testing.assert_allclose(x.grad, slope, rtol=1e-5, atol=1e-7)


def test_every_loss_has_a_formula_here():
    assert set(FORMULAS) == set(ONE_LOGIT)


@pytest.mark.parametrize("name", ONE_LOGIT)
@pytest.mark.parametrize("method", METHODS)
def test_a_weight_of_0_takes_a_sample_out(name, method):
    v = torch.linspace(-3.0, 3.0, 6, requires_grad=True)
    weights = torch.tensor([1.0, 0.0, 2.0, 0.0, 0.5, 0.0])
    (weights * getattr(make(name), method)(v)).mean().backward()
    assert (v.grad[1::2] == 0.0).all()
    if (name, method) != ("least_square", "log_density_ratio"):
        assert (v.grad[::2] != 0.0).any()


def test_a_rejected_generator_gets_gradients_from_every_loss_but_the_saturating_ones():
    gradients = {}
    for name in ONE_LOGIT:
        v = torch.full((1,), -20.0, requires_grad=True)
        make(name).generator_terms(v).sum().backward()
        gradients[name] = float(v.grad)
    saturating = ("minimax", "f_kl_minimax", "f_js_minimax")
    linear = ("hinge", "wasserstein", "f_kl", "f_reverse_kl", "f_js")
    for name in ("logistic", "vanilla", "relativistic", *linear):
        assert gradients.pop(name) == pytest.approx(-1.0), name
    assert gradients.pop("least_square") == -21.0
    for name in saturating:
        assert -1e-8 < gradients.pop(name) < 0.0, name  # the same direction, vanishing
    assert not gradients


def test_jensen_shannon_is_the_logistic_loss_moved_by_log_2():
    v = torch.linspace(-50, 50, 101, dtype=torch.float64)
    for method in TERMS:
        expected = getattr(make("logistic"), method)(v) - LOG_2
        torch.testing.assert_close(getattr(make("f_js"), method)(v), expected)


def test_least_squares_reads_outputs_beyond_0_and_1_at_their_ends():
    loss = make("least_square")
    v = torch.tensor([-3.0, 0.0, 0.25, 0.5, 0.9, 1.0, 40.0])
    end = math.log(999)
    expected = torch.tensor([-end, -end, -math.log(3), 0.0, math.log(9), end, end])
    torch.testing.assert_close(loss.log_density_ratio(v), expected, rtol=1e-5, atol=1e-6)
    wide = LeastSquares(realness, eps=1e-6).log_density_ratio(torch.tensor([5.0]))
    assert float(wide) == pytest.approx(math.log(1e6), rel=1e-2)  # 1 - 1e-6 in float32
    for eps in (0.0, 0.5, float("nan")):
        with pytest.raises(ValueError, match="eps"):
            LeastSquares(realness, eps=eps)


def test_hinge_terms_by_hand():
    loss = make("hinge")
    v = torch.tensor([-2.0, -1.0, 0.0, 0.5, 1.0, 3.0])
    assert loss.real_terms(v).tolist() == [3.0, 2.0, 1.0, 0.5, 0.0, 0.0]
    assert loss.fake_terms(v).tolist() == [0.0, 0.0, 1.0, 1.5, 2.0, 4.0]
    assert loss.generator_terms(v).tolist() == (-v).tolist()
    assert loss.log_density_ratio(v).tolist() == v.tolist()


@pytest.mark.parametrize("name", ONE_LOGIT)
@pytest.mark.parametrize("method", METHODS)
def test_terms_and_gradients_are_finite_at_large_logits(name, method):
    loss = make(name)
    v = torch.tensor([-1e4, -100.0, 0.0, 100.0, 1e4], requires_grad=True)
    terms = getattr(loss, method)(v)
    terms.sum().backward()
    exponential = ("f_kl", "fake_terms"), ("f_reverse_kl", "real_terms")
    if (name.removesuffix("_minimax"), method) in exponential:
        # Exact up to float32's end, beyond which the terms are infinite rather than cut off.
        sign = -1.0 if name == "f_reverse_kl" else 1.0
        assert torch.isinf(terms).tolist() == (sign * v > 89).tolist()
        near = getattr(loss, method)(torch.tensor([sign * 88.0]))
        shift = 1.0 if method == "fake_terms" else 0.0
        assert float(near) == pytest.approx(math.exp(88.0 - shift), rel=1e-4)
        return
    if (name, method) == ("f_kl_minimax", "generator_terms"):
        assert torch.isinf(terms).tolist() == [False, False, False, True, True]
        return
    assert torch.isfinite(terms).all()
    assert torch.isfinite(v.grad).all()
    if (name, method) != ("least_square", "log_density_ratio"):
        assert terms.abs().max() >= 1e4 - 1.0  # linear in the tail, not cut off


@pytest.mark.parametrize("name", ONE_LOGIT)
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


@pytest.mark.parametrize("name", ONE_LOGIT)
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


@pytest.mark.parametrize("name", ONE_LOGIT)
@pytest.mark.parametrize("method", METHODS)
def test_nan_stays_visible_and_stays_in_its_sample(name, method):
    v = torch.tensor([0.5, float("nan"), -0.5])
    assert torch.isnan(getattr(make(name), method)(v)).tolist() == [False, True, False]


@pytest.mark.parametrize("name", ONE_LOGIT)
def test_infinite_logits_give_the_limit(name):
    loss, inf = make(name), float("inf")
    v = torch.tensor([-inf, inf])
    linear = name == "wasserstein" or name.startswith("f_kl")
    real = {"least_square": [inf, inf]}.get(name, [inf, -inf] if linear else [inf, 0.0])
    fake = {
        "least_square": [inf, inf], "wasserstein": [-inf, inf], "f_reverse_kl": [-inf, inf],
    }.get(name, [0.0, inf])  # fmt: skip
    shift = LOG_2 if name.startswith("f_js") else 0.0
    assert loss.real_terms(v).tolist() == pytest.approx([x - shift for x in real])
    assert loss.fake_terms(v).tolist() == pytest.approx([x - shift for x in fake])
    if name == "least_square":
        assert torch.isfinite(loss.log_density_ratio(v)).all()
    else:
        assert loss.log_density_ratio(v).tolist() == [-inf, inf]
    generator = {
        "minimax": [0.0, -inf], "f_kl_minimax": [0.0, -inf], "f_js_minimax": [LOG_2, -inf],
        "least_square": [inf, inf], "logistic": [inf, 0.0], "vanilla": [inf, 0.0],
        "relativistic": [inf, 0.0], "f_js": [inf, -LOG_2],
    }.get(name, [inf, -inf])  # fmt: skip
    np.testing.assert_allclose(loss.generator_terms(v).numpy(), generator, rtol=1e-6)
