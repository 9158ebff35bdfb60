from __future__ import annotations

import json
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from small_runs import assert_equal_runs, digits_config, fit, manager, points_config
from synchronisation import ForbidSynchronisation
from torch import Tensor, nn

from gan_registry.cli.main import main
from gan_registry.config.load import apply_settings, read_config, validate_config
from gan_registry.config.schema import STOP_ON, Config
from gan_registry.config.settings import FREE_KEYS
from gan_registry.errors import UserError
from gan_registry.evaluation.evaluate import evaluate
from gan_registry.hookspecs import hookimpl
from gan_registry.losses.logistic import Logistic
from gan_registry.records import Fake, MicroBatch, Real
from gan_registry.report.write import write_report
from gan_registry.training.health import (
    DATA_RANGE,
    DISCRIMINATOR_DEAD,
    DISCRIMINATOR_WINS,
    GENERATOR_DEAD,
    STOPS,
    Finding,
    Look,
    judge,
    measure,
)
from gan_registry.training.health_watch import LOOKS
from gan_registry.training.trainer import open_run

# ------------------------------------------------------------------ judging numbers

HEALTHY = Look(real=(-1.0, 3.0), fake=(-4.0, 1.0), variance=(0.8, 1.0), data=(-1.0, 1.0))


def changed(**parts: tuple[float, float]) -> Look:
    return Look(**{**vars(HEALTHY), **parts})


def names(*looks: Look, **changes: Any) -> set[str]:
    facts: dict[str, Any] = {
        "step": 100, "has_level": True, "value_range": (-1.0, 1.0), "is_image": True,
    }  # fmt: skip
    return {finding.name for finding in judge(looks, **{**facts, **changes})}


@pytest.mark.parametrize(
    ("look", "expected"),
    [
        (HEALTHY, set()),
        (changed(real=(0.3, 0.3), fake=(0.3, 0.3)), {DISCRIMINATOR_DEAD}),
        (changed(real=(0.0, 0.0), fake=(0.0, 0.0)), {DISCRIMINATOR_DEAD}),
        (changed(real=(0.3, 0.3), fake=(0.3, 0.3000001)), {DISCRIMINATOR_DEAD}),
        (changed(real=(0.3, 0.3), fake=(0.3, 0.30001)), set()),
        (changed(real=(0.3, 0.3), fake=(0.1, 0.1)), set()),  # one output each is told apart
        (changed(real=(-60.0, -50.0), fake=(-70.0, -10.1)), {DISCRIMINATOR_DEAD}),
        (changed(real=(-60.0, -50.0), fake=(-70.0, -9.9)), set()),
        (changed(real=(10.1, 50.0), fake=(30.0, 70.0)), {DISCRIMINATOR_DEAD}),
        (changed(real=(10.1, 50.0), fake=(-70.0, -10.1)), {DISCRIMINATOR_WINS}),
        (changed(real=(9.9, 50.0), fake=(-70.0, -10.1)), set()),
        (changed(variance=(0.0, 1.0)), {GENERATOR_DEAD}),
        (changed(variance=(3e-6, 1.0)), {GENERATOR_DEAD}),
        (changed(variance=(5e-6, 1.0)), set()),
        (changed(variance=(0.0, 0.0)), set()),  # data that don't vary: nothing to compare with
        (changed(data=(0.0, 255.0)), {DATA_RANGE}),
        (changed(data=(-1.01, 1.01)), set()),
        (changed(real=(float("nan"), 1.0), variance=(0.0, 1.0)), set()),
    ],
)  # fmt: skip
def test_what_a_look_tells(look: Look, expected: set[str]) -> None:
    assert names(look) == expected


def test_the_level_of_a_loss_that_has_none_says_nothing() -> None:
    low = changed(real=(-60.0, -50.0), fake=(-70.0, -40.0))
    apart = changed(real=(20.0, 30.0), fake=(-70.0, -40.0))
    assert names(low, has_level=False) == names(apart, has_level=False) == set()
    flat = changed(real=(-60.0, -60.0), fake=(-60.0, -60.0))
    assert names(flat, has_level=False) == {DISCRIMINATOR_DEAD}


def test_a_finding_needs_all_looks_of_an_interval() -> None:
    sick = changed(real=(0.0, 0.0), fake=(0.0, 0.0), variance=(0.0, 1.0))
    assert names(sick, sick) == {DISCRIMINATOR_DEAD, GENERATOR_DEAD}
    assert names(sick, HEALTHY) == set()


def test_data_out_of_range_need_be_seen_once() -> None:
    assert names(HEALTHY, changed(data=(-1.0, 3.0))) == {DATA_RANGE}


