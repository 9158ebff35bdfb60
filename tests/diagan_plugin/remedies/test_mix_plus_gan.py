from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from settings import DIA
from small_runs import fit, manager, points_config
from torch import Tensor, nn
from torch.nn.functional import softplus

from diagan_plugin.dia.plugin import DiaPlugin
from diagan_plugin.remedies.mixtures.dealing import row_weights
from diagan_plugin.remedies.mixtures.mix_gan import MixGanPlugin
from diagan_plugin.remedies.mixtures.mix_plus_gan import MixPlusGanPlugin, mixture_entropy_term
from diagan_plugin.remedies.mixtures.networks import MixtureGenerator, WeightedDiscriminator
from diagan_plugin.remedies.mixtures.objective import MixtureLoss
from diagan_plugin.remedies.pacgan.plugin import PacGanPlugin
from gan_registry.backbones.base import realness
from gan_registry.errors import UserError
from gan_registry.evaluation.evaluate import evaluate
from gan_registry.hookspecs import hookimpl
from gan_registry.losses.base import Loss
from gan_registry.losses.hinge import Hinge
from gan_registry.losses.logistic import Logistic
from gan_registry.losses.wasserstein import Wasserstein
from gan_registry.training.run import Run


def config(options: dict[str, Any] | None = None, **changes: Any) -> Any:
    made = points_config(LOSS__objective="mix_plus", **changes)
    made.PLUGINS = {"mix_plus_gan": {"generators": 2, "discriminators": 3, **(options or {})}}
    return made


def test_row_weights_by_hand() -> None:
    shares = torch.tensor([0.75, 0.25])
    assert row_weights(shares, 4).tolist() == [1.5, 0.5, 1.5, 0.5]
    # Of five rows three are of the first generator: 0.75 · 5/3 and 0.25 · 5/2.
    assert row_weights(shares, 5).tolist() == pytest.approx([1.25, 0.625, 1.25, 0.625, 1.25])
    with pytest.raises(ValueError, match="at least 2"):
        row_weights(shares, 1)


def test_a_batch_by_hand() -> None:
    """Two generators and two discriminators under the hinge loss, whose terms are plain numbers.

    Rows 0 and 2 are of generator 1, rows 1 and 3 of generator 2. G's terms are −D:
    payoffs L[i][j] = [[−1, −2], [3, −1]]; with w = (3/4, 1/4) and v = (1/2, 1/2) the loss of
    generator 1 is −1.5, that of 2 is 1: L_G = −0.875.
    """
    a = torch.tensor([3.0, 1.0]).log().requires_grad_()
    b = torch.tensor([1.0, 1.0]).log().requires_grad_()
    loss = MixtureLoss(Hinge(realness), lambda: a.softmax(0))
    out = {
        "adv_output": torch.zeros(4),
        "components": [torch.tensor([2.0, -3.0, 0.0, -3.0]), torch.tensor([2.0, 2.0, 2.0, 0.0])],
        "shares": b.softmax(0),
    }
    of_g = loss.generator_terms(out).mean()
    assert of_g.item() == pytest.approx(-0.875)
    # ∂L/∂a_k = w_k (L_k − L): 0.75 · (−1.5 + 0.875) and 0.25 · (1 + 0.875).
    (by_a,) = torch.autograd.grad(of_g, a, retain_graph=True)
    assert by_a.tolist() == pytest.approx([-0.46875, 0.46875])
    assert torch.autograd.grad(of_g, b, allow_unused=True) == (None,)
    # Fake terms max(0, 1 + D): generator 1 has 2 and 3 on average, generator 2 has 0 and 2.
    # Of D_1: 0.75 · 2 + 0.25 · 0 = 1.5; of D_2: 0.75 · 3 + 0.25 · 2 = 2.75.
    of_fake = loss.fake_terms(out).mean()
    assert of_fake.item() == pytest.approx((1.5 + 2.75) / 2)
    # Real terms max(0, 1 − D): 0, 4, 1, 4 and 0, 0, 0, 1.
    of_real = loss.real_terms(out).mean()
    assert of_real.item() == pytest.approx((2.25 + 0.25) / 2)
    # D_1 loses 3.75 and D_2 loses 3: ∂L/∂b_k = v_k (L_k − L).
    (by_b,) = torch.autograd.grad(of_fake + of_real, b)
    assert by_b.tolist() == pytest.approx([0.1875, -0.1875])
    assert torch.autograd.grad(loss.fake_terms(out).mean(), a, allow_unused=True) == (None,)


