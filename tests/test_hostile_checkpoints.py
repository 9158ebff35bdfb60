"""Checkpoints whose checksum is right and whose content no run would write: one clear line each."""

from __future__ import annotations

import shutil
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from small_runs import fit, manager, points_config

from diagan_plugin.dia.plugin import DiaPlugin
from diagan_plugin.remedies.gold import GoldPlugin
from gan_registry.cli.main import main
from gan_registry.errors import UserError
from gan_registry.state_files import write_state
from gan_registry.training.checkpoint import FORMAT, checkpoint_path, read_checkpoint
from gan_registry.training.trainer import open_run

CONFIG: dict[str, Any] = {
    "MODEL__apply_g_ema": True, "RUN__sampler": "dia", "OPTIMIZATION__total_steps": 8,
    "PLUGINS__dia": {"phase1": 0.5, "record_every": 1, "window": 2},
    "PLUGINS__gold": {"enabled": True, "start": 0.5},
}  # fmt: skip
BIG, NAN = 10**400, float("nan")


def put(*keys: Any, to: Any) -> Callable[[dict[str, Any]], None]:
    """Returns what changes a value deep in a state."""

    def change(state: dict[str, Any]) -> None:
        part: Any = state
        for key in keys[:-1]:
            part = part[key]
        assert isinstance(part, list) or keys[-1] in part, "the table is out of date"
        part[keys[-1]] = to

    return change


def drop(*keys: Any) -> Callable[[dict[str, Any]], None]:
    """Returns what removes a value deep in a state."""

    def change(state: dict[str, Any]) -> None:
        part: Any = state
        for key in keys[:-1]:
            part = part[key]
        del part[keys[-1]]

    return change


_D, _MOMENT = ("optimizers", "discriminator"), ("optimizers", "discriminator", "state", 0)
_GROUP = (*_D, "param_groups", 0)
_DIA, _SEGMENT = ("plugins", "dia"), ("sampler", "segments", 0)

# What is changed, and what is said of it.
HOSTILE: dict[str, tuple[Callable[[dict[str, Any]], None], str]] = {
    # Of the host.
    "step text": (put("step", to="x"), "holds step = 'x'"),
    "step true": (put("step", to=True), "holds step = True"),
    "step NaN": (put("step", to=NAN), "holds step = nan"),
    "step -1": (put("step", to=-1), "holds step = -1"),
    "step huge": (put("step", to=BIG), "step = an integer beyond all bounds"),
    "step another": (put("step", to=3), "is of step 3, not of 8"),
    "step absent": (drop("step"), "lacks step"),
    "total_steps": (put("total_steps", to=None), "holds total_steps = None"),
    "total huge": (put("total_steps", to=2**60), "holds total_steps = an integer"),
    "seconds": (put("seconds", to="1"), "holds seconds = '1'"),
    "seconds NaN": (put("seconds", to=NAN), "holds seconds = nan"),
    "stopped": (put("stopped", to=[1]), "holds stopped = a list"),
    "logged": (put("logged", to={"x": torch.ones(2)}), "holds logged = a dict"),
    "logged name": (put("logged", to={3: 1.0}), "holds logged = a dict"),
    "fingerprint": (put("fingerprint", to=7), "holds fingerprint = 7"),
    "fingerprint other": (put("fingerprint", to="0" * 64), "has changed since the checkpoint"),
    "position -1": (put("position", to=-1), "holds position = -1"),
    "position huge": (put("position", to=2**62), "holds position = an integer"),
    "position text": (put("position", to="0"), "holds position = '0'"),
    "generator": (put("generator", to=None), "holds generator = None"),
    "generator empty": (put("generator", to=OrderedDict()), "in the networks: Error"),
    "generator names": (put("generator", to={1: 2}), "holds generator = a dict"),
    "weight text": (put("generator", "layers.0.weight", to="x"), "in the networks"),
    "weight shape": (put("discriminator", "body.0.weight", to=torch.ones(3)), "size mismatch"),
    "average": (put("average", to=3), "holds average = 3"),
    "average absent": (put("average", to=None), "in the moving average"),
    "precision": (put("precision", to=[]), "holds precision = a list"),
    "optimizers": (put("optimizers", to={}), "in the optimiser of the "),
    "optimizer": (put(*_D, to={"state": [], "param_groups": []}), "holds optimizers"),
    "no groups": (put(*_D, "param_groups", to=[]), "0 groups of parameters, not 1"),
    "group": (put(*_D, "param_groups", to=[3]), "holds optimizers"),
    "parameters": (put(*_GROUP, "params", to=[0]), "1 parameters, not "),
    "alike": (put(*_GROUP, "params", to=[0] * 6), "numbers two parameters alike"),
    "lr text": (put(*_GROUP, "lr", to="fast"), "its setting 'lr' is 'fast'"),
    "lr NaN": (put(*_GROUP, "lr", to=NAN), "its setting 'lr' is nan"),
    "lr absent": (drop(*_GROUP, "lr"), "its setting 'lr' is missing"),
    "betas": (put(*_GROUP, "betas", to=0.9), "its setting 'betas' is 0.9"),
    "amsgrad": (put(*_GROUP, "amsgrad", to=5), "its setting 'amsgrad' is 5"),
    "moment shape": (put(*_MOMENT, "exp_avg", to=torch.ones(9)), "its exp_avg of parameter 0"),
    "moment none": (put(*_MOMENT, "exp_avg", to=None), "its exp_avg of parameter 0 is None"),
    "moment absent": (drop(*_MOMENT, "exp_avg_sq"), "it lacks exp_avg_sq of parameter 0"),
    "count": (put(*_MOMENT, "step", to="x"), "its step of parameter 0 is 'x'"),
    "moments": (put(*_D, "state", to={77: {}}), "the parameter 77, which does not exist"),
    "additions": (put("additions", to={"x": 1}), "holds additions"),
    "unclaimed": (put("additions", to={"x": {}}), "in 'dia.auxiliary"),
    "plugins": (put("plugins", to={"dia": 1}), "holds plugins"),
    "unknown plugin": (put("plugins", to={"gone": {}}), "state of plugin 'gone'"),
    # Of the sampler.
    "sampler": (put("sampler", to=3), "holds sampler = 3"),
    "of another kind": (put("sampler", to={}), "in the sampler 'dia'"),
    "segments": (put("sampler", "segments", to=5), "in the sampler 'dia'"),
    "weights few": (put(*_SEGMENT, "probabilities", to=torch.ones(3)), "must be float64 [200]"),
    "weights": (put(*_SEGMENT, "probabilities", to=torch.ones(200).double()), "sum to 1"),
    "first_weighted": (put("sampler", "first_weighted", to="x"), "in the sampler 'dia'"),
    "sampler's size": (put("sampler", "num_samples", to=9), "in the sampler 'dia'"),
    # Of plugins.
    "dia empty": (put(*_DIA, to={}), "'dia' cannot take back its state"),
    "phase": (put(*_DIA, "phase", to="two"), "'phase' must be a whole number in [1, 2]"),
    "phase 3": (put(*_DIA, "phase", to=3), "'phase' must be a whole number in [1, 2], not 3"),
    "phase1_end": (put(*_DIA, "phase1_end", to=-4), "'phase1_end' must be a whole number"),
    "score": (put(*_DIA, "score", to=torch.ones(7)), "'score' must be a tensor [200]"),
    "score list": (put(*_DIA, "score", to=[1.0]), "'score' must be a tensor [200]"),
    "draws": (put(*_DIA, "draws", to=torch.ones(200)), "'draws' must be a tensor [200]"),
    "tracker": (put(*_DIA, "tracker", to={}), "'dia' cannot take back its state"),
    "closed records": (
        put(*_DIA, "tracker", "closed_mean", to=torch.ones(7)), "cannot take back its state"
    ),
    "record_steps": (put(*_DIA, "record_steps", to=[3, 2]), "'record_steps' must increase"),
    "history": (put(*_DIA, "history", to=torch.ones(1, 1)), "'history' must be a tensor"),
    "history_steps": (put(*_DIA, "history_steps", to="x"), "'history_steps' must be a list"),
    "warnings": (put(*_DIA, "warnings", to=3), "'dia' cannot take back its state"),
    "gold": (put("plugins", "gold", "start", to="x"), "'gold' cannot take back its state"),
    "gold huge": (put("plugins", "gold", "start", to=BIG), "one beyond all bounds"),
}  # fmt: skip


