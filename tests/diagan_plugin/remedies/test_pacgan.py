from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from settings import DIA
from small_runs import assert_equal_runs, digits_config, fit, manager, points_config
from torch import Tensor, nn

from diagan_plugin.dia.plugin import DiaPlugin
from diagan_plugin.remedies.loss_weighting.plugin import LossWeightingPlugin
from diagan_plugin.remedies.pacgan.networks import PackedDiscriminator, pack
from diagan_plugin.remedies.pacgan.plugin import PacGanPlugin
from gan_registry.backbones.base import realness
from gan_registry.errors import UserError
from gan_registry.evaluation.evaluate import evaluate
from gan_registry.hookspecs import hookimpl
from gan_registry.losses.hinge import Hinge
from gan_registry.training.run import Run


def config(options: dict[str, Any] | None = None, **changes: Any) -> Any:
    made = points_config(**changes)
    made.PLUGINS = {"pacgan": {"size": 2, **(options or {})}}
    return made


def test_a_batch_by_hand() -> None:
    points = torch.tensor([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0], [7.0, 8.0]])
    assert pack(points, 2).tolist() == [[1, 2, 3, 4], [5, 6, 7, 8]]
    assert torch.equal(pack(points, 1), points)
    images = torch.arange(6 * 3 * 2 * 2).view(6, 3, 2, 2)
    packed = pack(images, 3)
    assert packed.shape == (2, 9, 2, 2)
    assert torch.equal(packed[1, 3:6], images[4])
    assert pack(images[:0], 3).shape == (0, 9, 2, 2)
    for x, m in ((points, 3), (points, 0), (torch.zeros(4), 2)):
        with pytest.raises(ValueError, match="Argument"):
            pack(x, m)


class Table(nn.Module):
    """A free logit for each combination of atoms, given as one-hot channels."""

    def __init__(self, atoms: int, m: int) -> None:
        super().__init__()
        self.atoms = atoms
        self.logits = nn.Parameter(torch.zeros((atoms,) * m))

    def forward(self, x: Tensor, y: None) -> Tensor:
        picked = x.view(len(x), -1, self.atoms).argmax(2)
        return self.logits[tuple(picked.T)]


def test_packs_tell_a_collapsed_generator_from_one_equally_far() -> None:
    """Ten atoms, equally frequent in the data. One generator misses two; the other only tilts.

    Both are at total variation 0.2 from the data, which is what D's best hinge loss, 2 (1 − TV),
    shows. Of pairs the distances are 1 − 64/100 = 0.36 and 25 · (0.14² − 0.1²) = 0.24.
    """
    data = torch.full((10,), 0.1)
    collapsed = torch.tensor([0.0] * 2 + [0.125] * 8)
    tilted = torch.tensor([0.06] * 5 + [0.14] * 5)

    def best_loss(generator: Tensor, m: int) -> float:
        discriminator, loss = PackedDiscriminator(Table(10, m), m), Hinge(realness)
        atoms = torch.cartesian_prod(*[torch.arange(10)] * m).view(-1)
        samples = nn.functional.one_hot(atoms, 10).float()  # each pack once, one after another
        of_data, of_fake = (p[atoms].view(-1, m).prod(1) for p in (data, generator))

        def value() -> Tensor:
            out = discriminator(samples)
            return (of_data * loss.real_terms(out) + of_fake * loss.fake_terms(out)).sum()

        logits = discriminator.packed.logits
        for _ in range(4):  # to the corners of [−1, 1], where D is best
            (gradient,) = torch.autograd.grad(value(), logits)
            with torch.no_grad():
                logits -= 0.25 * gradient.sign()
        return value().item()

    assert best_loss(collapsed, 1) == pytest.approx(2 * (1 - 0.2), abs=1e-5)
    assert best_loss(tilted, 1) == pytest.approx(2 * (1 - 0.2), abs=1e-5)
    assert best_loss(collapsed, 2) == pytest.approx(2 * (1 - 0.36), abs=1e-4)
    assert best_loss(tilted, 2) == pytest.approx(2 * (1 - 0.24), abs=1e-4)


class Watch:
    """Notes what the packing network is shown, and what it answers."""

    def __init__(self) -> None:
        self.seen: list[Tensor] = []
        self.batches: list[Any] = []

    @hookimpl
    def gan_train_start(self, run: Run) -> None:
        run.discriminator.packed.register_forward_pre_hook(
            lambda module, inputs: self.seen.append(inputs[0].detach())
        )

    @hookimpl
    def gan_discriminator_updated(self, run: Run, batches: Any) -> None:
        self.batches += [(len(self.seen), batch) for batch in batches]


def test_packs_never_mix_real_and_generated() -> None:
    watch = Watch()
    fit(config({"size": 4}), plugins=manager(pacgan=PacGanPlugin(), watch=watch))
    assert len(watch.batches) == 6
    for count, batch in watch.batches:
        of_real, of_fake = watch.seen[count - 2 : count]
        assert torch.equal(of_real, batch.real.x.view(4, 8))
        assert torch.equal(of_fake, batch.fake.x.view(4, 8))
        assert batch.real_out.shape == batch.fake_out.shape == (4, 1)


