"""What a dry run says a run will cost, by a clock of its own, and what it says without the data."""

from __future__ import annotations

import re
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from small_runs import manager, points_config
from torch import Tensor, nn

from gan_registry.backbones.base import Backbone
from gan_registry.cli.main import main
from gan_registry.config.schema import Config
from gan_registry.errors import PluginError, UserError
from gan_registry.hookspecs import hookimpl
from gan_registry.training import cost
from gan_registry.training.plan import describe_plan
from gan_registry.training.weightless import operations, weightless

BATCH = 64
BUDGET = 10.0  # seconds that a dry run may measure for


class Clock:
    """Seconds that pass only where a network says so."""

    now = 0.0


class Costly(nn.Linear):
    """A network whose passes take so many seconds a sample, forward and twice that backward."""

    def __init__(self, clock: Clock, seconds: float, outputs: int) -> None:
        super().__init__(2, outputs)
        self.clock, self.seconds = clock, seconds
        self.passed: list[int] = []

    def forward(self, x: Tensor, y: Tensor | None = None) -> Tensor:
        self.passed.append(len(x))
        self.clock.now += self.seconds * len(x)
        out = super().forward(x)
        if out.requires_grad:
            out.register_hook(lambda gradient: self._spend(2 * len(gradient)))
        return out

    def _spend(self, samples: int) -> None:
        self.clock.now += self.seconds * samples


class Networks:
    """Brings a backbone of such networks."""

    def __init__(self, clock: Clock, of_g: float, of_d: float) -> None:
        self.clock, self.of_g, self.of_d = clock, of_g, of_d
        self.made: list[Backbone] = []

    @hookimpl
    def gan_register(self, catalogs: Any) -> None:
        catalogs.backbones.register("costly", self.build)

    def build(self, config: Config, sample_shape: Any, num_classes: int, seed: int) -> Backbone:
        self.made.append(
            Backbone(
                partial(Costly, self.clock, self.of_g, 2),
                partial(Costly, self.clock, self.of_d, 1),
                z_dim=2, seed=seed,
            )
        )  # fmt: skip
        return self.made[-1]


def dry_run(
    monkeypatch: pytest.MonkeyPatch, of_g: float, of_d: float, **changes: Any
) -> tuple[str, float, Backbone]:
    """Returns the plan, the seconds that it took, and the throw-away networks."""
    clock = Clock()
    networks = Networks(clock, of_g, of_d)
    monkeypatch.setattr(cost, "time", SimpleNamespace(perf_counter=lambda: clock.now))
    config = points_config(
        MODEL__backbone="costly", OPTIMIZATION__batch_size=BATCH, OPTIMIZATION__total_steps=500,
        OPTIMIZATION__d_updates_per_step=3, **changes,
    )  # fmt: skip
    config.MODEL.backbone = "costly"
    text = describe_plan(config, manager(networks=networks), {}, "x", Path("runs", "x"))
    return text, clock.now, networks.made[-1]


def milliseconds(text: str) -> float:
    found = re.search(r"^a step +([\d.]+) ms", text, re.MULTILINE)
    assert found is not None
    return float(found[1])


def step(of_g: float, of_d: float) -> float:
    """A step's seconds: three updates of D and one of G, with 64 samples each.

    D's update passes them through G and, real and generated, through D forward and backward; G's
    passes them through both networks, forward and backward.
    """
    return BATCH * (3 * (of_g + 2 * 3 * of_d) + 3 * of_g + 3 * of_d)


def test_a_quick_step_is_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    text, took, backbone = dry_run(monkeypatch, 2e-5, 1e-5)
    assert milliseconds(text) == pytest.approx(1000 * step(2e-5, 1e-5), abs=0.051)
    assert "estimated" not in text
    assert BATCH in backbone.discriminator.passed
    assert took < BUDGET


