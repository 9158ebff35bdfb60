"""Dia together with top-k and mode seeking, and remedies that follow Dia's automatic phase 1."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from settings import DIA, SETTINGS
from small_runs import assert_equal_runs, fit, manager, points_config

from diagan_plugin.dia.plugin import DiaPlugin
from diagan_plugin.remedies.timing import phase1_end
from gan_registry.hookspecs import hookimpl
from gan_registry.training.run import Run

STEPS = 12
BOTH = ("top_k", "mode_seeking")


def train(
    *names: str,
    folder: Path | None = None,
    options: dict[str, dict[str, Any]] | None = None,
    **beside: Any,
) -> Run:
    plugins = {name: SETTINGS[name].make() for name in names}
    config = points_config(
        OPTIMIZATION__total_steps=STEPS, RUN__sampler="dia", RUN__save_freq=2,
        RUN__keep_checkpoints=20, DATA__options={"num_samples": 32},
    )  # fmt: skip
    config.PLUGINS = {name: SETTINGS[name].options for name in names}
    config.PLUGINS["dia"] = DIA
    for name, changed in (options or {}).items():
        config.PLUGINS[name] = {**config.PLUGINS[name], **changed}
    return fit(config, folder, manager(dia=DiaPlugin(), **plugins, **beside))


def driver(run: Run) -> Any:
    (plugin,) = (p for p in run.plugins.hooks.get_plugins() if isinstance(p, DiaPlugin))
    return plugin.driver(run)


def test_each_takes_part_in_both_phases() -> None:
    """Every subset gives another generator, in phase 1 already, and all of them weight."""

    class Halfway:
        @hookimpl
        def gan_step_end(self, run: Run) -> None:
            if run.step == STEPS // 2:  # the last of phase 1
                self.weights = first_weights(run)

    def first_weights(run: Run) -> torch.Tensor:
        return next(run.generator.parameters()).detach().clone()

    halves, ends = [], []
    for names in ((), ("top_k",), ("mode_seeking",), BOTH):
        halfway = Halfway()
        run = train(*names, halfway=halfway)
        assert "dia.auxiliary" in run.additions
        assert driver(run).draws.sum() == STEPS // 2 * run.samples_per_step
        assert run.postprocessors == ["drs"]
        halves.append(halfway.weights)
        ends.append(first_weights(run))
    for found in (halves, ends):
        for number, one in enumerate(found):
            assert not any(torch.equal(one, other) for other in found[:number])


@pytest.mark.parametrize("stop", [4, 8])
def test_all_three_resume_bit_for_bit(tmp_path: Path, stop: int) -> None:
    whole = train(*BOTH, folder=tmp_path / "whole")
    killed = tmp_path / "killed"
    shutil.copytree(tmp_path / "whole", killed)
    for path in (killed / "checkpoints").iterdir():
        if int(path.stem.removeprefix("step-")) > stop:
            path.unlink()
    resumed = train(*BOTH, folder=killed)
    assert resumed.first_step == stop
    assert_equal_runs(whole, resumed)


def test_top_k_shrinks_with_the_data_seen_also_under_weighted_draws() -> None:
    shares: list[float] = []

    class Witness:
        @hookimpl
        def gan_step_end(self, run: Run) -> None:
            shares.append(run.noted()["top_k/share"])

    train("top_k", witness=Witness())
    # 16 samples a step, of 32: an epoch each second step, γ = 0.5 down to ν = 0.5.
    assert shares == [1.0, 1.0, *[0.5] * (STEPS - 2)]


@pytest.mark.parametrize(("threshold", "end"), [(-1.0, 6), (2.0, 11)])
def test_remedies_of_phase_2_follow_the_end_that_is_found(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, threshold: float, end: int
) -> None:
    monkeypatch.setattr("diagan_plugin.dia.decisions.SETTLED", threshold)
    seen: list[int] = []

    class Witness:
        @hookimpl
        def gan_step_end(self, run: Run) -> None:
            seen.append(phase1_end(run))

    auto = {"dia": {"phase1": "auto"}}
    run = train(folder=tmp_path / "run", options=auto, witness=Witness())
    assert driver(run).schedule.phase1_end == end
    # The latest end, until one was found; `dia` acts before the witness.
    assert seen == [*[11] * (end - 1), *[end] * (STEPS - end + 1)]
    assert phase1_end(run, 0.25) == 3
    for path in (tmp_path / "run" / "checkpoints").iterdir():
        if int(path.stem.removeprefix("step-")) > 8:
            path.unlink()
    resumed = train(folder=tmp_path / "run", options=auto, witness=Witness())
    assert phase1_end(resumed) == end


def test_gold_begins_with_an_automatic_phase_2(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("diagan_plugin.dia.decisions.SETTLED", -1.0)
    weighted: list[int] = []

    class Witness:
        @hookimpl
        def gan_step_end(self, run: Run) -> None:
            if "gold/mean_weight" in run.noted():
                weighted.append(run.step)

    auto = {"dia": {"phase1": "auto"}, "gold": {"start": "auto"}}
    train("gold", options=auto, witness=Witness())
    assert weighted == list(range(7, STEPS + 1))
