"""Cells are measured once, go on after an interruption, and the page says what came out."""

from __future__ import annotations

import json
import re
import shlex
import sys
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from claim_cells import says

from benchmarks.claims import cells as cell_files
from benchmarks.claims import declared, sittings
from benchmarks.claims.__main__ import main
from benchmarks.claims.declared import PLAIN, Claim, Column, Method, Row, Scale
from benchmarks.claims.pairs import won
from benchmarks.claims.plots import marks
from benchmarks.claims.training import prepare, train_cell
from gan_registry.errors import UserError

Values = dict[str, Any]
Run = Callable[..., tuple[int, list[tuple[str, int]]]]


def row(values: Mapping[str, Any], kind: str) -> Row:
    return {"x": values["x"] if kind == PLAIN else values["x"] / 2}


def fake(cell: Callable[[Mapping[str, Any], int], Values]) -> Claim:
    methods = {
        "none": Method({"base": 1.0}),
        "one": Method({"base": 2.0}, kinds=(PLAIN, "drs")),
    }
    return Claim(
        name="fake", title="A title", source="a paper", measured="x.", failure="less x.",
        columns=(Column("x ↑", "x", ".2f"),), row=row, cell=cell,
        scales={"small": Scale("", {"low": {"case": 0}, "high 9 %": {"case": 9}}, methods, 3, 50)},
        compared=("none", PLAIN), won=lambda mine, other: (mine["x"] or 0) > (other["x"] or 0),
    )  # fmt: skip