@pytest.mark.parametrize(("of_g", "of_d"), [(0.1, 0.05), (1.0, 0.02), (0.001, 0.3)])
def test_a_step_that_takes_long_is_never_taken_but_estimated(
    of_g: float, of_d: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    text, took, backbone = dry_run(monkeypatch, of_g, of_d)
    assert took < BUDGET < step(of_g, of_d)
    assert max(backbone.generator.passed + backbone.discriminator.passed) < BATCH
    assert milliseconds(text) == pytest.approx(1000 * step(of_g, of_d), rel=1e-3)
    assert "ms (estimated from forward passes)" in text
    assert all(p.grad is None for p in backbone.discriminator.parameters())


@pytest.mark.parametrize("of_d", [1e-3, 3e-3, 5e-3])
def test_measuring_ends_when_its_time_is_used(of_d: float, monkeypatch: pytest.MonkeyPatch) -> None:
    text, took, _ = dry_run(monkeypatch, 1e-4, of_d)
    assert took < BUDGET
    assert milliseconds(text) == pytest.approx(1000 * step(1e-4, of_d), rel=0.01)


# --- without the data ----------------------------------------------------------------------------


@pytest.mark.parametrize("where", [[], ["--data", "nowhere"]])
def test_without_the_data_the_plan_ends_before_them(
    where: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    assert main(["train", "--config", "cifar10_mixgan", "--dry-run", *where]) == 0
    out = capsys.readouterr().out
    assert re.search(r"^training samples +unknown$", out, re.MULTILINE)
    assert re.search(r"^estimate, in all +none without the data$", out, re.MULTILINE)
    assert re.search(r"^steps +100000$", out, re.MULTILINE)
    assert "name: CIFAR10" in out
    assert "--download" in out.splitlines()[-1]
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("setting", "says"),
    [
        ("DATA.options.groups=5", "DATA.options.groups"),
        ("DATA.options.spilt=test", "spilt"),
        ("MODEL.backbone=dcgn", "dcgn"),
        ("RUN.sampler=unifrom", "unifrom"),
    ],
)
def test_mistakes_are_refused_also_without_the_data(
    setting: str, says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["train", "--config", "cifar10_mixgan", "--dry-run", "--set", setting]
    assert main(arguments) == 2
    assert says in capsys.readouterr().err


class Listed:
    """Has options that YAML has no type for."""

    @hookimpl
    def gan_add_options(self, parser: Any) -> None:
        parser.add_argument("--list", dest="listed.path", type=Path, default=Path("some.txt"))


def test_what_yaml_has_no_type_for_is_shown_as_text() -> None:
    plugins = manager(listed=Listed())
    options = plugins.options.resolve({})
    shown = describe_plan(points_config(), plugins, options, "x", Path("x"))
    assert "  listed:\n    path: some.txt\n" in shown


# --- factories of others -------------------------------------------------------------------------


class Factory:
    """Registers any callable as a backbone."""

    def __init__(self, factory: Any) -> None:
        self.factory = factory

    @hookimpl
    def gan_register(self, catalogs: Any) -> None:
        catalogs.backbones.register("theirs", self.factory)


def plan_of(factory: Any) -> str:
    config = points_config()
    config.MODEL.backbone = "theirs"
    return describe_plan(config, manager(other=Factory(factory)), {}, "x", Path("runs", "x"))


def a_pair(config: Any, sample_shape: Any, num_classes: int, seed: int) -> Any:
    return nn.Linear(2, 2), nn.Linear(2, 1)


@pytest.mark.parametrize(
    ("factory", "got"),
    [
        (a_pair, "is a tuple"),
        (lambda config, sample_shape, num_classes, seed: None, "is a NoneType"),
        (lambda config: None, r"takes \(config\) \(too many positional arguments\)"),
        (lambda *, config, seed: None, r"takes \(\*, config, seed\)"),
        (lambda a, b, c, d, e: None, r"takes \(a, b, c, d, e\) \(missing a required argument"),
    ],
)
def test_a_backbone_by_another_contract_names_its_plugin(factory: Any, got: str) -> None:
    expected = (
        r"what is expected is a factory \(config, sample_shape, num_classes, seed\) that returns a "
        r"gan_registry\.backbones\.base\.Backbone\.$"
    )
    with pytest.raises(PluginError, match=rf"^The backbone 'theirs' of 'other' {got}.*{expected}"):
        plan_of(factory)


def test_a_mistake_inside_of_a_factory_stays_what_it_is() -> None:
    def broken(config: Any, sample_shape: Any, num_classes: int, seed: int) -> Any:
        return torch.ones(2) + "x"

    with pytest.raises(TypeError, match="unsupported operand") as caught:
        plan_of(broken)
    assert not isinstance(caught.value, UserError)


# --- without weights -----------------------------------------------------------------------------


class Vast(nn.Module):
    """A network of 40 GB: two layers of 5·10⁹ weights."""

    def __init__(self, outputs: int, wide: int = 70_000) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(2, wide), nn.Linear(wide, wide), nn.ReLU())
        self.head = nn.utils.parametrizations.spectral_norm(nn.Linear(wide, outputs))

    def forward(self, x: Tensor, y: Tensor | None = None) -> Tensor:
        out: Tensor = self.head(self.layers(x))
        return out


def pair(generator: Any, discriminator: Any) -> Any:
    def build(config: Config, sample_shape: Any, num_classes: int, seed: int) -> Backbone:
        return Backbone(partial(generator, 2), partial(discriminator, 1), z_dim=2, seed=seed)

    return build


def test_networks_that_no_memory_holds_are_counted() -> None:
    text = plan_of(pair(Vast, Vast))
    wide = 70_000
    of_g = 3 * wide + wide * wide + wide + 2 * wide + 2
    assert re.search(rf"^parameters of G +{of_g:,}$", text, re.MULTILINE)
    assert re.search(rf"^parameters of D +{of_g - wide - 1:,}$", text, re.MULTILINE)
    assert "ms (estimated from the operations of its networks)" in text


def test_operations_are_those_of_the_layers() -> None:
    with weightless():
        network = nn.Sequential(
            nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8), nn.Flatten(), nn.Linear(8 * 16, 5)
        )
        x = torch.empty(2, 3, 4, 4)
    assert operations(network, x) == 2 * 2 * (8 * 16 * 27 + 5 * 128)
    assert all(parameter.is_meta for parameter in network.parameters())


