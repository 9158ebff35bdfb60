"""What every logger does alike, by one that keeps what it is sent."""

from __future__ import annotations

import json
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from small_runs import assert_equal_runs, fit, manager, points_config

from gan_registry.errors import UserError
from gan_registry.evaluation.evaluate import evaluate
from gan_registry.hookspecs import hookimpl
from gan_registry.live_run import LiveRun
from gan_registry.loggers.base import Logger, numbers_in, result_numbers, verdict_of
from gan_registry.report.document import Report, Text, Verdict
from gan_registry.report.write import write_report
from gan_registry.training.logs import read_metrics
from gan_registry.training.plan import describe_plan
from gan_registry.training.trainer import open_run


class Kept:
    """A run at a tracker that keeps all, and fails from a step on if it is told to."""

    def __init__(self, place: str, known: str | None, fails: int) -> None:
        self.place, self.known, self.fails = place, known, fails
        self.id = known or "id-1"
        self.got: list[tuple[Any, ...]] = []

    def numbers(self, step: int, values: Mapping[str, float]) -> None:
        if step >= self.fails:
            raise ConnectionError("the network\nis gone.")
        self.got.append(("numbers", step, dict(values)))

    def picture(self, step: int, path: Path) -> None:
        assert path.read_bytes()[:4] == b"\x89PNG"
        self.got.append(("picture", step))

    def results(self, step: int, values: Mapping[str, float]) -> None:
        self.got.append(("results", step, dict(values)))

    def report(self, path: Path, verdict: str) -> None:
        self.got.append(("report", path.name, verdict))

    def trained(self, *, whole: bool) -> None:
        self.got.append(("trained", whole))

    def close(self) -> None:
        self.got.append(("closed",))


class Tracker(Logger):
    name, title, module, distribution = "tracker", "Tracker", "json", "tracker"
    place, offline = "project", "TRACKER_OFFLINE=1 keeps all here"

    def __init__(self, fails: int = 99, opens: bool = True) -> None:
        super().__init__()
        self.fails, self.opens = fails, opens
        self.runs: list[Kept] = []

    def open(self, run: LiveRun, place: str, known: str | None) -> Kept:
        if not self.opens:
            raise RuntimeError("no key")
        self.runs.append(Kept(place, known, self.fails))
        return self.runs[-1]


class Says:
    """Adds a verdict, after the logger has seen the report; or fails in a step."""

    def __init__(self, fails: int | None = None, how: BaseException | None = None) -> None:
        self.fails, self.how = fails, how or ValueError("no")

    @hookimpl
    def gan_report(self, report: Report) -> None:
        report.add_section("Z", Verdict("Few greens.", ("5 % of the data.",)), order=1, anchor="z")

    @hookimpl
    def gan_step_end(self, run: LiveRun) -> None:
        run.log({"says/step": run.step, "says/word": "hello"})
        if run.step == self.fails:
            raise self.how


def logged(tracker: Tracker, folder: Path | None, project: str = "p", **changes: Any) -> Any:
    says = changes.pop("says", Says())
    plugins = manager(tracker=tracker, zsays=says)
    return fit(points_config(PLUGINS__tracker={"project": project}, **changes), folder, plugins)


def kinds(kept: Kept) -> list[Any]:
    return [entry[0] for entry in kept.got]


def test_all_that_a_run_writes_is_sent(tmp_path: Path) -> None:
    tracker = Tracker()
    run = logged(tracker, tmp_path, RUN__sample_freq=3)
    evaluate(run)
    write_report(run)
    (kept,) = tracker.runs
    assert (kept.place, kept.known) == ("p", None)
    assert kinds(kept)[-4:] == ["trained", "results", "report", "closed"]
    numbers = [entry[1:] for entry in kept.got if entry[0] == "numbers"]
    lines = read_metrics(tmp_path)
    assert [step for step, _ in numbers] == [line["step"] for line in lines] == [*range(1, 7)]
    for (_, values), line in zip(numbers, lines, strict=True):
        assert values == {k: v for k, v in line.items() if k not in ("step", "says/word")}
        assert {"loss/generator", "says/step"} <= set(values)
    assert [entry[1] for entry in kept.got if entry[0] == "picture"] == [3, 6]
    (results,) = [entry[2] for entry in kept.got if entry[0] == "results"]
    result = json.loads((tmp_path / "result.json").read_text())
    assert results["metrics/modes_covered"] == result["metrics"]["modes_covered"]
    assert kept.got[-2] == ("report", "report.html", "Few greens.\n5 % of the data.")
    assert (tmp_path / "tracker.id").read_text() == "id-1\n"


def test_it_changes_not_a_bit_and_does_nothing_unasked(tmp_path: Path) -> None:
    plain = fit(points_config(), None, manager(zsays=Says()))
    asked, unasked = Tracker(), Tracker()
    assert_equal_runs(plain, logged(asked, tmp_path / "asked"))
    assert_equal_runs(plain, logged(unasked, tmp_path / "unasked", project=""))
    assert_equal_runs(plain, logged(unasked, None))  # without a folder nothing is written
    assert len(asked.runs) == 1
    assert unasked.runs == []
    assert not (tmp_path / "unasked" / "tracker.id").exists()