def plugins() -> Any:
    return manager(dia=DiaPlugin(), gold=GoldPlugin())


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("trained")
    fit(points_config(**CONFIG), folder, plugins())
    return folder


def test_the_unchanged_state_is_taken_back(tmp_path: Path, trained: Path) -> None:
    shutil.copytree(trained, tmp_path / "run")
    write_state(checkpoint_path(tmp_path / "run", 8), read_checkpoint(trained, 8), FORMAT)
    assert open_run(tmp_path / "run", plugins()).step == 8
    assert len(HOSTILE) >= 25


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_value_ends_in_one_clear_line(tmp_path: Path, trained: Path, name: str) -> None:
    change, says = HOSTILE[name]
    shutil.copytree(trained, tmp_path / "run")
    state = read_checkpoint(trained, 8)
    change(state)
    write_state(checkpoint_path(tmp_path / "run", 8), state, FORMAT)
    longer = points_config(**{**CONFIG, "OPTIMIZATION__total_steps": 10})
    before = sorted(path.name for path in (tmp_path / "run").rglob("*"))
    for call in (
        lambda: open_run(tmp_path / "run", plugins()),
        lambda: fit(longer, tmp_path / "run", plugins()),
    ):
        with pytest.raises(UserError) as caught:
            call()
        text = str(caught.value)
        assert says in text
        assert "step 8" in text or "step-00000008" in text or "checkpoint" in text
        assert "\n" not in text
        assert len(text) < 900
    assert sorted(path.name for path in (tmp_path / "run").rglob("*")) == before


def test_a_hostile_checkpoint_is_one_line_of_the_command_line(tmp_path: Path, capsys: Any) -> None:
    fit(points_config(), tmp_path)
    state = read_checkpoint(tmp_path, 6)
    state["position"] = -1
    write_state(checkpoint_path(tmp_path, 6), state, FORMAT)
    assert main(["evaluate", "--run", str(tmp_path)]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "holds position = -1, which is no whole number from 0 to" in line


def test_a_hostile_newest_checkpoint_gives_way_to_the_one_before(tmp_path: Path, caplog) -> None:
    fit(points_config(RUN__save_freq=3), tmp_path)
    state = read_checkpoint(tmp_path, 6)
    state["step"] = "x"
    write_state(checkpoint_path(tmp_path, 6), state, FORMAT)
    assert open_run(tmp_path, manager()).step == 3
    assert "holds step = 'x'" in caplog.text