def test_the_generator_is_the_one_of_a_run_without() -> None:
    packed = fit(config(OPTIMIZATION__total_steps=1), plugins=manager(pacgan=PacGanPlugin()))
    alone = fit(points_config(OPTIMIZATION__total_steps=1))
    assert packed.discriminator.packed.body[0].in_features == 4
    one, other = packed.generator.state_dict(), alone.generator.state_dict()
    assert {k: v.shape for k, v in one.items()} == {k: v.shape for k, v in other.items()}
    assert packed.generate(7).x.shape == alone.generate(7).x.shape


def test_images_regularisers_and_accumulation() -> None:
    images = digits_config(OPTIMIZATION__total_steps=2)
    images.PLUGINS = {"pacgan": {"size": 2}}
    run = fit(images, plugins=manager(pacgan=PacGanPlugin()))
    assert run.discriminator(torch.zeros(4, 3, 8, 8)).shape == (2, 1)
    penalised = config(
        LOSS__apply_gp=True, LOSS__apply_lecam=True, LOSS__apply_fm=True, OPTIMIZATION__acml_steps=2
    )
    run = fit(penalised, plugins=manager(pacgan=PacGanPlugin()))
    assert run.step == 6


def with_dia(folder: Path | None = None, **dia: Any) -> Run:
    made = config({"unpacked": True}, OPTIMIZATION__total_steps=8, RUN__sampler="dia",
                  RUN__save_freq=2, RUN__keep_checkpoints=9)  # fmt: skip
    made.PLUGINS["dia"] = {**DIA, **dia}
    return fit(made, folder, manager(pacgan=PacGanPlugin(), dia=DiaPlugin()))


def test_an_unpacked_discriminator_serves_dia(tmp_path: Path) -> None:
    run = with_dia(tmp_path)
    x = run.dataset.__getitems__(range(5))[0]
    assert torch.equal(run.logits(x), run.discriminator.unpacked(x)[:, 0])
    auxiliary = run.additions["dia.auxiliary"]
    assert auxiliary(x).shape == (5, 1)
    assert not torch.equal(auxiliary(x), run.discriminator(x))
    result = evaluate(run)
    assert result["metrics_drs"]["acceptance_rate"] > 0
    for path in (tmp_path / "checkpoints").iterdir():
        if int(path.stem.removeprefix("step-")) > 6:
            path.unlink()
    resumed = with_dia(tmp_path)
    assert resumed.first_step == 6
    assert_equal_runs(resumed, run)


def test_single_samples_are_learned_by_the_same_loss() -> None:
    """Without Dia it is D's own copy of an unpacked run's training, but for G's updates."""
    made = config({"unpacked": True}, OPTIMIZATION__g_updates_per_step=1, OPTIMIZATION__g_lr=1e-30)
    beside = fit(made, plugins=manager(pacgan=PacGanPlugin())).discriminator.unpacked
    alone = fit(points_config(OPTIMIZATION__g_lr=1e-30)).discriminator
    for name, value in alone.state_dict().items():
        torch.testing.assert_close(beside.state_dict()[name], value, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize(
    ("options", "changes", "beside", "message"),
    [
        ({"size": 3}, {}, {}, "must be a multiple of 3"),
        ({}, {}, {"dia": {**DIA, "diagnose": True}}, "--diagnose reads.*add --pacgan-unpacked"),
        ({}, {"RUN__sampler": "dia"}, {"dia": DIA}, "--sampler dia reads.*--pacgan-unpacked"),
        ({"unpacked": True}, {"RUN__sampler": "dia"}, {"dia": {**DIA, "record": "stream"}},
         "use --dia-record sweep"),
        ({"unpacked": True}, {"RUN__sampler": "dia"}, {"dia": {**DIA, "aux_ratio": True}},
         "--dia-aux-ratio reads"),
        ({}, {}, {"dia": DIA, "loss_weighting": {"by": "ldr"}}, "weights single samples"),
        ({}, {"RUN__samples": "drs"}, {}, "--samples drs asks D about single samples"),
    ],
)  # fmt: skip
def test_what_cannot_work_is_refused(
    options: dict[str, Any], changes: dict[str, Any], beside: dict[str, Any], message: str
) -> None:
    made = config(options, **changes)
    made.PLUGINS |= beside
    plugins = {"dia": DiaPlugin(), "loss_weighting": LossWeightingPlugin()}
    with pytest.raises(UserError, match=message):
        fit(made, plugins=manager(pacgan=PacGanPlugin(), **plugins))


@pytest.mark.parametrize(
    ("backbone", "message"),
    [({"conditional": True}, "several labels"), ({"rotation_loss": print}, "use sngan")],
)
def test_backbones_that_judge_single_images_are_refused(
    backbone: dict[str, Any], message: str
) -> None:
    run: Any = SimpleNamespace(
        options={"pacgan": {"size": 2, "unpacked": False}},
        backbone=SimpleNamespace(**backbone),
        config=SimpleNamespace(MODEL=SimpleNamespace(backbone="x")),
    )
    with pytest.raises(UserError, match=message):
        PacGanPlugin().gan_models_ready(run)


def test_samples_that_make_no_packs_are_refused_by_remedy() -> None:
    run = fit(config(OPTIMIZATION__total_steps=1), plugins=manager(pacgan=PacGanPlugin()))
    with pytest.raises(UserError, match=r"packs of 2 samples and got 5.*--pacgan-unpacked"):
        run.logits(torch.zeros(5, 2))