def test_a_run_that_is_cut_goes_on_under_its_name_and_may_go_on_without(tmp_path: Path) -> None:
    tracker = Tracker()
    with pytest.raises(KeyboardInterrupt):
        logged(tracker, tmp_path, says=Says(3, KeyboardInterrupt()), RUN__save_freq=2)
    (cut,) = tracker.runs
    assert kinds(cut)[-1] == "trained"
    assert cut.got[-1] == ("trained", False)
    logged(tracker, tmp_path, project="other", RUN__save_freq=2)
    assert (tracker.runs[1].place, tracker.runs[1].known) == ("other", "id-1")
    assert tracker.runs[1].got[-1] == ("trained", True)
    without = manager(zsays=Says())
    assert fit(points_config(OPTIMIZATION__total_steps=7), tmp_path, without).step == 7


def test_a_damaged_id_is_not_used(tmp_path: Path) -> None:
    tracker = Tracker()
    logged(tracker, tmp_path)
    (tmp_path / "tracker.id").write_bytes(b"\xff../../x")
    logged(tracker, tmp_path, OPTIMIZATION__total_steps=7)
    assert tracker.runs[1].known is None


def test_a_tracker_that_fails_is_left_out_and_the_training_goes_on(tmp_path: Path) -> None:
    tracker = Tracker(fails=3)
    with pytest.warns(UserWarning, match="left out from step 3 on: ConnectionError: the") as told:
        run = logged(tracker, tmp_path)
    assert len([w for w in told if "Tracker" in str(w.message)]) == 1
    assert run.step == 6
    assert "trained" not in kinds(tracker.runs[0])
    assert len(read_metrics(tmp_path)) == 6


def test_one_that_cannot_be_opened_is_said_in_one_line_and_the_work_kept(tmp_path: Path) -> None:
    with pytest.raises(UserError) as told:
        logged(Tracker(opens=False), tmp_path, RUN__print_freq=2, RUN__sample_freq=6)
    text = str(told.value)
    assert "Tracker cannot be used: RuntimeError: no key. TRACKER_OFFLINE=1 keeps" in text
    assert "leave out --tracker" in text
    assert "The state of step 2 is saved" in text


def test_one_that_is_not_installed_is_refused_before_the_first_step(tmp_path: Path) -> None:
    tracker = Tracker()
    tracker.module = "no_such_module"  # type: ignore[misc]
    with pytest.raises(UserError, match="--tracker needs Tracker, which is not installed: pip"):
        logged(tracker, tmp_path)
    assert read_metrics(tmp_path) == []
    assert logged(tracker, tmp_path / "other", project="").step == 6


def test_what_is_trained_again_after_a_failure_is_not_sent_twice(tmp_path: Path) -> None:
    tracker = Tracker()
    with pytest.raises(UserError, match="The state of step 3 is saved"):
        logged(tracker, tmp_path, says=Says(4))
    (kept,) = tracker.runs
    assert [entry[1] for entry in kept.got if entry[0] == "numbers"] == [1, 2, 3]
    assert kept.got[-1] == ("trained", False)


def test_a_folder_that_is_opened_sends_nothing(tmp_path: Path) -> None:
    """It may be a stranger's, and name a project."""
    evaluate(logged(Tracker(), tmp_path))
    tracker = Tracker()
    run = open_run(tmp_path, manager(tracker=tracker, zsays=Says()))
    evaluate(run)
    write_report(run)
    assert tracker.runs == []


def test_a_dry_run_says_where_it_would_log_to(tmp_path: Path) -> None:
    tracker = Tracker()
    plugins = manager(tracker=tracker)
    config = points_config(PLUGINS__tracker={"project": "mine"})
    options = plugins.options.resolve(config.PLUGINS)
    said = describe_plan(config, plugins, options, "points", tmp_path / "run")
    assert "Tracker, project mine" in said
    assert tracker.runs == []


def test_numbers_are_finite_numbers() -> None:
    values = {"a": 1, "b": float("nan"), "c": True, "d": "x", "e": None, "step": 3, "f": 0.5}
    assert numbers_in(values) == {"a": 1.0, "f": 0.5}


def test_results_are_named_by_their_part() -> None:
    result = {"metrics": {"fid": 3.0}, "metrics_drs": {"fid": 2.0}, "seconds": 5.0,
              "groups": {"a.b": {"share_data": 0.5, "ldrm": None}}}  # fmt: skip
    assert result_numbers(result) == {
        "metrics/fid": 3.0, "metrics_drs/fid": 2.0, "groups/a.b.share_data": 0.5,
    }  # fmt: skip


def test_a_report_without_a_verdict_has_none() -> None:
    report = Report("t")
    report.add_section("A", Text("x"), order=1, anchor="a")
    assert verdict_of(report) == ""
    report.add_section("B", Verdict("Fine."), order=2, anchor="b")
    assert verdict_of(report) == "Fine."


def test_no_warning_comes_of_a_training_that_goes_well(tmp_path: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        logged(Tracker(), tmp_path)
