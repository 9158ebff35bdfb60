from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from scipy import stats
from settings import DIA
from small_runs import fit, manager, points_config
from torch import Tensor, nn

from diagan_plugin.dia.plugin import DiaPlugin
from diagan_plugin.remedies.mixtures.dealing import class_owners, deal_latents
from diagan_plugin.remedies.mixtures.mix_gan import MixGanPlugin
from diagan_plugin.remedies.mixtures.networks import MixtureGenerator, RoutedDiscriminator
from diagan_plugin.remedies.pacgan.plugin import PacGanPlugin
from gan_registry.errors import UserError
from gan_registry.evaluation.evaluate import evaluate
from gan_registry.report.document import Report


class Marker(nn.Module):
    """Returns its own number, beside what it was given."""

    def __init__(self, number: int) -> None:
        super().__init__()
        self.number = number
        self.scale = nn.Parameter(torch.ones(()))

    def forward(self, x: Tensor, y: Tensor | None = None) -> Tensor:
        return torch.stack([torch.full((len(x),), float(self.number)), self.scale * x[:, 0]], 1)


def markers(count: int) -> list[Marker]:
    return [Marker(number) for number in range(count)]


def config(options: dict[str, Any] | None = None, **changes: Any) -> Any:
    made = points_config(**changes)
    made.PLUGINS = {"mix_gan": {"generators": 2, "discriminators": 2, **(options or {})}}
    return made


def test_a_batch_by_hand() -> None:
    z = torch.arange(12.0)[:, None]
    made = MixtureGenerator(markers(3))(z)
    assert made[:, 0].tolist() == [0, 1, 2] * 4
    assert made[:, 1].tolist() == z[:, 0].tolist()
    judged = RoutedDiscriminator(markers(2), 3)(made)
    # Each discriminator sees as many samples of each generator.
    assert judged[:, 0].tolist() == [0, 0, 0, 1, 1, 1] * 2
    assert torch.equal(judged[:, 1], made[:, 0])


@pytest.mark.parametrize(("size", "generators", "judges"), [(1, 3, 2), (7, 2, 3), (8, 1, 1)])
def test_every_row_comes_back_to_its_place(size: int, generators: int, judges: int) -> None:
    z = torch.arange(float(size))[:, None]
    made = MixtureGenerator(markers(generators))(z)
    assert made[:, 1].tolist() == z[:, 0].tolist()
    judged = RoutedDiscriminator(markers(judges), generators)(z)
    assert judged[:, 1].tolist() == z[:, 0].tolist()


def test_in_evaluation_discriminators_answer_together_in_any_form() -> None:
    class Forms(Marker):
        def forward(self, x: Tensor, y: Tensor | None = None) -> Any:
            out = super().forward(x)
            return {"adv_output": out[:, 0], "more": (out, [out[:, 1]]), "none": None}

    discriminator = RoutedDiscriminator([Forms(0), Forms(4)], 1)
    x = torch.arange(4.0)[:, None]
    routed = discriminator(x)
    assert routed["adv_output"].tolist() == [0, 4, 0, 4]
    assert routed["more"][1][0].tolist() == x[:, 0].tolist()
    assert routed["none"] is None
    assert discriminator.eval()(x)["adv_output"].tolist() == [2, 2, 2, 2]


def test_each_discriminator_learns_from_its_rows_alone() -> None:
    discriminator = RoutedDiscriminator(markers(2), 1)
    weights = torch.tensor([1.0, 0.0, 1.0, 0.0])
    (weights * discriminator(torch.ones(4, 1))[:, 1]).sum().backward()
    assert [float(m.scale.grad) for m in discriminator.components] == [2.0, 0.0]


