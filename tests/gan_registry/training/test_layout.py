"""Networks in channels-last where they work in it, and in torch's own layout where they do not."""

from __future__ import annotations

import copy
import logging
import random
import shutil
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from small_runs import assert_equal_runs, digits_config, fit, manager, points_config
from torch import Tensor, nn

from gan_registry import PluginManager
from gan_registry.backbones.base import Backbone
from gan_registry.errors import PluginError, UserError
from gan_registry.hookspecs import hookimpl
from gan_registry.training import build
from gan_registry.training.plan import describe_plan
from gan_registry.training.run import Run


class Generator(nn.Module):
    """Two layers with batch norm; `flat` calls `.view` on the output of a convolution."""

    def __init__(self, z_dim: int, flat: bool) -> None:
        super().__init__()
        self.first = nn.ConvTranspose2d(z_dim, 4, 4)
        self.norm = nn.BatchNorm2d(4)
        self.last = nn.Conv2d(4, 3, 3, 1, 1)
        self.flat = flat

    def forward(self, z: Tensor, y: Tensor | None = None) -> Tensor:
        x = self.norm(self.first(z[:, :, None, None])).relu()
        if self.flat:
            x = x.view(-1, 4 * 4 * 4).view(-1, 4, 4, 4)
        return self.last(nn.functional.interpolate(x, scale_factor=2)).tanh()


class Discriminator(nn.Module):
    """As in the paper's code, a convolution and `x.view(-1, 4*4*512)`, of 4 channels here."""

    def __init__(self, view: str, in_channels: int = 3) -> None:
        super().__init__()
        self.view = view
        self.conv = nn.utils.spectral_norm(nn.Conv2d(in_channels, 4, 4, 2, 1))
        self.dropout = nn.Dropout(0.3)
        self.head = nn.Linear(4 * 4 * 4, 1)

    def features(self, x: Tensor) -> Tensor:
        x = self.dropout(nn.functional.leaky_relu(self.conv(x)))
        if self.view == "wrong":
            raise RuntimeError("shapes that\nnever match")
        flat = self.view == "always" or (self.view == "evaluation" and not self.training)
        return x.view(-1, 4 * 4 * 4) if flat else x.flatten(1)

    def forward(self, x: Tensor, y: Tensor | None = None) -> Tensor:
        if self.view == "backward":
            x = Strict.apply(x)
        return self.head(self.features(x))


class Strict(torch.autograd.Function):
    """An operation of one's own whose gradient flattens by `.view`."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return x.clone(memory_format=torch.contiguous_format)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        return gradient.view(-1).clone().view(gradient.shape)


class Flat(nn.Linear):
    """A discriminator without convolutions, of images that it flattens by `.view`."""

    def __init__(self, in_channels: int = 3) -> None:
        super().__init__(in_channels * 8 * 8, 1)

    def forward(self, x: Tensor, y: Tensor | None = None) -> Tensor:
        return super().forward(x.view(len(x), -1))


class Theirs:
    """Somebody's plugin with a backbone."""

    def __init__(self, generator: Any, discriminator: Any) -> None:
        self.parts = generator, discriminator

    @hookimpl
    def gan_register(self, catalogs: Any) -> None:
        catalogs.backbones.register("theirs", self.build)

    def build(self, config: Any, sample_shape: Any, num_classes: int, seed: int) -> Backbone:
        return Backbone(*self.parts, z_dim=config.MODEL.z_dim, seed=seed)


def theirs(flat: bool = False, view: str = "never") -> Theirs:
    return Theirs(
        partial(Generator, z_dim=8, flat=flat), partial(Discriminator, view=view, in_channels=3)
    )


def config_of(**changes: Any) -> Any:
    config = digits_config(MODEL__d_dropout=0.0, MODEL__d_bn=False, **changes)
    config.MODEL.backbone = "theirs"
    return config


def trained(plugin: Theirs, steps: int = 2, **changes: Any) -> Run:
    return fit(config_of(OPTIMIZATION__total_steps=steps, **changes), None, manager(other=plugin))


def layouts(run: Run) -> tuple[bool, bool]:
    """Whether G and D run channels-last."""
    return not run.generator.last.weight.is_contiguous(), (
        isinstance(run.discriminator, Discriminator)
        and not run.discriminator.conv.weight_orig.is_contiguous()
    )


FALLS_BACK = [
    (theirs(flat=True), (False, True)),
    (theirs(view="always"), (False, False)),
    (theirs(view="evaluation"), (False, False)),
    (theirs(flat=True, view="always"), (False, False)),
    (Theirs(partial(Generator, z_dim=8, flat=False), partial(Flat, in_channels=3)), (False, False)),
]
NAMES = ["G", "D", "D in evaluation", "both", "D without convolutions"]