@pytest.fixture
def claims(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Run:
    """Runs the command on a claim whose cells tell that they were measured."""
    measured: list[tuple[str, int]] = []

    def cell(settings: Mapping[str, Any], seed: int) -> Values:
        if seed == settings.get("fails"):
            raise UserError("it cannot be")
        if seed == settings.get("interrupts"):
            raise KeyboardInterrupt
        measured.append((settings["base"], seed))
        return {"x": settings["base"] + settings["case"] + seed}

    monkeypatch.setattr(declared, "CLAIMS", ("fake",))
    monkeypatch.setitem(sys.modules, "benchmarks.claims.fake", SimpleNamespace(CLAIM=fake(cell)))
    monkeypatch.chdir(tmp_path)

    def run(*arguments: str) -> tuple[int, list[tuple[str, int]]]:
        measured.clear()
        return main([*arguments, "--results", str(tmp_path / "results")]), list(measured)

    return run


def table(tmp_path: Path, case: str) -> dict[str, list[str]]:
    """Returns the name of a row → its other cells, of a case's table on the page."""
    page = (tmp_path / "RESULTS.md").read_text(encoding="utf-8")
    part = page.partition(f"**{case}**")[2].partition("\n\n")[2].partition("\n\n")[0]
    lines = [[cell.strip() for cell in line.strip("|").split("|")] for line in part.splitlines()]
    return {line[0]: line[1:] for line in lines}


def test_what_is_measured_is_not_measured_again(claims, tmp_path, capsys):
    assert claims("--seeds", "2", "--cases", "low") == (0, [(1.0, 0), (2.0, 0), (1.0, 1), (2.0, 1)])
    assert "4 cells to measure, about 3 min 20 s with --jobs 1" in capsys.readouterr().out
    assert claims("--seeds", "2", "--cases", "low")[1] == []
    assert len(claims("--seeds", "2", "--cases", "low", "--again")[1]) == 4
    # More seeds, and only these.
    assert claims("--first-seed", "1", "--seeds", "2", "--cases", "low")[1] == [(1.0, 2), (2.0, 2)]
    (tmp_path / "results" / "fake" / "small" / "low-one-seed1.json").write_text("{", "utf-8")
    assert claims("--seeds", "2", "--cases", "low")[1] == [(2.0, 1)]


def test_a_cell_says_what_it_was_measured_by_and_other_settings_measure_it_again(claims, tmp_path):
    claims("fake", "--seeds", "1", "--methods", "one", "--cases", "high")
    path = tmp_path / "results" / "fake" / "small" / "high_9-one-seed0.json"
    content = json.loads(path.read_text(encoding="utf-8"))
    assert content["values"] == {"x": 11.0}
    assert content["command"] == (
        "python -m benchmarks.claims fake --cases 'high 9 %' --methods one --first-seed 0 --seeds 1"
    )
    assert content["machine"]["versions"]["torch"] == torch.__version__.partition("+")[0]
    assert re.fullmatch(r"\d{4}-\d\d-\d\d", content["date"])
    assert str(Path.home()) not in json.dumps(content["machine"])
    content["machine"]["versions"]["torch"] = "2.0"  # another version's number is a number
    path.write_text(json.dumps(content), "utf-8")
    assert claims("--seeds", "1", "--methods", "one", "--cases", "high")[1] == []
    claim = declared.load("fake")
    claim.scales["small"].methods["one"] = Method({"base": 3.0}, kinds=(PLAIN, "drs"))
    assert claims("--seeds", "1", "--methods", "one", "--cases", "high")[1] == [(3.0, 0)]
    kinds = (PLAIN, "drs", "mh")
    claim.scales["small"].methods["one"] = Method({"base": 3.0}, kinds=kinds)
    assert claims("--seeds", "1", "--methods", "one", "--cases", "high")[1] == [(3.0, 0)]


def test_the_command_of_a_cell_measures_that_cell(claims, tmp_path):
    claims("--seeds", "2", "--cases", "low", "--methods", "--add", "more:one", "base=4 ")
    (path, other) = sorted((tmp_path / "results" / "fake" / "small").glob("*.json"))
    command = json.loads(path.read_text("utf-8"))["command"]
    path.unlink()
    other.unlink()
    assert claims(*shlex.split(command)[3:])[1] == [(4, 0)]
    assert path.exists()


def test_the_page_has_mean_and_deviation_pairs_and_what_is_missing(claims, tmp_path):
    claims("--seeds", "3", "--cases", "low")
    claims("--seeds", "1", "--cases", "low", "--add", "more:one", "base=40", "--methods", "none")
    rows = table(tmp_path, "low")
    assert rows["none"] == ["2.00 ± 1.00", "–", "3"]
    assert rows["one"] == ["3.00 ± 1.00", "3 of 3", "3"]
    # Half of it is better by seed 0 only where it is more: 1, 1.5, 2 against 1, 2, 3.
    assert rows["one, drs"] == ["1.50 ± 0.50", "0 of 3", "3"]
    assert rows["more"] == ["40.00", "1 of 1", "1 of 3"]
    assert table(tmp_path, "high 9 %")["none"] == ["not run", "–", "0 of 3"]
    page = (tmp_path / "RESULTS.md").read_text(encoding="utf-8")
    assert "**It fails if:** less x." in page
    assert "`python -m benchmarks.claims fake`" in page
    assert f"torch {torch.__version__.partition('+')[0]}" in page
    assert "7 cells" in page


def test_seeds_that_confirm_stand_apart(claims, tmp_path):
    claims("--cases", "low", "--methods", "one")
    claims("--cases", "low", "--methods", "one", "--first-seed", "100", "--seeds", "2")
    page = (tmp_path / "RESULTS.md").read_text(encoding="utf-8")
    chosen, confirmed = page.split("#### Confirmed on seeds from 100 on")
    assert "| one | 3.00 ± 1.00 |" in chosen
    assert "| one | 102.50 ± 0.71 |" in confirmed


def test_the_verdict_on_coloured_digits_holds_feedback_against_its_aims():
    found = {
        ("95 %", method, kind): {seed: {**GOOD, **changed} for seed in range(2)}
        for method, kind, changed in (
            ("feedback", PLAIN, {}),
            ("vanilla", PLAIN, BASE),
            ("paper", "drs", {"minor_recall": 0.8, "fid": 11.0}),
        )
    }
    found["95 %", "feedback", PLAIN][1]["fid"] = 11.5
    pairs, fid, recall, *others = declared.load("coloured_digits").verdict(found)
    assert "has won 1 of 2 pairs (14 of 16 are needed)" in pairs.text
    assert "below that of `paper` after DRS in 1 of 2" in fid.text
    assert "recall is 0.50, that of `paper` after DRS 0.80" in recall.text
    assert [pairs.holds, fid.holds, recall.holds] == [False, False, False]
    assert [part.holds for part in others] == [None, None]  # of the other levels


def test_a_number_that_is_none_is_left_out_of_the_mean(claims, tmp_path):
    claims("--cases", "low", "--methods", "one")
    path = tmp_path / "results" / "fake" / "small" / "low-one-seed2.json"
    content = json.loads(path.read_text(encoding="utf-8"))
    path.write_text(json.dumps(content | {"values": {"x": None}, "kinds": [PLAIN]}), "utf-8")
    claims("--page-only")
    assert table(tmp_path, "low")["one"][0] == "2.50 ± 0.71 (1 without)"


def test_a_cell_that_fails_costs_no_other(claims, tmp_path, capsys):
    add = ("--add", "bad:one", "fails=1", "--cases", "low", "--seeds", "3")
    code, measured = claims(*add)
    assert code == 1
    assert len(measured) == 8
    out = capsys.readouterr()
    assert "fake low bad seed 1: failed: it cannot be" in out.out
    assert "1 cells failed" in out.err
    assert table(tmp_path, "low")["bad"][-1] == "2 of 3"
    assert claims(*add)[1] == []  # tried again, and nothing else


def test_after_an_interruption_the_same_command_goes_on(claims, tmp_path, capsys):
    stop = ("--add", "bad:one", "interrupts=1", "--cases", "low", "--seeds", "3")
    code, measured = claims(*stop)
    assert code == 130
    assert "goes on" in capsys.readouterr().err
    assert table(tmp_path, "low")["none"][-1] == "2 of 3"
    assert (len(measured), claims(*stop)[1]) == (5, [])


@pytest.mark.slow
def test_processes_measure_what_one_does(tmp_path):
    methods = {"one": Method(), "two": Method()}
    claim = declared.load("coloured_digits")
    cells = cell_files.cells_of(claim, "small", ["95 %"], methods, range(1), {})
    sitting = sittings.Sitting(tmp_path, tmp_path / "work")
    assert sittings.measure_all(cells, sitting, 2, says) == 1


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["nothing"], "There is no claim 'nothing'; there are: fake"),
        (["--methods", "two"], "fake has no method 'two'; there are: none, one"),
        (["--cases", "x"], "fake has no case 'x'; there are: low, high 9 %"),
        (["--add", "two", "a=1"], "--add two: fake has no method 'two'"),
        (["--add", "new:one", "a"], "'a' must be of the form SECTION.key=value"),
        (["--add", "new:one", "a=["], "'a=[' is not valid YAML"),
        (["fake", "--scale", "full"], "fake has no scale 'full'"),
    ],
)
def test_a_mistake_is_one_line(claims, capsys, arguments, said):
    assert claims(*arguments) == (2, [])
    err = capsys.readouterr().err
    assert said in err
    assert err.count("\n") == 1