@pytest.mark.parametrize("prior", ["gaussian", "uniform"])
def test_latents_name_a_generator_and_stay_of_the_prior(prior: str) -> None:
    rng = torch.Generator().manual_seed(0)
    shape, shares = (6000, 2), torch.tensor([[0.5, 0.3, 0.2]])
    z = torch.randn(shape, generator=rng) if prior == "gaussian" else (
        torch.rand(shape, generator=rng) * 2 - 1)  # fmt: skip
    component, renewed = deal_latents(z, shares, prior)
    counts = component.bincount(minlength=3)
    assert stats.chisquare(counts.numpy(), [3000, 1800, 1200]).pvalue > 0.01
    law = stats.norm() if prior == "gaussian" else stats.uniform(-1, 2)
    for i in range(3):
        assert stats.kstest(renewed[component == i, 0].numpy(), law.cdf).pvalue > 0.01
    assert torch.equal(renewed[:, 1], z[:, 1])
    alone, same = deal_latents(z, torch.ones(1, 1), prior)
    assert same is z
    assert not alone.any()


def test_extreme_latents_and_shares_stay_finite() -> None:
    z = torch.tensor([[-40.0], [40.0], [0.0], [float("inf")]])
    for shares in ([[0.0, 1.0, 0.0]], [[1.0, 0.0, 0.0]], [[0.0, 0.0, 1.0]]):
        component, renewed = deal_latents(z, torch.tensor(shares))
        assert set(component.tolist()) == {shares[0].index(1.0)}
        assert renewed.isfinite().all()
    assert deal_latents(z[:0], torch.tensor([[0.5, 0.5]]))[1].shape == (0, 1)


def test_a_sample_follows_from_its_latent_alone() -> None:
    generator = MixtureGenerator(markers(3)).eval()
    z = torch.randn(50, 2, generator=torch.Generator().manual_seed(1))
    together = generator(z)
    alone = torch.cat([generator(row[None]) for row in z])
    assert torch.equal(together, alone)
    assert set(together[:, 0].tolist()) == {0, 1, 2}


def test_classes_are_divided() -> None:
    assert class_owners(10, 5) == [(0,), (0,), (1,), (1,), (2,), (2,), (3,), (3,), (4,), (4,)]
    assert [owner for (owner,) in class_owners(10, 3)] == [0, 0, 0, 0, 1, 1, 1, 2, 2, 2]
    assert class_owners(2, 5) == [(0, 2, 4), (1, 3)]
    generator = MixtureGenerator(markers(5), owners=class_owners(2, 5))
    z = torch.randn(300, 2, generator=torch.Generator().manual_seed(0))
    y = torch.arange(300) % 2
    for _ in range(2):
        made = generator(z, y)[:, 0]
        assert set(made[y == 0].tolist()) == {0, 2, 4}
        assert set(made[y == 1].tolist()) == {1, 3}
        generator.eval()
    with pytest.raises(ValueError, match="must be labels"):
        generator(z)


def test_a_generator_without_samples_has_a_gradient_of_zero() -> None:
    generator = MixtureGenerator(markers(2), owners=class_owners(2, 2))
    generator(torch.ones(3, 1), torch.zeros(3, dtype=torch.int64))[:, 1].sum().backward()
    assert float(generator.components[1].scale.grad) == 0.0
    assert float(generator.components[0].scale.grad) != 0.0


def test_two_generators_leave_the_space_between_two_modes_empty() -> None:
    """Data at −1 and 1; generators are affine, so that one alone covers what lies between."""

    def worst_share(count: int) -> float:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            generators = [nn.Linear(1, 1) for _ in range(count)]
            network = [nn.Linear(1, 16), nn.Tanh(), nn.Linear(16, 1)]
        with torch.no_grad():
            for generator, at in zip(generators, (0.2, -0.2), strict=False):
                generator.weight.fill_(0.5)
                generator.bias.fill_(at)
        mixture = MixtureGenerator([Affine(generator) for generator in generators], prior="uniform")
        judge = nn.Sequential(*network)
        optimizers = [torch.optim.Adam(part.parameters(), 0.02, (0.0, 0.9))
                      for part in (mixture, judge)]  # fmt: skip
        rng = torch.Generator().manual_seed(0)
        signs = torch.tensor([1.0, 1.0, -1.0, -1.0]).repeat(8)[:, None]
        for _ in range(300):
            real = signs + 0.1 * torch.randn(32, 1, generator=rng)
            z = torch.rand(32, 1, generator=rng) * 2 - 1
            fake = mixture(z)
            of_d = softplus(-judge(real)).mean() + softplus(judge(fake.detach())).mean()
            optimizers[1].zero_grad()
            of_d.backward()
            optimizers[1].step()
            optimizers[0].zero_grad()
            softplus(-judge(fake)).mean().backward()
            optimizers[0].step()
        x = mixture.eval()(torch.rand(2000, 1, generator=rng) * 2 - 1).detach()
        return min(float(((x - mode).abs() < 0.5).float().mean()) for mode in (-1, 1))

    assert worst_share(1) < 0.35
    assert worst_share(2) > 0.4