@pytest.mark.parametrize(
    ("data", "value_range", "is_image", "found"),
    [
        ((0.0, 255.0), None, True, True),  # images should lie in [-1, 1] if they don't say
        ((0.0, 99.0), None, False, False),
        ((-101.0, 0.0), None, False, True),
        ((0.0, 255.0), (0.0, 255.0), True, False),
    ],
)
def test_what_range_is_expected(
    data: tuple[float, float], value_range: Any, is_image: bool, found: bool
) -> None:
    expected = {DATA_RANGE} if found else set()
    assert names(changed(data=data), value_range=value_range, is_image=is_image) == expected


def batch(size: int = 4) -> MicroBatch:
    rng = torch.Generator().manual_seed(0)
    x, z = torch.randn(2, size, 3, generator=rng)
    out, fake_out = torch.randn(2, size, generator=rng)
    return MicroBatch(Real(torch.arange(size), x), Fake(z, z), out, fake_out)


def test_a_measurement_is_what_it_says() -> None:
    one = batch()
    look = Look.of(measure(Logistic(lambda out: out), [one]).tolist())
    assert look.real == (one.real_out.min(), one.real_out.max())
    assert look.fake == (one.fake_out.min(), one.fake_out.max())
    made, true = (x.var(0, correction=0).mean() for x in (one.fake.x, one.real.x))
    assert look.variance == (pytest.approx(float(made)), pytest.approx(float(true)))
    assert look.data == (one.real.x.min(), one.real.x.max())
    assert look.spread == pytest.approx(float((made / true).sqrt()))


def test_micro_batches_are_measured_together() -> None:
    loss, one = Logistic(lambda out: out), batch()
    other = MicroBatch(
        Real(one.real.indices, 3 * one.real.x), one.fake, one.real_out + 9, one.fake_out - 9
    )
    both = Look.of(measure(loss, [one, other]).tolist())
    assert both.real == (one.real_out.min(), one.real_out.max() + 9)
    assert both.fake == (one.fake_out.min() - 9, one.fake_out.max())
    assert both.data == (3 * one.real.x.min(), 3 * one.real.x.max())
    assert both.variance[1] == pytest.approx(float(5 * one.real.x.var(0, correction=0).mean()))


def test_a_look_does_not_wait_for_the_device() -> None:
    run = fit(points_config(RUN__print_freq=8, OPTIMIZATION__total_steps=8))
    with ForbidSynchronisation():
        run.health.discriminator_updated([batch()], number=0)
    assert run.health._looks


# ------------------------------------------------------------------ healthy runs

PACKAGED = {"gaussian": 20, "gmm25": 20}
SLOW = {
    "gaussian": 600, "gmm25": 600, "colored_digits": 100, "gaussians_1024_small": 40,
    "random_network_1024_small": 40,
}  # fmt: skip


def packaged(name: str, seed: int, steps: int) -> Config:
    content = read_config(name)[2]
    del content["PLUGINS"]
    settings = [
        f"RUN.seed={seed}", f"OPTIMIZATION.total_steps={steps}", "RUN.print_freq=10",
        "RUN.device=cpu", "RUN.cpu_threads=0",
    ]  # fmt: skip
    return validate_config(apply_settings(content, settings), name)


def assert_healthy(make: Callable[[int], Config], seeds: int = 20) -> None:
    for seed in range(seeds):
        assert not fit(make(seed)).findings, seed


@pytest.mark.parametrize("name", PACKAGED)
def test_healthy_runs_raise_no_alarm(name: str) -> None:
    assert_healthy(lambda seed: packaged(name, seed, PACKAGED[name]))


def test_healthy_images_raise_no_alarm() -> None:
    assert_healthy(lambda seed: digits_config(RUN__seed=seed))


@pytest.mark.slow
@pytest.mark.parametrize("name", SLOW)
def test_longer_healthy_runs_raise_no_alarm(name: str) -> None:
    assert_healthy(lambda seed: packaged(name, seed, SLOW[name]))


@pytest.mark.parametrize("loss", ["logistic", "hinge", "least_square", "minimax", "wasserstein"])
def test_no_loss_raises_an_alarm(loss: str) -> None:
    def make(seed: int) -> Config:
        return points_config(
            LOSS__adv_loss=loss, LOSS__apply_wc=loss == "wasserstein", RUN__seed=seed,
            OPTIMIZATION__total_steps=20,
        )  # fmt: skip

    assert_healthy(make)


# ------------------------------------------------------------------ sick runs