@pytest.mark.parametrize("flag", ["--jobs", "--seeds", "--first-seed"])
def test_numbers_are_checked(claims, capsys, flag):
    with pytest.raises(SystemExit):
        claims(flag, "-1")
    assert flag in capsys.readouterr().err


GOOD = {"minor_recall": 0.5, "major_recall": 0.77, "share": 0.04, "truth": 0.05, "fid": 10.5}
BASE = {"minor_recall": 0.4, "major_recall": 0.80, "share": 0.01, "truth": 0.05, "fid": 10.0}


@pytest.mark.parametrize(
    ("worse", "wins"),
    [
        ({}, True),
        ({"minor_recall": 0.4}, False),  # a tie is a loss
        ({"major_recall": 0.769}, False),
        ({"share": 0.01}, False),
        ({"share": 0.25}, False),  # as far from the truth as 1 % is, and more
        ({"share": 0.2}, True),
        ({"fid": 10.6}, False),
        ({"fid": None}, False),
    ],
)
def test_a_pair_is_won_only_if_nobody_pays(worse, wins):
    assert won({**GOOD, **worse}, BASE) == wins


def test_a_share_of_nothing_is_a_finite_distance():
    assert won(GOOD, {**BASE, "share": 0.0})


def parameters(cell: cell_files.Cell, work: Path, folder: Path) -> torch.Tensor:
    run = train_cell(cell, work, folder)
    networks = (run.generator, run.discriminator)
    return torch.cat([p.detach().flatten() for network in networks for p in network.parameters()])


def test_a_shared_phase_1_gives_the_same_networks_as_whole_runs(tmp_path):
    claim = declared.load("coloured_digits")
    settings = {"OPTIMIZATION.total_steps": 20, "PLUGINS.dia.record_every": 2}
    methods = {name: claim.scales["small"].methods[name] for name in ("vanilla", "paper")}
    cells = [
        # The smallest networks there are.
        replace(cell, config="gaussian", settings=settings)
        for cell in cell_files.cells_of(claim, "small", ["95 %"], methods, range(1), {})
    ]
    (group,) = sittings.grouped(cells)
    found = {cell.method: parameters(cell, tmp_path, tmp_path / cell.method) for cell in group}
    assert len(list(tmp_path.glob("phase1-*"))) == 1
    # Without Dia there is neither its sampler nor a phase 2.
    for name, sampler in (("vanilla", "uniform"), ("paper", "dia")):
        whole = replace(group[0], how=Method({"RUN.sampler": sampler}))
        assert torch.equal(parameters(whole, tmp_path, tmp_path / f"whole-{name}"), found[name])
    assert not torch.equal(found["vanilla"], found["paper"])


