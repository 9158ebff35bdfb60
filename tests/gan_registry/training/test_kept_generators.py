"""Generators that a plugin keeps: written beside the checkpoints, measured at the end."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from small_runs import digits_config, fit, manager

from gan_registry.errors import PluginError
from gan_registry.evaluation.evaluate import evaluate, is_evaluated
from gan_registry.hookspecs import hookimpl
from gan_registry.report.write import build_report
from gan_registry.training.run import Run
from gan_registry.training.trainer import open_run


class Keeper:
    """Keeps the generator of a step under a name, and notes its weights."""

    def __init__(self, name: Any = "early", step: int = 3) -> None:
        self.name, self.step = name, step
        self.weights: dict[str, torch.Tensor] = {}

    @hookimpl
    def gan_step_end(self, run: Run) -> None:
        if run.step == self.step:
            run.keep_generator(self.name)
            run.say(f"kept {self.name}")
            state = run.sampling_generator.state_dict()
            self.weights = {key: value.clone() for key, value in state.items()}


def assert_kept(run: Run, keeper: Keeper) -> None:
    kept = run.kept.load("early")
    assert kept is not None
    assert kept[0] == 3
    state = kept[1].state_dict()
    assert all(torch.equal(state[key], value) for key, value in keeper.weights.items())
    now = run.sampling_generator.state_dict()
    assert not all(torch.equal(now[key], value) for key, value in keeper.weights.items())


@pytest.mark.parametrize("in_folder", [True, False])
@pytest.mark.parametrize("average", [True, False])
def test_it_is_that_of_its_step(tmp_path: Path, in_folder: bool, average: bool) -> None:
    keeper = Keeper()
    config = digits_config(MODEL__apply_g_ema=average, MODEL__g_ema_start=0)
    run = fit(config, tmp_path / "run" if in_folder else None, manager(keeper=keeper))
    assert run.kept.names == ["early"]
    assert_kept(run, keeper)


def test_it_survives_pruning_and_resuming(tmp_path: Path) -> None:
    keeper, settings = Keeper(), {"RUN__save_freq": 1, "RUN__keep_checkpoints": 1}
    fit(digits_config(OPTIMIZATION__total_steps=4, **settings), tmp_path, manager(keeper=keeper))
    later = manager(keeper=Keeper(step=99))
    run = fit(digits_config(OPTIMIZATION__total_steps=6, **settings), tmp_path, later)
    assert_kept(run, keeper)
    assert_kept(open_run(tmp_path, later), keeper)


def test_it_is_measured_as_the_last_one_is_and_alters_nothing_else(tmp_path: Path) -> None:
    run = fit(
        digits_config(RUN__eval_metrics=["fid", "partial_recall"], RUN__eval_features="raw"),
        tmp_path, manager(keeper=Keeper()),
    )  # fmt: skip
    result = evaluate(run)
    kept = result["kept"]["early"]
    assert kept["step"] == 3
    assert set(kept["metrics"]) == set(result["metrics"])
    assert set(kept["groups"]) == {"red", "green"}
    assert set(kept["groups"]["red"]) == {"share_generated", "partial_recall"}
    assert kept["metrics"]["fid"] != result["metrics"]["fid"]
    text = build_report(open_run(tmp_path, manager(keeper=Keeper()))).html()
    assert text.count("Generated at step 3") >= 3  # a picture, its text, a column
    # The same weights, measured as the run's own, give the same.
    run.generator.load_state_dict(run.kept.load("early")[1].state_dict())
    run.config.RUN.eval_kept = False
    again = evaluate(run)
    assert "kept" not in again
    assert again["metrics"] == kept["metrics"]
    assert not is_evaluated(open_run(tmp_path, manager(keeper=Keeper())))  # kept is missing now


def test_a_damaged_or_later_one_is_left_out(tmp_path: Path, caplog: Any) -> None:
    run = fit(digits_config(RUN__save_freq=2), tmp_path, manager(keeper=Keeper()))
    earlier = open_run(tmp_path, manager(keeper=Keeper()), 4)
    earlier.step = 2
    assert earlier.kept.load("early") is None
    path = tmp_path / "kept" / "early.safetensors"
    content = bytearray(path.read_bytes())
    content[-5] ^= 1
    path.write_bytes(content)
    assert "kept" not in evaluate(run)
    assert "The kept generator 'early' is left out" in caplog.text


@pytest.mark.parametrize("name", ["", "../x", "A", 3, "a" * 41])
def test_a_name_that_is_none_is_refused(name: Any) -> None:
    with pytest.raises(PluginError, match="takes a name"):
        fit(digits_config(), None, manager(keeper=Keeper(name)))