softplus = nn.functional.softplus


class Affine(nn.Module):
    def __init__(self, layer: nn.Linear) -> None:
        super().__init__()
        self.layer = layer

    def forward(self, z: Tensor, y: Tensor | None = None) -> Tensor:
        made: Tensor = self.layer(z)
        return made


def test_networks_start_apart_and_follow_from_the_seed() -> None:
    runs = [fit(config({"generators": 3, "discriminators": 1}, OPTIMIZATION__batch_size=15,
                       OPTIMIZATION__total_steps=1, OPTIMIZATION__g_lr=1e-30),
                plugins=manager(mix_gan=MixGanPlugin())) for _ in range(2)]  # fmt: skip
    first = [[g.layers[0].weight for g in run.generator.components] for run in runs]
    for one, other in zip(*first, strict=True):
        assert torch.equal(one, other)
    for i in range(3):
        for k in range(i):
            assert (first[0][i] - first[0][k]).abs().max() > 0.1


def test_with_dia_the_ratio_is_the_mean_and_all_of_it_is_reported(tmp_path: Path) -> None:
    made = config(MODEL__apply_g_ema=True, MODEL__g_ema_decay=0.5, RUN__sampler="dia",
                  OPTIMIZATION__total_steps=8)  # fmt: skip
    made.PLUGINS["dia"] = DIA
    plugin = MixGanPlugin()
    run = fit(made, tmp_path, manager(mix_gan=plugin, dia=DiaPlugin()))
    x = run.dataset.__getitems__(range(6))[0]
    run.discriminator.eval()
    each = torch.stack([run.loss.log_density_ratio(d(x)) for d in run.discriminator.components])
    torch.testing.assert_close(run.logits(x), each.mean(0))
    assert run.backbone.features(x).shape == (6, 16)
    result = evaluate(run)
    assert result["mix_gan"]["shares"] == [0.5, 0.5]
    assert len(result["mix_gan"]["groups"]) == 2
    assert result["metrics_drs"]["acceptance_rate"] > 0
    report = Report("A run")
    plugin.gan_report(run, report)
    (section,) = report.sections
    table, *figures = section.blocks
    assert [row[:2] for row in table.rows] == [["Generator 1", 0.5], ["Generator 2", 0.5]]
    assert len(figures) == 2
    assert "Generator 2" in report.html()


def test_regularisers_and_half_precision() -> None:
    for changes in (
        {"LOSS__apply_gp": True, "LOSS__apply_zcr": True, "LOSS__apply_fm": True},
        {"RUN__mixed_precision": "bf16", "OPTIMIZATION__acml_steps": 2},
    ):
        run = fit(config(OPTIMIZATION__total_steps=2, **changes),
                  plugins=manager(mix_gan=MixGanPlugin()))  # fmt: skip
        assert run.step == 2


@pytest.mark.parametrize(
    ("options", "changes", "beside", "message"),
    [
        ({}, {}, {"pacgan": {"size": 2}}, "use one of the two"),
        ({"generators": 3}, {}, {}, "must be a multiple of 6"),
        ({"classes": "subset"}, {}, {}, "set MODEL.g_cond_mtd"),
    ],
)
def test_what_cannot_work_is_refused(
    options: dict[str, Any], changes: dict[str, Any], beside: dict[str, Any], message: str
) -> None:
    made = config(options, **changes)
    made.PLUGINS |= beside
    with pytest.raises(UserError, match=message):
        fit(made, plugins=manager(mix_gan=MixGanPlugin(), pacgan=PacGanPlugin()))