@pytest.mark.parametrize("kind", [Hinge, Logistic, Wasserstein])
def test_the_loss_of_the_mixture_says_of_its_output_what_the_loss_says(kind: type[Loss]) -> None:
    loss = kind(realness)
    mixture = MixtureLoss(loss, lambda: torch.ones(1))
    for name in ("is_density_ratio", "is_ratio_up_to_constant", "is_shift_invariant"):
        assert getattr(mixture, name) == getattr(loss, name)


def test_the_entropy_term() -> None:
    equal = torch.full((4,), 0.25)
    assert float(mixture_entropy_term(equal)) == pytest.approx(torch.tensor(4.0).log().item())
    b = torch.tensor([1.0, 0.0, -1.0], requires_grad=True)
    (gradient,) = torch.autograd.grad(mixture_entropy_term(b.softmax(0)), b)
    torch.testing.assert_close(gradient, b.detach().softmax(0) - 1 / 3)


class Slope(nn.Module):
    """D(x) = x."""

    def forward(self, x: Tensor, y: Tensor | None = None) -> Tensor:
        return x[:, 0]


class Constant(nn.Module):
    def __init__(self, value: float) -> None:
        super().__init__()
        self.value = value

    def forward(self, z: Tensor, y: Tensor | None = None) -> Tensor:
        return torch.full((len(z), 1), self.value)


def test_the_better_generator_gets_the_larger_weight() -> None:
    """One generator at a mode of the data, one where none are; D tells them apart and stays.

    Without the entropy term the weight goes to 1. With it, it stops where both gradients cancel:
    w (L_1 − L) + λ (w − 1/2) = 0.
    """
    judge = WeightedDiscriminator([Slope()])

    def weight(entropy: float, steps: int) -> float:
        generator = MixtureGenerator([Constant(1.0), Constant(-1.0)], learned=True)
        loss = MixtureLoss(Logistic(realness), lambda: generator.shares)
        for _ in range(steps):
            terms = loss.generator_terms(judge(generator(torch.zeros(4, 1))))
            value = terms.mean() + entropy * mixture_entropy_term(generator.shares)
            (gradient,) = torch.autograd.grad(value, generator.logits)
            with torch.no_grad():
                generator.logits -= gradient
        return float(generator.shares.detach()[0])

    assert 0.5 < weight(0.0, 1) < weight(0.0, 5) < weight(0.0, 200)
    assert weight(0.0, 200) > 0.99
    w = weight(1.0, 200)
    better, worse = (float(softplus(torch.tensor(-x))) for x in (1.0, -1.0))
    assert w * (better - w * better - (1 - w) * worse) + (w - 0.5) == pytest.approx(0, abs=1e-5)
    assert 0.6 < w < 0.9


class Watch:
    """Keeps the last batches of D, and the losses as logged."""

    def __init__(self) -> None:
        self.batches: list[Any] = []
        self.v = self.w = torch.zeros(0)
        self.logged: dict[str, float] = {}

    @hookimpl
    def gan_discriminator_penalty(self, run: Run) -> None:
        self.v = run.discriminator.shares.detach()
        self.w = run.generator.shares.detach()

    @hookimpl
    def gan_discriminator_updated(self, run: Run, batches: Any) -> None:
        self.batches = list(batches)
        self.logged = run.noted()


