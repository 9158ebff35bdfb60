"""The loss of pairs: terms, its optimum, whole updates against NumPy and autograd, resuming."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from known_losses import make
from scipy.stats import norm
from small_runs import assert_equal_runs, fit, manager, points_config
from torch import Tensor, nn

from gan_registry.hookspecs import hookimpl
from gan_registry.regularizers.gradient_penalty import r1_penalty
from gan_registry.training.updates import update_discriminator, update_generator

R1_R2 = {
    "LOSS__apply_r1_reg": True, "LOSS__r1_lambda": 0.7,
    "LOSS__apply_r2_reg": True, "LOSS__r2_lambda": 1.3,
}  # fmt: skip
PAIRS = {"LOSS__adv_loss": "relativistic", "OPTIMIZATION__total_steps": 1}


def numpy_pairs(above: Tensor, below: Tensor) -> np.ndarray:
    return np.logaddexp(0.0, below.detach().double().numpy() - above.detach().double().numpy())


def test_the_terms_of_pairs_and_their_gradients_equal_the_formula():
    v, w = torch.linspace(-6, 5, 23, dtype=torch.float64), torch.linspace(4, -3, 23).double()
    v.requires_grad_()
    w.requires_grad_()
    terms = make("relativistic").pair_terms(v[:, None], {"adv_output": w})
    np.testing.assert_allclose(terms.detach(), numpy_pairs(v, w), rtol=1e-12)
    terms.sum().backward()
    slope = 1 / (1 + np.exp((v - w).detach().numpy()))
    np.testing.assert_allclose(v.grad, -slope, rtol=1e-9)
    np.testing.assert_allclose(w.grad, slope, rtol=1e-9)


def test_large_differences_and_half_precision_are_finite_and_exact():
    loss = make("relativistic")
    v, w = torch.tensor([-1e4, 0.0, 1e4]), torch.tensor([1e4, 0.0, -1e4])
    torch.testing.assert_close(loss.pair_terms(v, w), torch.tensor([2e4, math.log(2), 0.0]))
    half = loss.pair_terms(torch.tensor([1000.0]).bfloat16(), torch.tensor([1001.0]).bfloat16())
    assert half.dtype == torch.float32


def test_a_constant_changes_nothing_and_the_optimum_is_the_ratio_up_to_one():
    """On a grid, with the whole matrix of pairs: at log p/q + c no entry has a gradient."""
    loss = make("relativistic")
    assert loss.is_ratio_up_to_constant
    assert not loss.is_density_ratio
    p, q = norm(0.0, 1.0), norm(0.7, 1.15)
    x = np.linspace(-8, 8, 201)
    mass = torch.from_numpy(np.outer(p.pdf(x), q.pdf(x)))
    ratio = torch.from_numpy(p.logpdf(x) - q.logpdf(x))

    def gradient(v: Tensor) -> Tensor:
        v = v.clone().requires_grad_()
        rows, columns = v[:, None].expand(201, 201), v[None].expand(201, 201)
        terms = loss.pair_terms(rows.reshape(-1), columns.reshape(-1)).reshape(201, 201)
        (terms * mass).sum().backward()
        assert v.grad is not None
        return v.grad

    for constant in (0.0, -3.0, 40.0):
        assert gradient(ratio + constant).abs().max() < 1e-12
    bent = ratio.clone()
    bent[100] += 0.1
    assert gradient(bent)[100] > 1e-4


def _networks(run):
    d = run.backbone.build("discriminator")
    g = run.backbone.build("generator")
    d.load_state_dict(run.discriminator.state_dict())
    g.load_state_dict(run.generator.state_dict())
    return d.double(), g.double()


class Batches:
    @hookimpl
    def gan_discriminator_updated(self, batches):
        self.last = batches


def test_an_update_of_d_equals_numpy_and_autograd_with_r1_and_r2():
    spy = Batches()
    run = fit(points_config(**PAIRS, **R1_R2), plugins=manager(spy=spy))
    d, _ = _networks(run)
    update_discriminator(run, 0)
    (batch,) = spy.last
    real = batch.real.x.double().requires_grad_()
    fake = batch.fake.x.double().requires_grad_()
    of_real, of_fake = d(real).squeeze(1), d(fake).squeeze(1)
    expected = numpy_pairs(of_real, of_fake).mean()
    for x, out, weight in ((real, of_real, 0.7), (fake, of_fake, 1.3)):
        (slope,) = torch.autograd.grad(out.sum(), x, retain_graph=True)
        penalty = weight * slope.square().sum(1).mean().item() / 2
        assert penalty > 1e-5
        expected += penalty
    assert run.noted()["loss/discriminator"] == pytest.approx(expected, rel=1e-5)


def test_the_step_of_d_is_the_gradient_of_loss_and_penalties():
    """Differentiated twice: the gradients that the update leaves, by central differences."""
    spy = Batches()
    config = points_config(**PAIRS, **R1_R2, OPTIMIZATION__d_lr=1e-12)  # D stays where it is
    run = fit(config, plugins=manager(spy=spy))
    d, _ = _networks(run)
    update_discriminator(run, 0)
    (batch,) = spy.last
    real, fake = batch.real.x.double(), batch.fake.x.double()

    def value() -> float:
        pairs = numpy_pairs(d(real).squeeze(1), d(fake).squeeze(1)).mean()
        return float(pairs + (0.7 * r1_penalty(d, real) + 1.3 * r1_penalty(d, fake)).detach())

    checked = 0
    for weight, updated in zip(d.parameters(), run.discriminator.parameters(), strict=True):
        flat, grad = weight.data.view(-1), updated.grad
        for place in range(0, flat.numel(), max(flat.numel() // 3, 1)):
            kept, step = float(flat[place]), 1e-6
            flat[place] = kept + step
            above = value()
            flat[place] = kept - step
            slope = (above - value()) / (2 * step)
            flat[place] = kept
            found = 0.0 if grad is None else float(grad.reshape(-1)[place])
            assert found == pytest.approx(slope, rel=1e-3, abs=1e-5)
            checked += abs(slope) > 1e-3
    assert checked > 4


def test_pairs_and_both_penalties_can_be_differentiated_twice():
    loss = make("relativistic")
    network = nn.Sequential(nn.Linear(2, 5), nn.Softplus(), nn.Linear(5, 1)).double()
    rng = torch.Generator().manual_seed(0)
    x, z = (torch.randn(4, 2, generator=rng, dtype=torch.float64) for _ in range(2))
    weights = [p.detach().clone().requires_grad_() for p in network.parameters()]
    names = [name for name, _ in network.named_parameters()]

    def objective(*values: Tensor) -> Tensor:
        def d(samples: Tensor, y: Tensor | None = None) -> Tensor:
            return torch.func.functional_call(
                network, dict(zip(names, values, strict=True)), samples
            )

        pairs = loss.pair_terms(d(x), d(z)).mean()
        return pairs + 0.7 * r1_penalty(d, x) + 1.3 * r1_penalty(d, z)

    assert torch.autograd.gradcheck(objective, weights)
    assert torch.autograd.gradgradcheck(objective, weights)


def test_an_update_of_g_looks_at_the_real_samples_of_ds_latest_update():
    spy = Batches()
    config = points_config(**PAIRS, OPTIMIZATION__acml_steps=2, OPTIMIZATION__batch_size=8)
    run = fit(config, plugins=manager(spy=spy))
    seen = [batch.real for batch in spy.last]
    position = run.stream.position
    d, g = _networks(run)
    update_generator(run, 0)
    assert run.stream.position == position
    z = run.latents(16, "generator", run.step, 0).double()
    expected = np.mean(
        [
            numpy_pairs(d(g(part)).squeeze(1), d(real.x.double()).squeeze(1)).mean()
            for part, real in zip(z.split(8), seen, strict=True)
        ]
    )
    assert run.noted()["loss/generator"] == pytest.approx(expected, rel=1e-5)


class Weighed:
    """Weights of single samples, and what the losses were."""

    @hookimpl
    def gan_discriminator_weights(self, real, fake):
        n = len(real.x)
        return torch.linspace(0, 2, n), torch.linspace(1, 3, n)

    @hookimpl
    def gan_generator_weights(self, fake):
        return torch.linspace(0, 2, len(fake.x))

    @hookimpl
    def gan_discriminator_updated(self, batches):
        self.last = batches


def test_a_pair_counts_by_the_weights_of_both_its_samples():
    spy = Weighed()
    run = fit(points_config(**PAIRS), plugins=manager(spy=spy))
    d, g = _networks(run)
    update_discriminator(run, 0)
    (batch,) = spy.last
    pairs = numpy_pairs(d(batch.real.x.double()).squeeze(1), d(batch.fake.x.double()).squeeze(1))
    weights = np.linspace(0, 2, len(pairs)) * np.linspace(1, 3, len(pairs))
    assert run.noted()["loss/discriminator"] == pytest.approx((weights * pairs).mean(), rel=1e-5)
    d, g = _networks(run)
    update_generator(run, 0)
    z = run.latents(16, "generator", run.step, 0).double()
    pairs = numpy_pairs(d(g(z)).squeeze(1), d(batch.real.x.double()).squeeze(1))
    expected = (np.linspace(0, 2, 16) * pairs).mean()
    assert run.noted()["loss/generator"] == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("d_first", [True, False])
def test_a_resumed_run_is_bit_equal(tmp_path, d_first):
    def config(steps):
        return points_config(
            LOSS__adv_loss="relativistic", **R1_R2, OPTIMIZATION__total_steps=steps,
            OPTIMIZATION__d_first=d_first, OPTIMIZATION__acml_steps=2, RUN__num_eval=20,
        )  # fmt: skip

    whole = fit(config(5))
    fit(config(2), tmp_path / "run")
    assert_equal_runs(fit(config(5), tmp_path / "run"), whole)


def test_the_loss_of_single_samples_has_no_pairs():
    assert not make("logistic").is_pairwise
    with pytest.raises(NotImplementedError, match="single samples"):
        make("logistic").pair_terms(torch.zeros(2), torch.zeros(2))
