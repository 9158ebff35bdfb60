from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from small_runs import assert_equal_runs, digits_config, fit, manager, points_config
from torch import Tensor, nn

from diagan_plugin.dia.options import DiaOptions
from diagan_plugin.dia.plugin import DiaPlugin
from diagan_plugin.dia.schedule import plan
from gan_registry.config.schema import Config
from gan_registry.errors import UserError
from gan_registry.evaluation.evaluate import evaluate
from gan_registry.hookspecs import hookimpl
from gan_registry.report.write import write_report
from gan_registry.training.run import Run

DIM, STEPS = 16, 60


class Perfect(nn.Module):
    """A generator of the data's own distribution: only memory tells its samples from the data."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, z: Tensor, y: Tensor | None = None) -> Tensor:
        return z + 0 * self.network(z, y)


class PerfectGenerator:
    @hookimpl
    def gan_models_ready(self, run: Any) -> None:
        run.generator = Perfect(run.generator)


def memorising(folder: Path, size: int, **changes: Any) -> Config:
    x = np.random.default_rng(0).normal(size=(size, DIM)).astype(np.float32)
    path = folder / f"{size}.npz"
    if not path.exists():
        np.savez(path, x=x)
    return points_config(**{
        "DATA__name": "arrays_file", "DATA__path": str(path), "DATA__options": {},
        "DATA__holdout": 0.25, "MODEL__z_dim": DIM, "MODEL__hidden_dim": 64, "RUN__print_freq": 20,
        "OPTIMIZATION__d_lr": 3e-3, "OPTIMIZATION__total_steps": STEPS, **changes,
    })  # fmt: skip


def diagnosed(config: Config, folder: Path | None = None, **options: Any) -> Run:
    plugins = manager(dia=DiaPlugin(), perfect=PerfectGenerator())
    chosen = {"diagnose": True, "record_every": 10, **options}
    config.PLUGINS = {"dia": chosen}
    return fit(config, folder, plugins)


def test_memorisation_is_found_and_told(tmp_path: Path) -> None:
    run = diagnosed(memorising(tmp_path, 80), tmp_path / "run")
    finding = run.findings["overfit"]
    assert "memorised training samples" in finding.evidence
    result = evaluate(run)
    gap = result["holdout"]
    assert gap["samples"] == 20
    assert gap["gap"] > 5 * gap["standard_error"]
    assert gap["effect"] > 0.5
    lines = [json.loads(line) for line in (tmp_path / "run/metrics.jsonl").open()]
    assert lines[-1]["dia/holdout_gap"] == pytest.approx(gap["gap"])
    html = write_report(run).read_text()
    assert "A high log-density ratio means memorisation here" in html


def test_streaming_compares_as_well(tmp_path: Path) -> None:
    run = diagnosed(memorising(tmp_path, 80), record="stream")
    assert "overfit" in run.findings


@pytest.mark.parametrize("seed", range(5))
def test_a_discriminator_that_knows_nobody_raises_no_alarm(tmp_path: Path, seed: int) -> None:
    config = memorising(tmp_path, 2000, RUN__seed=seed, OPTIMIZATION__total_steps=30)
    assert not diagnosed(config).findings


def test_memorisation_ends_a_run_that_asks_for_it_and_it_goes_on_without(tmp_path: Path) -> None:
    config = memorising(tmp_path, 80, RUN__stop_on=["overfit"])
    stopped = diagnosed(config, tmp_path / "run")
    assert stopped.step < STEPS
    assert stopped.stopped is not None
    assert stopped.stopped.endswith("(--stop-on overfit; without it the same command goes on)")
    continued = diagnosed(memorising(tmp_path, 80), tmp_path / "run")
    whole = diagnosed(memorising(tmp_path, 80), tmp_path / "whole")
    assert continued.step == STEPS
    assert_equal_runs(continued, whole)
    # What was compared before is still known.
    assert evaluate(continued)["holdout"] == evaluate(whole)["holdout"]
    assert continued.findings == whole.findings


def test_of_many_comparisons_the_last_two_are_kept(tmp_path: Path) -> None:
    plugins = manager(dia=DiaPlugin())
    config = points_config(DATA__holdout=0.2, OPTIMIZATION__total_steps=9)
    config.PLUGINS = {"dia": {"diagnose": True, "record_every": 2}}
    run = fit(config, tmp_path / "run", plugins)
    driver = plugins.hooks.get_plugin("dia").driver(run)
    assert len(driver.recorder.history_steps) == 10  # and so many comparisons
    assert [gap.step for gap in driver.recorder.holdout.gaps] == [8, 9]
    assert len(driver.state()["holdout"]) == 2
    # A state of before, with all of them.
    many = [(step, 0.0, 1.0, 0.0) for step in range(50)]
    driver.recorder.holdout.load_state(many)
    assert [gap.step for gap in driver.recorder.holdout.gaps] == [48, 49]


def test_comparing_changes_no_number(tmp_path: Path) -> None:
    config = digits_config(DATA__holdout=0.2)
    without = fit(config)
    config.PLUGINS = {"dia": {"diagnose": True, "record_every": 2}}
    with_dia = fit(config, plugins=manager(dia=DiaPlugin()))
    assert "holdout" in evaluate(with_dia)
    assert_equal_runs(without, with_dia)


def test_fewer_held_out_samples_than_a_batch_are_refused_where_batches_matter() -> None:
    config = digits_config(DATA__holdout=0.01)
    config.PLUGINS = {"dia": {"diagnose": True, "record_every": 2}}
    with pytest.raises(UserError, match=r"DATA\.holdout keeps 18 samples, fewer than a batch of"):
        fit(config, plugins=manager(dia=DiaPlugin()))
    config.PLUGINS["dia"]["logits"] = "eval"
    assert fit(config, plugins=manager(dia=DiaPlugin())).step == 6


def test_without_held_out_samples_nothing_is_compared() -> None:
    config = points_config()
    config.PLUGINS = {"dia": {"diagnose": True, "record_every": 2}}
    run = fit(config, plugins=manager(dia=DiaPlugin()))
    assert "holdout" not in evaluate(run)


# ------------------------------------------------------------------ what else Dia finds


class Low(nn.Module):
    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, x: Tensor, y: Tensor | None = None) -> Tensor:
        return self.network(x, y) - 50


class LowDiscriminator:
    @hookimpl
    def gan_models_ready(self, run: Any) -> None:
        run.discriminator = Low(run.discriminator)


class ConstantGenerator:
    @hookimpl
    def gan_models_ready(self, run: Any) -> None:
        network = run.generator
        network.register_forward_hook(lambda module, args, out: out * 0)


@pytest.mark.parametrize("kind", ["points", "digits"])
@pytest.mark.parametrize(
    ("plugin", "who"), [(LowDiscriminator(), "discriminator"), (ConstantGenerator(), "generator")]
)
def test_the_verdict_of_a_dead_network_says_so(
    tmp_path: Path, plugin: object, who: str, kind: str
) -> None:
    config = {"points": points_config, "digits": digits_config}[kind](RUN__sampler="dia")
    config.PLUGINS = {"dia": {"record_every": 1, "aux": "none"}}
    run = fit(config, tmp_path, manager(dia=DiaPlugin(), sick=plugin))
    evaluate(run)
    html = write_report(run).read_text()
    assert f"The {who} is dead: " in html
    assert "opinion is worth nothing" in html
    assert "stand out" not in html.split("How to read")[0].split("Sick training")[0]
    if who == "discriminator":
        assert "clipped_scores" in run.findings


def test_the_plan_tells_what_comparing_costs() -> None:
    options = DiaOptions(record_every=10, diagnose=True)
    without = plan(options, 100, False, 5000, 64)
    described = plan(options, 100, False, 5000, 64, held_out=3000)
    sweeps = described["heat map"].split()[0]
    assert described.pop("held-out data") == f"{sweeps} sweeps of 2000 samples"
    more = described["discriminator_samples"] - without["discriminator_samples"]
    assert more == int(sweeps) * 2000
