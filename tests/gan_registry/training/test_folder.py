"""When a folder is a run's, when it may be taken over, and with which plugins a run goes on."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml
from small_runs import InstanceNoise, assert_equal_runs, fit, manager, points_config
from torch import Tensor

from gan_registry import hookimpl
from gan_registry.cli.main import main
from gan_registry.config.load import validate_config
from gan_registry.errors import UserError
from gan_registry.training import build
from gan_registry.training.lock import LOCK_FILE
from gan_registry.training.run import Run
from gan_registry.training.trainer import open_run


class PowerCut(BaseException):
    """Ends a run without a word."""


def cut(*_: Any) -> None:
    raise PowerCut


def test_the_configuration_is_there_before_anything_is_built(tmp_path: Path, monkeypatch):
    seen: list[list[str]] = []

    def look(run: Run) -> None:
        seen.append(sorted(os.listdir(tmp_path / "run")))
        raise UserError("The data are missing.")

    monkeypatch.setattr(build, "build_data", look)
    with pytest.raises(UserError, match="data are missing"):
        fit(points_config(), tmp_path / "run")
    assert seen == [[LOCK_FILE, "config.yaml"]]
    assert not (tmp_path / "run").exists(), "nothing has begun: nothing is left"


def test_what_the_configuration_alone_can_say_is_refused_before_it_is_written(tmp_path: Path):
    (tmp_path / "run").mkdir()
    with pytest.raises(UserError, match="no_such"):
        fit(points_config(MODEL__backbone="no_such"), tmp_path / "run")
    assert not list((tmp_path / "run").iterdir())


def test_a_folder_where_no_training_has_begun_takes_a_corrected_configuration(tmp_path: Path):
    fit(points_config(), tmp_path / "other")
    folder = tmp_path / "run"
    folder.mkdir()
    (folder / LOCK_FILE).write_text("of a process that was killed")
    (folder / ".config.yaml.x.tmp").touch()
    shutil.copy(tmp_path / "other" / "config.yaml", folder)
    run = fit(points_config(LOSS__adv_loss="hinge"), folder)
    assert run.step == 6
    assert yaml.safe_load((folder / "config.yaml").read_text())["LOSS"]["adv_loss"] == "hinge"
    with pytest.raises(UserError, match=r"holds a different run: LOSS\.adv_loss"):
        fit(points_config(), folder)


def test_a_configuration_that_a_person_wrote_is_not_taken_over(tmp_path: Path):
    (tmp_path / "config.yaml").write_text("LOSS: {adv_loss: hinge}\n")
    with pytest.raises(UserError, match=r"carries no checksum .* start in another folder"):
        fit(points_config(), tmp_path)
    assert (tmp_path / "config.yaml").read_text() == "LOSS: {adv_loss: hinge}\n"


def test_a_run_that_cannot_be_continued_keeps_its_configuration(tmp_path: Path, monkeypatch):
    fit(points_config(), tmp_path)
    before = (tmp_path / "config.yaml").read_text()
    monkeypatch.setattr(build, "build_networks", cut)
    with pytest.raises(PowerCut):
        fit(points_config(RUN__print_freq=3), tmp_path)
    assert (tmp_path / "config.yaml").read_text() == before


def plugins(*missing: str) -> Any:
    """A manager with noise and watch, as far as they are not missing."""

    class Watch:
        """Takes no part: it has neither option nor component."""

        @hookimpl
        def gan_generator_weights(self, logits: Tensor) -> Tensor:
            return logits.new_ones(logits.shape)

    made = manager()
    for name, plugin in (("noise", InstanceNoise()), ("watch", Watch())):
        if name not in missing:
            made.register(plugin, name, "1.2")
    return made


def noisy(folder: Path, *missing: str, steps: int = 3) -> Any:
    options = {} if "noise" in missing else {"noise": {"penalty": 0.1, "share": 1.0}}
    return fit(points_config(OPTIMIZATION__total_steps=steps), folder, plugins(*missing), **options)


def test_a_run_goes_on_with_the_plugins_it_was_made_with_alone(tmp_path: Path):
    noisy(tmp_path)
    before = (tmp_path / "config.yaml").read_text()
    assert yaml.safe_load(before)["VERSIONS"]["plugins"] == {"noise": "1.2"}
    with pytest.raises(UserError, match=r"with the plugin 'noise', which is not installed"):
        noisy(tmp_path, "noise", steps=6)
    assert (tmp_path / "config.yaml").read_text() == before, "nothing is rewritten"
    again = noisy(tmp_path, "watch", steps=6)  # which took no part
    assert_equal_runs(again, noisy(tmp_path / "whole", steps=6))


def test_a_run_is_opened_without_a_plugin_with_a_warning(tmp_path: Path, warned):
    noisy(tmp_path)
    open_run(tmp_path, plugins("noise"))
    assert [text for text in warned() if "'noise', which is not installed; it is opened" in text]


class Foreign:
    """Brings a backbone of a name that StudioGAN has and the host lacks."""

    @hookimpl
    def gan_register(self, catalogs: Any) -> None:
        catalogs.backbones.register("stylegan3", "gan_registry.backbones.mlp:build_mlp")


def test_a_run_of_a_plugins_backbone_is_continued_and_opened(tmp_path: Path):
    plugins = manager(foreign=Foreign())
    content = points_config().model_dump(exclude_defaults=True)
    content["MODEL"]["backbone"] = "stylegan3"
    config = validate_config(content, "x", backbones=plugins.catalogs.backbones.of_plugins())
    fit(config, tmp_path, plugins)
    config.OPTIMIZATION.total_steps = 8
    assert fit(config, tmp_path, plugins).step == 8
    assert open_run(tmp_path, plugins).config.MODEL.backbone == "stylegan3"


def test_a_plugin_that_is_disabled_now_is_named(tmp_path: Path, monkeypatch, capsys):
    command = ["train", "--config", "gmm25", "--device", "cpu", "--steps", "2", "--num-eval", "50",
               "--set", "DATA.options.num_samples=200", "--set", "MODEL.hidden_dim=8", "--quiet",
               "--out", str(tmp_path / "run")]  # fmt: skip
    assert main([*command, "--mode-seeking", "1"]) == 0
    before = (tmp_path / "run" / "config.yaml").read_bytes()
    monkeypatch.setenv("GAN_REGISTRY_DISABLE", "mode_seeking")
    capsys.readouterr()
    assert main(command) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "'mode_seeking', which is disabled by GAN_REGISTRY_DISABLE" in line
    assert (tmp_path / "run" / "config.yaml").read_bytes() == before