def test_what_cannot_be_shared_is_refused(tmp_path):
    claim = declared.load("coloured_digits")
    methods = {"wrong": Method({}, {})}
    (cell,) = cell_files.cells_of(claim, "small", ["95 %"], methods, range(1), claim.quick)
    with pytest.raises(UserError, match="a phase 1 is shared only under"):
        train_cell(cell, tmp_path, tmp_path / "run")


def test_the_estimate_counts_a_shared_phase_once(tmp_path):
    claim = declared.load("coloured_digits")
    methods = {name: claim.scales["small"].methods[name] for name in ("vanilla", "paper")}
    cells = cell_files.cells_of(claim, "small", ["95 %"], methods, range(2), {})
    for cell in cells[:2]:
        cell_files.write(cell, tmp_path, {}, 30.0, 60.0)
    said = sittings.estimate(cells, tmp_path, 2)
    assert said == "4 cells to measure, about 2 min 00 s with --jobs 2"
    assert sittings.estimate(cells[:1], tmp_path, 1).startswith(
        "1 cells to measure, about 1 min 30"
    )


@pytest.mark.parametrize("name", declared.CLAIMS)
def test_a_claim_is_declared_whole(name):
    claim = declared.load(name)
    assert claim.name == name
    assert claim.source
    assert claim.measured.endswith(".")
    assert claim.failure.endswith(".")
    assert not claim.elsewhere or claim.elsewhere.endswith(".")
    columns = {column.key for column in claim.columns}
    for scale, of in claim.scales.items():
        assert of.seeds >= 1
        assert (claim.won is None) == (claim.compared is None)
        if claim.compared is not None:
            assert claim.compared[1] in of.methods[claim.compared[0]].kinds
        for (case, method, kind), numbers in of.published.items():
            assert case in of.cases
            assert kind in of.methods[method].kinds
            assert numbers.keys() <= columns
        cells = cell_files.cells_of(claim, scale, list(of.cases), of.methods, range(1), {})
        assert len({cell.path(Path()) for cell in cells}) == len(cells)
        if claim.cell is not None:
            continue
        first = {next(iter(of.cases)), next(iter(of.methods))}
        for cell in (one for one in cells if first & {one.case, one.method}):
            settings = {**cell.settings, **cell.how.settings, **(cell.how.later or {})}
            made = prepare(cell.config, settings, cell.seed)
            known = made.plugins.catalogs
            assert made.config.LOSS.objective in known.objectives
            assert set(made.config.RUN.eval_metrics) <= set(known.metrics)


def test_a_picture_is_drawn_of_what_there_is(claims, tmp_path):
    column = Column("x ↑", "x")
    claim = replace(declared.load("fake"), plot=marks((column, column), "x", log=("x",)))
    sys.modules["benchmarks.claims.fake"].CLAIM = claim
    claims("--page-only")
    assert not (tmp_path / "pictures").exists()
    claims("--methods", "one", "--seeds", "2")
    assert (tmp_path / "pictures" / "fake-small.png").read_bytes().startswith(b"\x89PNG")
    assert "![A title](pictures/fake-small.png)" in (tmp_path / "RESULTS.md").read_text("utf-8")


def test_published_numbers_stand_in_brackets(claims, tmp_path):
    of = declared.load("fake").scales["small"]
    numbers = {("low", "one", PLAIN): {"x": 9.126}, ("low", "none", PLAIN): {"x": 1.0}}
    declared.load("fake").scales["small"] = replace(of, published=numbers)
    claims("--cases", "low", "--methods", "one")
    rows = table(tmp_path, "low")
    assert rows["one"][0] == "3.00 ± 1.00 (9.13)"
    assert rows["one, drs"][0] == "1.50 ± 0.50"
    assert rows["none"][0] == "not run (1.00)"
    assert "in brackets" in (tmp_path / "RESULTS.md").read_text(encoding="utf-8")