def test_the_host_plays_the_published_objective() -> None:
    watch = Watch()
    made = config({"entropy": 0.5}, OPTIMIZATION__d_lr=0.5, OPTIMIZATION__g_lr=0.5,
                  OPTIMIZATION__total_steps=3, RUN__print_freq=3)  # fmt: skip
    fit(made, plugins=manager(mix_plus_gan=MixPlusGanPlugin(), watch=watch))
    (batch,) = watch.batches
    w, v = watch.w, watch.v
    assert v.std() > 0.02  # learned by now
    assert w.std() > 0.02
    expected = -0.5 * v.log().sum() / 3
    for j in range(3):
        real, fake = batch.real_out["components"][j], batch.fake_out["components"][j]
        expected = expected + v[j] * softplus(-real).mean()
        for i in range(2):
            expected = expected + v[j] * w[i] * softplus(fake[i::2]).mean()
    assert watch.logged["loss/discriminator"] == pytest.approx(float(expected), rel=1e-5)
    names = {f"mix_plus_gan/{name}" for name in ("w1", "w2", "v1", "v2", "v3")}
    assert names <= set(watch.logged)
    assert watch.logged["mix_plus_gan/v2"] == pytest.approx(float(v[1]))


def test_samples_follow_the_weights_and_all_of_it_is_reported(tmp_path: Path) -> None:
    made = config(MODEL__apply_g_ema=True, MODEL__g_ema_decay=0.5, RUN__sampler="dia",
                  OPTIMIZATION__total_steps=8)  # fmt: skip
    made.PLUGINS["dia"] = DIA
    run = fit(made, tmp_path, manager(mix_plus_gan=MixPlusGanPlugin(), dia=DiaPlugin()))
    generator = run.sampling_generator
    with torch.no_grad():
        generator.logits.copy_(torch.tensor([0.9, 0.1]).log())
    component, _ = generator.eval().route(torch.randn(4000, 2, generator=torch.Generator()))
    assert float((component == 0).double().mean()) == pytest.approx(0.9, abs=0.02)
    x = run.dataset.__getitems__(range(6))[0]
    run.discriminator.eval()
    outputs = torch.stack([d(x)[:, 0] for d in run.discriminator.components])
    expected = (run.discriminator.shares[:, None] * outputs).sum(0)
    torch.testing.assert_close(run.logits(x), expected)
    result = evaluate(run)
    assert result["mix_plus_gan"]["shares"] == pytest.approx([0.9, 0.1])
    assert sum(result["mix_plus_gan"]["discriminator_shares"]) == pytest.approx(1)
    assert result["metrics_drs"]["acceptance_rate"] > 0


def test_regularisers_half_precision_and_other_losses() -> None:
    for changes in (
        {"LOSS__apply_gp": True, "LOSS__apply_lecam": True, "LOSS__apply_fm": True},
        {"RUN__mixed_precision": "bf16"},
        {"LOSS__adv_loss": "hinge", "OPTIMIZATION__acml_steps": 2},
    ):
        run = fit(config(OPTIMIZATION__total_steps=2, **changes),
                  plugins=manager(mix_plus_gan=MixPlusGanPlugin()))  # fmt: skip
        assert run.loss.is_density_ratio == (run.config.LOSS.adv_loss == "logistic")


@pytest.mark.parametrize(
    ("changes", "beside", "message"),
    [
        ({}, {"pacgan": {"size": 2}}, "--pacgan both replace"),
        ({}, {"mix_gan": {"generators": 2}}, "--mix-generators both replace"),
        ({"LOSS__apply_wc": True}, {}, "use LOSS.apply_gp"),
        ({"RUN__sampler": "dia"}, {"dia": {**DIA, "aux_ratio": True}}, "--dia-aux-ratio takes"),
        ({"OPTIMIZATION__batch_size": 15}, {}, "must be a multiple of 2"),
    ],
)
def test_what_cannot_work_is_refused(
    changes: dict[str, Any], beside: dict[str, Any], message: str
) -> None:
    made = config()
    for name, value in changes.items():
        section, _, key = name.partition("__")
        setattr(getattr(made, section), key, value)
    made.PLUGINS |= beside
    plugins = {"pacgan": PacGanPlugin(), "mix_gan": MixGanPlugin(), "dia": DiaPlugin()}
    with pytest.raises(UserError, match=message):
        fit(made, plugins=manager(mix_plus_gan=MixPlusGanPlugin(), **plugins))