@pytest.mark.parametrize(("plugin", "expected"), FALLS_BACK, ids=NAMES)
def test_networks_that_view_are_left_contiguous(
    plugin: Theirs, expected: tuple[bool, bool], caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        run = trained(plugin)
    assert layouts(run) == expected
    (line,) = [record.getMessage() for record in caplog.records]
    assert line.startswith("RUN.channels_last: ")
    assert "'theirs' of 'other'" in line
    assert "view size is not compatible" in line
    assert "\n" not in line
    assert ("G of" in line) == (expected == (False, True))


def test_a_view_of_a_gradient_counts_too() -> None:
    assert layouts(trained(theirs(view="backward"))) == (False, False)


def test_networks_that_work_are_channels_last_without_a_word(
    caplog: pytest.LogCaptureFixture,
) -> None:
    assert layouts(trained(theirs())) == (True, True)
    assert not caplog.records


def test_the_key_decides(caplog: pytest.LogCaptureFixture) -> None:
    assert layouts(trained(theirs(), RUN__channels_last=False)) == (False, False)
    assert layouts(trained(theirs(), RUN__channels_last=True)) == (True, True)
    assert layouts(trained(theirs(view="always"), RUN__channels_last=False)) == (False, False)
    assert not caplog.records
    with pytest.raises(UserError, match=r"^RUN\.channels_last is true, but .*'theirs'.*view size"):
        trained(theirs(view="always"), RUN__channels_last=True)


def test_an_error_of_the_network_itself_names_its_plugin_in_one_line() -> None:
    with pytest.raises(PluginError) as caught:
        trained(theirs(view="wrong"))
    assert str(caught.value) == (
        "The backbone 'theirs' of 'other' fails with 32 samples: RuntimeError: shapes that never "
        "match"
    )


def test_a_copy_that_cannot_be_made_leaves_networks_contiguous(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(self: Any, memo: Any) -> Any:
        raise TypeError("no copies of this")

    monkeypatch.setattr(Generator, "__deepcopy__", refuse, raising=False)
    assert layouts(trained(theirs())) == (False, False)
    assert "no copies of this" in caplog.text


class Witness:
    """Notes the networks and the random states when they are handed to plugins, and after."""

    @hookimpl
    def gan_models_ready(self, run: Run) -> None:
        self.networks = run.generator, run.discriminator
        for number, parameter in enumerate(run.generator.parameters()):
            parameter.grad = torch.full_like(parameter, number)
        run.discriminator.eval()
        self.before = self.noted()

    def noted(self) -> list[Any]:
        found: list[Any] = [random.getstate(), np.random.get_state()[1].tolist()]  # noqa: NPY002
        found.append(torch.get_rng_state().tolist())
        for network in self.networks:
            found += [copy.deepcopy(network.state_dict()), [m.training for m in network.modules()]]
            for parameter in network.parameters():
                found += [parameter.requires_grad, copy.deepcopy(parameter.grad)]
        return found


@pytest.mark.parametrize("view", ["never", "always"])
def test_trying_leaves_no_trace(view: str, monkeypatch: pytest.MonkeyPatch) -> None:
    witness, seen = Witness(), []
    lay_out = build.lay_out

    def observed(run: Run, replaced: bool) -> None:
        lay_out(run, replaced)
        seen.append(witness.noted())

    monkeypatch.setattr(build, "lay_out", observed)
    config = config_of(OPTIMIZATION__total_steps=1)
    fit(config, None, manager(other=theirs(view=view), witness=witness))
    torch.testing.assert_close(seen[0], witness.before, rtol=0, atol=0)


@pytest.mark.parametrize("extra", [{"pacgan": {"size": 4}}, {"mix_gan": {"generators": 2}}])
def test_networks_that_plugins_put_in_their_place_follow(extra: dict[str, Any]) -> None:
    found = []
    for view in ("never", "always"):
        plugins = PluginManager()
        plugins.register(theirs(view=view), "other")
        config = config_of(OPTIMIZATION__total_steps=2, MODEL__apply_g_ema=True)
        config.PLUGINS = extra
        run = fit(config, None, plugins)
        assert run.average is not None
        for network in (run.generator, run.discriminator, run.average.average):
            found += [any(not p.is_contiguous() for p in network.parameters())]
    assert found == [True] * 3 + [False] * 3


@pytest.mark.parametrize(("flat", "view"), [(False, "always"), (True, "never")], ids=["D", "G"])
def test_dia_trains_networks_that_view_and_resumes_bit_for_bit(
    flat: bool, view: str, tmp_path: Path
) -> None:
    def go(folder: str, steps: int) -> Run:
        plugins = PluginManager()
        plugins.register(theirs(flat, view), "other")
        config = config_of(
            OPTIMIZATION__total_steps=steps, RUN__save_freq=1, RUN__sampler="dia",
            LOSS__apply_r1_reg=True,
        )  # fmt: skip
        config.PLUGINS = {"dia": {"phase1": 0.67, "record_every": 1}}
        options = plugins.options.resolve(config.PLUGINS)
        run = fit(config, tmp_path / folder, plugins, **options)
        assert run.step == steps
        return run

    whole = go("whole", 3)
    assert layouts(whole) == (False, flat)
    shutil.copytree(tmp_path / "whole", tmp_path / "cut")
    (tmp_path / "cut" / "checkpoints" / "step-00000003.safetensors").unlink()
    assert_equal_runs(whole, go("cut", 3))


def test_a_dry_run_tries_the_networks_that_it_measures_alone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    tried, lay_out = [], build.lay_out
    monkeypatch.setattr(
        build, "lay_out", lambda run, replaced: (tried.append(run), lay_out(run, replaced))
    )
    plugin = theirs(view="always")
    text = describe_plan(config_of(), manager(other=plugin), {}, "x", Path("runs", "x"))
    assert "estimate, in all" in text
    assert len(tried) == 1
    assert layouts(tried[0]) == (False, False)


def test_cudnn_may_time_its_algorithms_but_not_where_they_have_to_be_deterministic(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(torch.backends.cudnn, "benchmark", False)  # put back afterwards
    for asked in (True, False):
        fit(points_config(RUN__cudnn_benchmark=asked))
        assert torch.backends.cudnn.benchmark is asked
    monkeypatch.setattr(torch, "are_deterministic_algorithms_enabled", lambda: True)
    fit(points_config())
    with pytest.raises(UserError, match=r"^RUN\.cudnn_benchmark .* one of them out\.$"):
        fit(points_config(RUN__cudnn_benchmark=True))
