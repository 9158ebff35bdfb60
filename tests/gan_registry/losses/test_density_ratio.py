"""Every loss that claims a density ratio recovers that of two known Gaussians."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from known_losses import make
from scipy.integrate import quad
from scipy.stats import norm
from torch import Tensor

from gan_registry.losses import BUILTIN
from gan_registry.losses.base import Loss

P, Q = norm(0.0, 1.0), norm(0.7, 1.15)  # "data" and "generated"
GRID = torch.linspace(-12.0, 13.0, 4001, dtype=torch.float64)


def log_ratio(x: Tensor) -> Tensor:
    return torch.from_numpy(P.logpdf(x.numpy()) - Q.logpdf(x.numpy()))


#: D's optimal raw output as a function of the log density ratio r
OPTIMAL = {
    "logistic": lambda r: r,
    "vanilla": lambda r: r,
    "minimax": lambda r: r,
    "least_square": torch.sigmoid,
    "f_kl": lambda r: 1.0 + r,
    "f_kl_minimax": lambda r: 1.0 + r,
    "f_reverse_kl": lambda r: r,
    "f_js": lambda r: r,
    "f_js_minimax": lambda r: r,
}
#: Another way to read the ratio from the raw output, which the tests must tell from the right one
MISREAD = {
    "logistic": lambda v: v - 1.0,
    "least_square": lambda v: v,
    "f_kl": lambda v: v,
    "f_reverse_kl": lambda v: v - 1.0,
    "f_js": lambda v: v - 1.0,
}


def test_exactly_these_losses_claim_a_density_ratio():
    assert {name for name in BUILTIN if make(name).is_density_ratio} == set(OPTIMAL)


def expected_discriminator_loss(loss: Loss, v: Tensor) -> Tensor:
    p, q = (torch.from_numpy(distribution.pdf(GRID.numpy())) for distribution in (P, Q))
    return torch.trapezoid(p * loss.real_terms(v) + q * loss.fake_terms(v), GRID)


@pytest.mark.parametrize("name", OPTIMAL)
def test_the_expected_loss_is_least_at_the_density_ratio(name):
    loss, ratio = make(name), log_ratio(GRID)
    step = float(GRID[1] - GRID[0])

    def gradient(r: Tensor) -> Tensor:
        v = OPTIMAL[name](r).detach().clone().requires_grad_()
        expected_discriminator_loss(loss, v).backward()
        assert v.grad is not None
        return v.grad

    assert gradient(ratio).abs().max() < 1e-9 * step
    p, q = (torch.from_numpy(distribution.pdf(GRID.numpy())) for distribution in (P, Q))
    central = torch.minimum(p, q) > 1e-3  # where both have mass
    assert (gradient(ratio + 0.1)[central] > 1e-6 * step).all()
    assert (gradient(ratio - 0.1)[central] < -1e-6 * step).all()
    inside = ratio.abs() < math.log(999) - 1e-9  # how far least squares reads an output
    read = loss.log_density_ratio(OPTIMAL[name](ratio))
    torch.testing.assert_close(read[inside], ratio[inside], rtol=1e-9, atol=1e-9)


def gaussian_kl(first, second):
    mean1, std1, mean2, std2 = first.mean(), first.std(), second.mean(), second.std()
    return math.log(std2 / std1) + (std1**2 + (mean1 - mean2) ** 2) / (2 * std2**2) - 0.5


def test_at_the_optimum_the_bound_is_the_divergence_itself():
    def jensen_shannon(x):
        p, q = P.pdf(x), Q.pdf(x)
        return p * math.log(2 * p / (p + q)) + q * math.log(2 * q / (p + q))

    def harmonic(x):
        p, q = P.pdf(x), Q.pdf(x)
        return -0.5 * p * q / (p + q)

    divergences = {
        "f_kl": gaussian_kl(P, Q),
        "f_reverse_kl": gaussian_kl(Q, P),
        "f_js": quad(jensen_shannon, -12, 13, limit=200)[0],
        "least_square": quad(harmonic, -12, 13, limit=200)[0],
    }
    for name, divergence in divergences.items():
        value = expected_discriminator_loss(make(name), OPTIMAL[name](log_ratio(GRID)))
        assert float(-value) == pytest.approx(divergence, abs=1e-7), name


def train(loss: Loss, network, parameters, real: Tensor, fake: Tensor) -> None:
    optimizer = torch.optim.LBFGS(parameters, max_iter=200, line_search_fn="strong_wolfe")

    def closure() -> Tensor:
        optimizer.zero_grad()
        value = loss.real_terms(network(real)).mean() + loss.fake_terms(network(fake)).mean()
        value.backward()
        return value

    optimizer.step(closure)


@pytest.mark.parametrize("seed", [0, 1, 2])
@pytest.mark.parametrize("name", MISREAD)
def test_a_trained_discriminator_recovers_the_density_ratio(name, seed):
    """D's raw output is a quadratic, of which two Gaussians' log ratio is one.

    The least-squares D ends in a sigmoid, so that its optimum, p / (p + q), can be represented.
    """
    rng = np.random.default_rng(seed)
    real, fake = (
        torch.from_numpy(distribution.rvs(40_000, random_state=rng)) for distribution in (P, Q)
    )
    coefficients = torch.zeros(3, dtype=torch.float64, requires_grad=True)
    end = torch.sigmoid if name == "least_square" else torch.nn.Identity()

    def network(x: Tensor) -> Tensor:
        return end(coefficients[0] + coefficients[1] * x + coefficients[2] * x.square())

    loss = make(name)
    train(loss, network, [coefficients], real, fake)
    x = torch.linspace(-1.8, 2.5, 50, dtype=torch.float64)  # 96 % of the data
    with torch.no_grad():
        recovered = loss.log_density_ratio(network(x)[:, None])
        misread = MISREAD[name](network(x))
    error = (recovered - log_ratio(x)).abs().max()
    assert error < 0.2
    assert (misread - log_ratio(x)).abs().max() > 0.6