def test_only_tensors_without_memory_are_left_alone() -> None:
    with weightless():
        real = torch.empty(3, device="cpu")
        nn.init.ones_(real)
        assert real.fill_(2.0).tolist() == [2.0] * 3
        assert nn.functional.normalize(real, dim=0).sum() < 2.0
        assert nn.Linear(3, 3).weight.is_meta
    assert not torch.empty(3).is_meta


class Computing(nn.Linear):
    """A network that looks at its weights while it is made, which only real ones bear."""

    def __init__(self, outputs: int) -> None:
        super().__init__(2, outputs)
        self.scale = float(self.weight.norm())

    def forward(self, x: Tensor, y: Tensor | None = None) -> Tensor:
        return super().forward(x) / self.scale


def test_networks_that_need_weights_have_them() -> None:
    text = plan_of(pair(Computing, Computing))
    assert re.search(r"^parameters of G +6$", text, re.MULTILINE)
    assert re.search(r"^a step +[\d.]+ ms$", text, re.MULTILINE)


class Choosy:
    """Refuses or changes networks."""

    def __init__(self, act: Any) -> None:
        self.act, self.runs = act, list[Any]()

    @hookimpl
    def gan_models_ready(self, run: Any) -> None:
        self.runs.append(run)
        self.act(run)


def refuse(run: Any) -> None:
    raise UserError("No such networks.")


def widen(run: Any) -> None:
    run.discriminator = nn.Sequential(run.discriminator, nn.Linear(1, 1))


def compute(run: Any) -> None:
    widen(run)
    run.add("choosy.more", nn.Linear(3, 3, device="cpu"))
    assert float(next(run.generator.parameters()).sum()) != 0


@pytest.mark.parametrize(("act", "runs"), [(widen, 1), (compute, 2)])
def test_plugins_change_the_networks_before_they_are_counted(act: Any, runs: int) -> None:
    plain = describe_plan(points_config(), manager(), {}, "x", Path("runs", "x"))
    choosy = Choosy(act)
    text = describe_plan(points_config(), manager(choosy=choosy), {}, "x", Path("runs", "x"))
    before, after = (
        int(re.findall(r"^parameters of D +([\d,]+)$", each, re.MULTILINE)[0].replace(",", ""))
        for each in (plain, text)
    )
    assert after == before + 2
    assert len(choosy.runs) == runs
    assert all(run.device.type == "cpu" for run in choosy.runs)


def test_what_plugins_refuse_is_refused() -> None:
    with pytest.raises(UserError, match=r"^No such networks\.$"):
        describe_plan(points_config(), manager(it=Choosy(refuse)), {}, "x", Path("runs", "x"))
