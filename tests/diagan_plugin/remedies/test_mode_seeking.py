from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch
from small_runs import fit, manager, points_config

from diagan_plugin.remedies.mode_seeking import (
    ModeSeekingPlugin,
    mode_seeking_term,
    mode_seeking_weight,
)
from gan_registry.errors import UserError
from gan_registry.records import Fake


def test_a_batch_by_hand() -> None:
    x1, x2 = torch.tensor([[0.0, 1.0], [2.0, 2.0]]), torch.tensor([[1.0, 1.0], [2.0, -1.0]])
    z1, z2 = torch.tensor([[0.0], [1.0]]), torch.tensor([[0.5], [-0.5]])
    # Samples differ by 1, 0, 0, 3: 1 on average. Latents differ by 0.5 and 1.5: 1 on average.
    assert float(mode_seeking_term(x1, x2, z1, z2)) == pytest.approx(1 / (1 + 1e-5), rel=1e-6)
    assert float(mode_seeking_term(3 * x1, 3 * x2, z1, z2)) == pytest.approx(1 / 3, rel=1e-4)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_it_is_the_published_formula_in_every_precision(dtype: torch.dtype) -> None:
    rng = torch.Generator().manual_seed(0)
    x1, x2, z1, z2 = torch.randn(4, 5, 3, generator=rng).to(dtype)
    ratio = (x1.double() - x2.double()).abs().mean() / (z1.double() - z2.double()).abs().mean()
    assert float(mode_seeking_term(x1, x2, z1, z2)) == pytest.approx(
        float(1 / (ratio + 1e-5)), rel=1e-5
    )


def test_equal_samples_and_equal_latents_stay_finite() -> None:
    x = torch.ones(2, 3, requires_grad=True)
    z = torch.zeros(2, 1)
    collapsed = mode_seeking_term(x, torch.ones(2, 3), z, z + 1)
    assert float(collapsed.detach()) == pytest.approx(1e5, rel=1e-4)
    collapsed.backward()
    assert x.grad is not None
    assert x.grad.isfinite().all()
    assert mode_seeking_term(x, torch.ones(2, 3), z, z).item() == 0.0


@pytest.mark.parametrize(
    ("one", "two", "of"), [((0, 2), (0, 2), 0), ((3, 2), (2, 2), 3), ((3, 2), (3, 2), 2)]
)
def test_what_is_no_pair_is_told(one: tuple[int, ...], two: tuple[int, ...], of: int) -> None:
    with pytest.raises(ValueError, match="at least one pair"):
        mode_seeking_term(
            torch.zeros(one), torch.zeros(two), torch.zeros(of, 1), torch.zeros(of, 1)
        )


def test_the_weight_grows_in_steps() -> None:
    grown = [mode_seeking_weight(0.05, 0.01, 10, epoch) for epoch in (0, 9, 10, 19, 20, 100)]
    assert grown == pytest.approx([0.05, 0.05, 0.06, 0.06, 0.07, 0.15])


def test_it_widens_a_collapsing_generator() -> None:
    """G(z) = a·z with an adversarial pull towards a = 0, which alone collapses it to a point."""

    def width(weight: float) -> float:
        a = torch.tensor(0.5, requires_grad=True)
        z = torch.tensor([[-1.0], [1.0]])
        for _ in range(300):
            loss = a.square() + weight * mode_seeking_term(a * z[:1], a * z[1:], z[:1], z[1:])
            (gradient,) = torch.autograd.grad(loss, a)
            a = (a - 0.05 * gradient).detach().requires_grad_()
        return a.item()

    assert width(0.0) < 1e-6
    # a² + λ/a is smallest at (λ/2)^(1/3).
    assert [width(0.05), width(0.1)] == pytest.approx([0.025 ** (1 / 3), 0.05 ** (1 / 3)], rel=1e-3)


def test_halves_of_a_batch_make_pairs_and_classes_are_kept() -> None:
    plugin = ModeSeekingPlugin()
    x, z = torch.arange(10.0).view(5, 2), torch.arange(5.0).view(5, 1)
    x1, x2, z1, z2 = plugin._pairs(SimpleNamespace(), Fake(x, z))
    assert [part[:, 0].tolist() for part in (x1, x2, z1, z2)] == [[0, 2], [4, 6], [0, 1], [2, 3]]

    run = fit(points_config())
    seen = []

    def generator(z: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        seen.append((z, y))
        return z.repeat(1, 2)

    class Conditional:
        """Stands for the run; only its generator is another one."""

        def __getattr__(self, name: str) -> object:
            return getattr(run, name)

    live = Conditional()
    live.generator = generator
    y = torch.tensor([3, 1, 4, 1, 5])
    z = torch.zeros(5, 2)
    for _ in range(2):  # two micro-batches of a step
        _, x2, z1, z2 = plugin._pairs(live, Fake(x, z, y))
        assert torch.equal(seen[-1][1], y)
        assert torch.equal(x2, z2.repeat(1, 2))
        assert torch.equal(z1, z)
    assert not torch.equal(seen[0][0], seen[1][0])
    again = ModeSeekingPlugin()
    again._pairs(live, Fake(x, z, y))
    assert torch.equal(seen[2][0], seen[0][0])  # follows from seed and step


def test_batches_without_a_pair_are_refused() -> None:
    config = points_config(OPTIMIZATION__batch_size=1)
    config.PLUGINS = {"mode_seeking": {"weight": 0.1}}
    with pytest.raises(UserError, match="batch_size must be at least 2, but is 1"):
        fit(config, plugins=manager(mode_seeking=ModeSeekingPlugin()))


def test_the_penalty_is_the_term_times_the_weight_of_the_epoch() -> None:
    config = points_config(DATA__options={"num_samples": 32})  # two steps an epoch
    config.PLUGINS = {"mode_seeking": {"weight": 0.0, "increase": 0.1, "every": 1}}
    plugin = ModeSeekingPlugin()
    run = fit(config, plugins=manager(mode_seeking=plugin))
    fake = run.generate(16)
    term = float(mode_seeking_term(fake.x[:8], fake.x[8:], fake.z[:8], fake.z[8:]))
    for step, weight in ((2, 0.1), (5, 0.2)):
        run.step = step
        assert float(plugin.gan_generator_penalty(run, fake)) == pytest.approx(weight * term)
    run.step = 1
    assert plugin.gan_generator_penalty(run, fake) is None