class Wrapped(nn.Module):
    """A network whose output is changed."""

    def __init__(self, network: nn.Module, change: Callable[[Tensor, Tensor], Tensor]) -> None:
        super().__init__()
        self.network, self.change = network, change

    def forward(self, x: Tensor, y: Tensor | None = None) -> Tensor:
        return self.change(self.network(x, y), x)


class Sick:
    """Makes a run sick from a step on: its D, its G or its data."""

    def __init__(self, network: str, change: Callable[[Tensor, Tensor], Tensor]) -> None:
        self.network, self.change = network, change

    @hookimpl
    def gan_models_ready(self, run: Any) -> None:
        setattr(run, self.network, Wrapped(getattr(run, self.network), self.change))


SICK = {
    "constant": (Sick("discriminator", lambda out, x: out * 0 + 0.7), DISCRIMINATOR_DEAD),
    "low": (Sick("discriminator", lambda out, x: out - 50), DISCRIMINATOR_DEAD),
    "high": (Sick("discriminator", lambda out, x: out + 50), DISCRIMINATOR_DEAD),
    "one sample": (Sick("generator", lambda out, x: out * 0 + 0.1), GENERATOR_DEAD),
    "nearly one": (Sick("generator", lambda out, x: out * 1e-5 + 0.1), GENERATOR_DEAD),
}


@pytest.mark.parametrize("case", SICK)
@pytest.mark.parametrize("interval", [1, 4, 16])
def test_what_is_sick_is_found_within_one_interval(case: str, interval: int) -> None:
    plugin, name = SICK[case]
    config = points_config(RUN__print_freq=interval, OPTIMIZATION__total_steps=3 * interval)
    run = fit(config, plugins=manager(sick=plugin))
    assert set(run.findings) == {name}
    assert run.findings[name].step == interval


def test_a_discriminator_that_wins_is_found() -> None:
    def sure(out: Tensor, x: Tensor) -> Tensor:
        far = x.flatten(1).abs().amax(1).view_as(out) > 30
        return out * 0 + torch.where(far, -20.0, 20.0)

    class Both:
        @hookimpl
        def gan_models_ready(self, run: Any) -> None:
            run.generator = Wrapped(run.generator, lambda out, z: 50 + 5 * out)
            run.discriminator = Wrapped(run.discriminator, sure)

    assert set(fit(points_config(), plugins=manager(sick=Both())).findings) == {DISCRIMINATOR_WINS}


def test_data_of_another_scale_are_found(tmp_path: Path) -> None:
    import numpy as np

    np.savez(tmp_path / "a.npz", x=np.random.default_rng(0).normal(0, 4000, (64, 2)))
    config = points_config(
        DATA__name="arrays_file", DATA__path=str(tmp_path / "a.npz"), DATA__options={}
    )
    assert DATA_RANGE in fit(config).findings


def test_looking_changes_no_number(monkeypatch: pytest.MonkeyPatch) -> None:
    watched = fit(digits_config())
    monkeypatch.setattr("gan_registry.training.run.HealthWatch.discriminator_updated", _nothing)
    assert_equal_runs(watched, fit(digits_config()))


def _nothing(self: Any, batches: Any, number: int) -> None:
    return


# ------------------------------------------------------------------ what is told


def test_a_finding_is_told_everywhere_and_said_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        run = fit(points_config(), tmp_path, manager(sick=SICK["one sample"][0]))
    (finding,) = run.findings.values()
    said = [record.getMessage() for record in caplog.records if "generator" in record.getMessage()]
    assert said == [f"step 1: {finding.evidence} {finding.advice}"]
    lines = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert [line["health/generator_dead"] for line in lines] == [1] * 6
    assert all(line["health/sample_spread"] < 1e-6 for line in lines)
    assert evaluate(run)["health"] == [vars(finding)]
    html = write_report(run).read_text()
    assert "Sick training" in html
    assert "The generator is dead: the samples of a batch are all alike" in html
    # Opened again, it is still known.
    again = open_run(tmp_path, manager(sick=SICK["one sample"][0]))
    assert again.findings == run.findings


def test_a_healthy_run_says_nothing(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    run = fit(points_config(), tmp_path)
    assert not caplog.records
    assert evaluate(run)["health"] == []
    assert "Sick training" not in write_report(run).read_text()


def test_a_damaged_finding_is_one_line(tmp_path: Path) -> None:
    run = fit(points_config(), tmp_path)
    evaluate(run)
    path = tmp_path / "result.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "health": [{"name": "x"}]}))
    with pytest.raises(UserError, match=r"result\.json is damaged"):
        write_report(run)


def test_few_updates_are_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    looked: list[int] = []
    monkeypatch.setattr(
        "gan_registry.training.health_watch.measure",
        lambda loss, batches: looked.append(len(batches)) or torch.tensor(HEALTHY.numbers),
    )
    fit(points_config(
        RUN__print_freq=32, OPTIMIZATION__total_steps=64, OPTIMIZATION__d_updates_per_step=2,
        OPTIMIZATION__acml_steps=3,
    ))  # fmt: skip
    assert looked == [3] * 2 * LOOKS


def test_looks_survive_a_checkpoint_between_two_log_lines(tmp_path: Path) -> None:
    config = points_config(RUN__print_freq=6, RUN__save_freq=3)
    plugins = manager(sick=SICK["one sample"][0])
    fit(points_config(RUN__print_freq=6, OPTIMIZATION__total_steps=3), tmp_path, plugins)
    opened = open_run(tmp_path, plugins)
    opened.health._looks = [torch.tensor(HEALTHY.numbers)]
    kept = opened.health.state()
    other = open_run(tmp_path, plugins)
    other.health.load_state(kept)
    assert torch.equal(torch.stack(other.health._looks), torch.tensor([HEALTHY.numbers]))
    assert fit(config, tmp_path, plugins).step == 6


# ------------------------------------------------------------------ stopping


def test_stop_on_has_a_meaning_for_every_word() -> None:
    assert set(STOPS) == set(STOP_ON)
    assert "RUN.stop_on" in FREE_KEYS


@pytest.mark.parametrize("case", ["constant", "one sample"])
def test_a_collapsed_run_stops_in_good_order_and_goes_on_without_the_option(
    tmp_path: Path, case: str
) -> None:
    plugins = manager(sick=SICK[case][0])
    run = fit(points_config(RUN__stop_on=["nan", "collapse"]), tmp_path, plugins)
    assert (run.step, run.stopped_on) == (1, "collapse")
    assert run.stopped is not None
    assert run.stopped.endswith("(--stop-on collapse; without it the same command goes on)")
    # The same command leaves it stopped; without the option it goes on, to what it would have been.
    assert fit(points_config(RUN__stop_on=["collapse"]), tmp_path, plugins).step == 1
    continued = fit(points_config(), tmp_path, plugins)
    assert (continued.step, continued.stopped, continued.stopped_on) == (6, None, None)
    assert_equal_runs(continued, fit(points_config(), plugins=plugins))


def test_a_sick_run_that_is_asked_for_more_steps_stops_again(tmp_path: Path) -> None:
    plugins = manager(sick=SICK["constant"][0])
    fit(points_config(RUN__stop_on=["collapse"]), tmp_path, plugins)
    config = points_config(RUN__stop_on=["collapse"], OPTIMIZATION__total_steps=9)
    assert fit(config, tmp_path, plugins).step == 2


def test_what_was_stopped_by_a_plugin_stays_stopped(tmp_path: Path) -> None:
    class Stops:
        @hookimpl
        def gan_step_end(self, run: Any) -> None:
            run.stop("enough")

    fit(points_config(), tmp_path, manager(stops=Stops()))
    assert fit(points_config(), tmp_path, manager(stops=Stops())).step == 1


def test_other_findings_do_not_stop(tmp_path: Path) -> None:
    config = points_config(RUN__stop_on=["overfit", "nan"], DATA__holdout=0.1)
    run = fit(config, plugins=manager(sick=SICK["one sample"][0]))
    assert (run.step, run.stopped) == (6, None)


def test_a_plugin_may_find_something_itself() -> None:
    class Finds:
        @hookimpl
        def gan_step_end(self, run: Any) -> None:
            if run.step == 2:
                run.find(Finding("overfit", run.step, "It knows too much.", "Forget."))

    config = points_config(RUN__stop_on=["overfit"], DATA__holdout=0.1)
    run = fit(config, plugins=manager(finds=Finds()))
    assert run.step == 2
    assert run.stopped is not None
    assert run.stopped.startswith("It knows too much (--stop-on overfit;")


def test_stopping_on_what_nobody_looks_at_is_refused() -> None:
    with pytest.raises(UserError, match=r"--stop-on\) overfit needs data that are held out"):
        fit(points_config(RUN__stop_on=["overfit"]))


def test_the_flag(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = ["train", "--config", "gmm25", "--out", str(tmp_path / "run"), "--dry-run"]
    assert main([*command, "--stop-on", "collapse,nan"]) == 0
    assert "stop_on" in capsys.readouterr().out
    assert main([*command, "--stop-on", "colapse"]) == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert "--stop-on" in said
    assert "did you mean 'collapse'?" in said.lower()
