from __future__ import annotations

import csv
import json
import statistics
from pathlib import Path

import numpy as np
import pytest
import torch
from small_runs import digits_config, fit, manager, points_config

from gan_registry.cli.main import main
from gan_registry.errors import PluginError, UserError
from gan_registry.evaluation.comparison import Cell, compare, flatten
from gan_registry.evaluation.comparison_tables import comparison_text, mean_and_deviation
from gan_registry.evaluation.evaluate import evaluate
from gan_registry.evaluation.results import read_result, read_settings, write_result
from gan_registry.evaluation.tables import number, result_table
from gan_registry.files import to_plain
from gan_registry.formatting import align
from gan_registry.hookspecs import hookimpl
from gan_registry.integrity import JSON, seal, write_text
from gan_registry.training.trainer import open_run


def test_numbers_become_plain_and_what_is_not_finite_null(tmp_path: Path):
    result = {
        "a": float("nan"), "b": float("inf"), "c": np.float32(0.5), "d": np.int64(3), 5: True,
        "e": np.bool_(False), "f": [torch.tensor(2.0), (np.nan,)], "g": np.arange(2), "h": None,
    }  # fmt: skip
    write_result(tmp_path, result)
    text = (tmp_path / "result.json").read_text()
    content = json.loads(text, parse_constant=pytest.fail)
    assert len(content.pop("sha256")) == 64
    assert content == read_result(tmp_path)
    assert read_result(tmp_path) == {
        "a": None, "b": None, "c": 0.5, "d": 3, "5": True, "e": False, "f": [2.0, [None]],
        "g": [0, 1], "h": None,
    }  # fmt: skip
    with pytest.raises(TypeError, match="object"):
        to_plain({"x": [object()]})


@pytest.mark.parametrize(
    "text",
    [
        "", "{", "[1]", "nul", "\x00", '{"metrics": {}}', '{"sha256": "0"}\n',
    ],
)  # fmt: skip
def test_a_result_without_its_checksum_says_how_to_mend_it(tmp_path: Path, text: str):
    (tmp_path / "result.json").write_text(text)
    with pytest.raises(UserError, match=f"gan-registry evaluate --run {tmp_path}"):
        read_result(tmp_path)


DEEP = "[" * 5000 + "]" * 5000
HOSTILE = {
    '{"metrics": [1, 2]': "something else", '{"groups": 3': "something else",
    '{"groups": {"red": 1}': "something else", '{"directions": ["fid"]': "something else",
    '{"directions": {"fid": 5}': "something else", '{"metrics": {"fid": "3"}': "something else",
    '{"metrics_drs": 1': "something else", '{"metrics": {"fid": [1]}': "something else",
    '{"kept": 3': "something else", '{"kept": {"phase1": {"step": 3}}': "something else",
    '{"kept": {"phase1": {"step": 3, "metrics": 1, "groups": {}}}': "something else",
    '{"num_real": "many"': "something else", '{"seconds": []': "something else",
    '{"metrics": {"fid": ' + "1" * 400 + "}": "a number of 400 digits",
    '{"metrics": {"fid": ' + "1" * 5000 + "}": "a number of 5000 digits",
    '{"metrics": {"fid": NaN}': "holds NaN", '{"metrics": {"fid": -Infinity}': "holds -Infinity",
    '{"metrics": {"fid": 1e999}': "not finite",
    '{"x": ' + DEEP: "nested too deep", '{"x": ' + "[" * 90 + "]" * 90: "nested too deep",
    '{"a" 3': "is no JSON", "[1": "is no JSON",
}  # fmt: skip
"""The beginning of a file whose checksum is right -> what is said of it."""


@pytest.mark.parametrize("number", range(len(HOSTILE)))
def test_a_result_that_no_evaluation_writes_is_one_line(tmp_path: Path, number: int):
    text, says = list(HOSTILE.items())[number]
    path = tmp_path / "result.json"
    path.write_text(f'{text},\n  "sha256": "{"0" * 64}"\n}}\n')
    seal(path, JSON)
    with pytest.raises(UserError, match=f"gan-registry evaluate --run {tmp_path}") as caught:
        read_result(tmp_path)
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 1000


def test_a_missing_result_says_how_to_make_it(tmp_path: Path):
    with pytest.raises(UserError, match=r"holds no result\.json"):
        read_result(tmp_path)


RESULT = {
    "config": "c", "sampler": "s", "seed": 0, "steps": 10, "seconds": 2.0,
    "metrics": {"fid": 12.345678, "other": None}, "metrics_drs": {"acceptance_rate": 0.25},
    "groups": {
        "red": {"share_data": 0.95, "share_drawn": None, "share_generated": 0.99, "ldrm": -0.1},
        "green": {"share_data": 0.05, "share_drawn": None, "share_generated": 0.012, "ldrm": 2.5},
    },
}  # fmt: skip


def test_a_result_as_a_table():
    lines = result_table(RESULT).splitlines()
    assert lines[0].split() == ["group", "data", "generated", "ldrm"]  # nothing was drawn
    assert lines[2].split() == ["red", "95.0", "%", "99.0", "%", "-0.1"]
    assert lines[3].split() == ["green", "5.0", "%", "1.2", "%", "2.5"]
    assert lines[5].split() == ["metric", "plain", "drs"]
    assert lines[7].split() == ["fid", "12.35", "–"]
    assert lines[8].split() == ["other", "–", "–"]
    assert lines[9].split() == ["acceptance_rate", "–", "0.25"]


def test_whatever_numbers_plugins_contributed_for_groups_are_columns():
    groups = {
        "major": {"count": 90, "share_data": 0.9, "share_generated": 0.99, "difficulty": 0.125},
        "minor": {
            "count": 10, "share_data": 0.1, "share_generated": 0.01, "share_generated_filter": 0.1,
            "nested": {"number": 1.0}, "difficulty": 7.25, "note": "hard", "found": True,
            "missing": None, "share_seen": 0.5, "age": 3,
        },
    }  # fmt: skip
    lines = result_table({"groups": groups, "metrics": {}}).splitlines()
    assert [part.strip() for part in lines[0].split("  ") if part] == [
        "group", "data", "seen", "generated", "generated, filter", "difficulty", "age",
    ]  # fmt: skip
    assert lines[2].split() == ["major", "90.0", "%", "–", "99.0", "%", "–", "0.125", "–"]
    assert lines[3].replace("\N{NO-BREAK SPACE}", "").split() == [
        "minor", "10.0%", "50.0%", "1.0%", "10.0%", "7.25", "3",
    ]  # fmt: skip


def test_of_many_groups_the_table_shows_the_worst():
    groups = {
        f"mode {i}": {"share_data": 0.05, "share_generated": 0.1 - 0.005 * i} for i in range(20)
    }
    text = result_table({"groups": groups, "metrics": {"a": 1}}, max_rows=3)
    assert [line.split("  ")[0] for line in text.splitlines()[2:5]] == [
        "mode 19", "mode 18", "mode 17",
    ]  # fmt: skip
    assert "(17 more groups in result.json)" in text
    assert result_table({"metrics": {}})


def test_what_was_measured_before_stands_beside_what_is_measured_now():
    groups = {
        "red": {"share_data": 0.95, "share_drawn": 0.7, "share_generated": 0.9, "recall": 0.5},
        "green": {"share_data": 0.05, "share_drawn": 0.3, "share_generated": 0.1},
    }
    entry = {
        "step": 1200, "metrics": {"fid": 20.0, "early": 1.0},
        "groups": {"red": {"share_generated": 0.99, "recall": 0.25}},
    }  # fmt: skip
    result = {**RESULT, "directions": {"recall": "up"}, "groups": groups, "kept": {"early": entry}}
    shares, own, metrics = (part.splitlines() for part in result_table(result).split("\n\n"))
    assert shares[0].split() == ["group", "data", "drawn", "before", "generated"]
    assert shares[2].replace("\N{NO-BREAK SPACE}", "").split() == [
        "red", "95.0%", "70.0%", "99.0%", "90.0%",
    ]  # fmt: skip
    assert shares[3].split()[-3:] == ["–", "10.0", "%"]
    assert [part.strip() for part in own[0].split("  ") if part] == [
        "group", "recall, before ↑", "recall ↑",
    ]  # fmt: skip
    assert own[2].split() == ["red", "0.25", "0.5"]
    assert metrics[0].split() == ["metric", "before", "plain", "drs"]
    assert metrics[2].split() == ["fid", "20", "12.35", "–"]
    assert metrics[-1] == "(before: the generator as it was at step 1,200)"
    several = result_table({**result, "kept": {"early": entry, "late": {**entry, "step": 2000}}})
    assert several.splitlines()[0].split("  ")[-3:-1] == ["before, early", "before, late"]
    assert several.endswith("(before, late: the generator as it was at step 2,000)")


def test_a_classifiers_counts_are_the_generated_shares_where_the_data_have_no_rule():
    of_real = {"classifier_accuracy": 0.98, "occurrence_real": 0.9, "occurrence_real_seen": 0.89}
    cat = {
        "share_data": 0.9, "occurrence": 0.75, "occurrence_drs": 0.8, "recall": 0.5, **of_real,
        **{f"{key}_drs": value for key, value in of_real.items()},
    }  # fmt: skip
    dog = {**cat, "share_data": 0.1, "occurrence": 0.25, "classifier_accuracy": 0.5}
    entry = {"step": 5, "metrics": {}, "groups": {"cat": {"occurrence": 0.7}}}
    directions = {"recall": "up", "occurrence": "none", "classifier_accuracy": "up"}
    result = {
        "groups": {"cat": cat, "dog": dog}, "directions": directions, "kept": {"phase1": entry},
        "metrics": {"occurrence_other": 0.01}, "metrics_drs": {"occurrence_other": 0.0},
    }  # fmt: skip
    shares, own, metrics = (part.splitlines() for part in result_table(result).split("\n\n"))
    assert [part.strip() for part in shares[0].split("  ") if part] == [
        "group", "data", "before", "generated", "generated, drs",
    ]  # fmt: skip
    assert shares[2].replace("\N{NO-BREAK SPACE}", "").split() == [
        "cat", "90.0%", "70.0%", "75.0%", "80.0%",
    ]  # fmt: skip
    assert own[0].split() == ["group", "recall", "↑"]
    assert metrics[2].split() == ["other", "–", "0.01", "0"]
    assert metrics[-1].endswith(
        "which knows at least 50.0\N{NO-BREAK SPACE}% of each group's real samples)"
    )
    dog["share_generated"] = 0.3  # a rule counts: then the classifier's numbers are its own
    assert "occurrence" in result_table(result).split("\n\n")[1]


def seeded(seed: int, fid: float | None, **changes) -> dict:
    return {**RESULT, "seed": seed, "metrics": {"fid": fid}, "groups": {}, **changes}


def cells(text: str, row: str) -> list[str]:
    (line,) = [line for line in text.splitlines() if line.startswith(row)]
    return [part.strip() for part in line[len(row) :].split("  ") if part.strip()]


def test_seeds_share_a_column_as_mean_and_sample_deviation():
    values = [1.0, 2.0, 4.0]
    runs = [seeded(i, v) for i, v in enumerate(values)] + [seeded(0, 7.0, sampler="t")]
    text = comparison_text(compare(runs))
    assert text.startswith("all: c, 10 steps\n")
    assert "s (n=3)" in text
    assert "t (n=1)" in text
    assert cells(text, "fid") == ["2.333 ± 1.528", "7"]
    assert statistics.stdev(values) == pytest.approx(1.528, abs=1e-3)


def test_what_was_sick_stands_below_the_table():
    finding = {"name": "generator_dead", "step": 40, "evidence": "…", "advice": "…"}
    runs = [seeded(seed, 1.0, health=[finding] * seed) for seed in (0, 1)]
    found = compare(runs)
    (line,) = found.findings
    assert line.endswith("seed 1: generator dead at step 40")
    assert comparison_text(found).endswith(f"\n\n{line}")
    assert found.as_dict()["findings"] == [line]
    assert comparison_text(compare([seeded(0, 1.0)])).count("\n\n") == 1


def test_runs_made_with_other_settings_do_not_share_a_column():
    runs = [seeded(0, 1.0), seeded(1, 3.0), seeded(0, 9.0)]
    settings = [
        {"PLUGINS.p.k": 1, "X.y": 0}, {"PLUGINS.p.k": 1, "X.y": 0}, {"PLUGINS.p.k": 5, "X.y": 0},
    ]  # fmt: skip
    text = comparison_text(compare(runs, settings))
    assert "PLUGINS.p.k=1 (n=2)" in text
    assert "PLUGINS.p.k=5 (n=1)" in text
    assert "X.y" not in text
    assert cells(text, "fid") == ["2 ± 1.414", "9"]
    # A run without the plugin has none of its settings: that alone is no difference to show.
    assert "PLUGINS" not in comparison_text(compare(runs[:2], [settings[0], {"X.y": 0}]))


def test_runs_of_one_seed_do_not_share_a_column():
    text = comparison_text(
        compare([seeded(0, 1.0), seeded(1, 3.0), seeded(0, 1.5), seeded(0, 2.5)])
    )
    assert "seed 0 again (n=1)" in text
    assert cells(text, "fid") == ["2 ± 1.414", "1.5", "2.5"]


def test_a_metric_that_some_runs_lack_says_of_how_many_it_is():
    text = comparison_text(compare([seeded(0, 1.0), seeded(1, 3.0), seeded(2, None)]))
    assert cells(text, "fid") == ["2 ± 1.414 (n=2)"]


DIRECTED = {"directions": {"fid": "down", "recall": "up", "kid_std": "none"}}


def test_the_best_of_a_row_is_bold_and_arrows_say_which_way():
    def run(sampler: str, fid: float, recall: float) -> dict:
        metrics = {"fid": fid, "recall": recall, "kid_std": fid}
        groups = {"a/b": {"share_data": 0.5, "recall": recall, "recall_drs": 1 - recall}}
        return seeded(
            0, None, sampler=sampler, metrics=metrics, metrics_drs={"fid": 1.0}, groups=groups,
            **DIRECTED,
        )  # fmt: skip

    found = compare([run("a", 3.0, 0.2), run("b", 2.0, 0.4), run("c", 2.0, 0.1)])
    text = comparison_text(found, bold=True)
    metrics, groups = (part for part in text.split("\n\n") if "─" in part)
    bold = {line.split(" ")[0]: line.count("\033[1m") for line in metrics.splitlines()}
    assert {name: n for name, n in bold.items() if n} == {
        "fid": 2, "recall": 1,
    }  # fmt: skip
    assert "\033[1m0.4\033[0m" in text
    assert text.replace("\033[1m", "").replace("\033[0m", "") == comparison_text(found)
    assert cells(comparison_text(found), "fid ↓") == ["3", "2", "2"]
    assert groups.splitlines()[0].split() == ["group", "a/b"]
    assert [line.count("\033[1m") for line in groups.splitlines()[2:]] == [0, 1, 0, 0, 0, 1]
    assert "recall_drs ↑  a (n=1)" in groups
    assert "c (n=1)" in groups, "a sampler called like the config"
    assert "share_data" not in text, "it is the same in all"
    assert "fid_drs" not in text
    assert text.endswith("(3 numbers are the same in all columns)")
    rows = {row["name"]: row for row in found.as_dict()["rows"]}
    assert rows["metrics/fid"]["best"] == [1, 2]
    assert rows["metrics/fid"]["cells"][0] == {"mean": 3.0, "std": None, "n": 1}
    assert rows["metrics/kid_std"]["best"] == rows["metrics_drs/fid"]["best"] == []
    assert [column["seeds"] for column in found.as_dict()["columns"]] == [[0], [0], [0]]
    # an old result knows no directions
    assert "↓" not in comparison_text(compare([seeded(0, 1.0)]))


def test_settings_that_the_names_tell_are_left_out_of_labels():
    runs = [seeded(0, 1.0), seeded(0, 2.0, sampler="t"), seeded(0, 3.0, config="d")]
    settings = [
        {"PLUGINS.p.diagnose": False, "X.lr": 1, "M.dim": 8},
        {"PLUGINS.p.diagnose": True, "X.lr": 2, "M.dim": 8},
        {"PLUGINS.p.diagnose": False, "X.lr": 1, "M.dim": 9},
    ]
    text = comparison_text(compare(runs, settings))
    assert "diagnose" not in text, "the sampler tells"
    assert "M.dim" not in text, "the configuration tells"
    assert " c / t / X.lr=2 (n=1)" in text, "no name tells"
    settings[1]["PLUGINS.p.diagnose"] = False
    runs.append(seeded(1, 4.0))
    text = comparison_text(compare(runs, [*settings, {**settings[0], "PLUGINS.p.diagnose": True}]))
    assert "c / s / PLUGINS.p.diagnose=True" in text


def with_groups(sampler: str, shares: dict[str, float | None]) -> dict:
    groups = {name: {"share_data": 0.5, "share_generated": share} for name, share in shares.items()}
    return seeded(0, 1.0, sampler=sampler, groups=groups)


def test_groups_are_columns_and_shares_percentages():
    found = compare(
        [with_groups("s", {"x": 0.1, "y": 0.2}), with_groups("t", {"x": 0.3, "y": 0.2})]
    )
    table = comparison_text(found).split("\n\n")[1].replace("\N{NO-BREAK SPACE}", "").splitlines()
    assert table[0].split() == ["group", "x"], "the other does not differ"
    assert [line.split() for line in table[2:]] == [
        ["share_generated", "s", "(n=1)", "10.0%"], ["share_generated", "t", "(n=1)", "30.0%"],
    ]  # fmt: skip
    narrow = comparison_text(found, width=80).split("\n\n")[1].splitlines()
    assert narrow[-1].split()[0] == "t"  # on a terminal a block of lines has its name once


def test_of_classified_groups_the_counted_shares_are_compared_and_no_empty_line_is_written():
    def run(sampler: str, share: float, **more: float) -> dict:
        entry = {"occurrence": share, "occurrence_real": 0.5, "classifier_accuracy": 0.9, **more}
        return {**RESULT, "sampler": sampler, "metrics": {}, "groups": {"cat": entry}}

    corrected = {"occurrence_drs": 0.4, "occurrence_real_drs": 0.5}
    text = comparison_text(compare([run("s", 0.1), run("t", 0.3, **corrected)]))
    lines = [line.replace("\N{NO-BREAK SPACE}", "").split() for line in text.splitlines()]
    assert ["share_generated", "t", "(n=1)", "30.0%"] in lines
    assert ["share_generated_drs", "t", "(n=1)", "40.0%"] in lines
    assert not any(line[:2] == ["share_generated_drs", "s"] for line in lines)
    assert "occurrence" not in text


def test_of_many_groups_a_narrow_terminal_shows_those_that_differ_most():
    names = [f"group {i}" for i in range(9)]
    runs = [
        with_groups(s, {name: 0.1 + i * gap for i, name in enumerate(names)})
        for s, gap in (("s", 0.001), ("t", 0.01))
    ]
    text = comparison_text(compare(runs), width=60)
    assert max(map(len, text.splitlines())) <= 60
    head = next(line for line in text.splitlines() if line.startswith("group"))
    shown = head.split("  ")[1:]
    assert [name.strip() for name in shown if name] == ["group 6", "group 7", "group 8"]
    assert "(5 more groups, which differ less: --csv, --html)" in text  # group 0 is the same
    assert "group 1" in comparison_text(compare(runs))
    assert "group 8" in comparison_text(compare(runs), width=1), "one is always shown"


def test_a_number_that_some_columns_lack_comes_after_those_that_all_have():
    runs = [seeded(0, 1.0, metrics={"a": 1.0, "b": 1.0}), seeded(0, 1.0, sampler="t",
            metrics={"b": 2.0})]  # fmt: skip
    rows = [line.split()[0] for line in comparison_text(compare(runs)).splitlines()[4:6]]
    assert rows == ["b", "a"]


def test_files_hold_every_number_and_a_page(tmp_path: Path, capsys):
    for name, share in (("a", 0.1), ("b", 0.3)):
        write_result(tmp_path / name, with_groups(name, {"=x": share, "<b>": 0.2}))
    files = ["--csv", str(tmp_path / "c.csv"), "--html", str(tmp_path / "c.html")]
    assert main(["compare", str(tmp_path / "a"), str(tmp_path / "b"), *files]) == 0
    with open(tmp_path / "c.csv", newline="", encoding="utf-8") as file:
        lines = list(csv.DictReader(file))
    assert len(lines) == 2 * (3 + 2 * 2)  # runs × (seconds and metrics + groups × numbers)
    (line,) = [
        entry for entry in lines
        if (entry["sampler"], entry["group"], entry["number"]) == ("b", "=x", "share_generated")
    ]  # fmt: skip
    assert (line["mean"], line["std"], line["n"]) == ("0.3", "", "1")
    page = (tmp_path / "c.html").read_text(encoding="utf-8")
    assert "=x" in page
    assert "30.0" in page
    assert "<b>" not in page
    assert "share_data" not in page
    capsys.readouterr()
    files = ["--csv", str(tmp_path / "a" / "result.json" / "c.csv")]
    assert main(["compare", str(tmp_path / "a"), str(tmp_path / "b"), *files]) == 2
    (said,) = capsys.readouterr().err.splitlines()
    assert "c.csv" in said


def test_bold_is_for_terminals(tmp_path: Path, capsys, monkeypatch):
    for name, fid in (("a", 1.0), ("b", 2.0)):
        write_result(tmp_path / name, seeded(0, fid, sampler=name, **DIRECTED))

    def bold(*arguments: str) -> bool:
        assert main(["compare", str(tmp_path / "a"), str(tmp_path / "b"), *arguments]) == 0
        return "\033[1m" in capsys.readouterr().out

    assert not bold()
    assert bold("--color")
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    assert bold()
    monkeypatch.setenv("NO_COLOR", "1")
    assert not bold()
    assert main(["compare", str(tmp_path / "a"), str(tmp_path / "b"), "--json"]) == 0
    assert len(json.loads(capsys.readouterr().out)["columns"]) == 2


def test_metrics_of_groups_have_a_table_of_their_own_with_arrows():
    groups = {
        "red": {"share_data": 0.9, "recall": 0.8, "recall_drs": 0.7, "ldrm": 1.0},
        "green": {"share_data": 0.1, "recall": 0.25},
    }
    text = result_table({**RESULT, **DIRECTED, "groups": groups})
    blocks = [block.splitlines() for block in text.split("\n\n")]
    assert [part.strip() for part in blocks[1][0].split("  ") if part] == [
        "group", "recall ↑", "recall, drs ↑",
    ]  # fmt: skip
    assert blocks[1][2].split() == ["red", "0.8", "0.7"]
    assert blocks[1][3].split() == ["green", "0.25", "–"]
    assert blocks[2][2].startswith("fid ↓")


def test_small_pieces():
    assert flatten(RESULT) == {
        "seconds": 2.0, "metrics/fid": 12.345678, "metrics_drs/acceptance_rate": 0.25,
        "groups/red/share_data": 0.95, "groups/red/share_generated": 0.99, "groups/red/ldrm": -0.1,
        "groups/green/share_data": 0.05, "groups/green/share_generated": 0.012,
        "groups/green/ldrm": 2.5,
    }  # fmt: skip
    assert (mean_and_deviation(Cell(())), mean_and_deviation(Cell((2.0,)))) == ("–", "2")
    assert (number(None), number(float("nan"))) == ("–", "–")
    assert align([["a", "b"], ["long", "1"]]) == ["a     b", "────  ─", "long  1"]


def test_settings_leave_out_the_seed_and_what_changes_no_result(tmp_path: Path):
    fit(points_config(RUN__seed=4), tmp_path)
    settings = read_settings(tmp_path)
    assert settings["MODEL.hidden_dim"] == 8
    assert not {"RUN.seed", "RUN.device", "OPTIMIZATION.total_steps", "NAME"} & settings.keys()
    assert read_settings(tmp_path / "nowhere") == {}
    path = tmp_path / "config.yaml"
    path.write_text(path.read_text().replace("hidden_dim: 8", "hidden_dim: 9"))
    with pytest.raises(UserError, match=f"{path} is damaged or was changed"):
        read_settings(tmp_path)
    for text in ("[", "- 1", ""):
        write_text(path, text)
        with pytest.raises(UserError, match=f"{path} is damaged or was changed"):
            read_settings(tmp_path)


def test_of_several_runs_the_damaged_one_is_named(tmp_path: Path, capsys):
    for name in ("a", "b", "c"):
        write_result(tmp_path / name, seeded(0, 1.0, sampler=name, **DIRECTED))
    path = tmp_path / "b" / "result.json"
    path.write_bytes(path.read_bytes().replace(b"1.0", b"2.0"))
    assert main(["compare", *(str(tmp_path / name) for name in "abc")]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert f"{path} is damaged: it is not as it was written" in line


def test_an_evaluation_counts_what_was_generated(tmp_path: Path):
    run = fit(digits_config(), tmp_path)
    result = evaluate(run)
    content = json.loads((tmp_path / "result.json").read_text())
    assert {k: v for k, v in content.items() if k != "sha256"} == read_result(tmp_path)
    assert {"config", "sampler", "seed", "steps", "seconds", "metrics", "groups"} <= result.keys()
    shares = [group["share_generated"] for group in result["groups"].values()]
    assert sum(shares) + result["metrics"]["other"] == pytest.approx(1.0)
    assert sum(group["share_data"] for group in result["groups"].values()) == pytest.approx(1.0)
    assert result["groups"]["green"]["count"] == round(0.05 * 1797)
    kept = np.load(tmp_path / "samples" / "final.npz")["x"]
    assert kept.shape == (200, 3, 8, 8)
    assert np.abs(kept).max() <= 1.0
    # a pure function of the run: opened again, it gives the very same numbers
    again = evaluate(open_run(tmp_path, manager()))
    assert {k: v for k, v in again.items() if k != "seconds"} == {
        k: v for k, v in result.items() if k != "seconds"
    }
    assert evaluate(run, num=50)["num_generated"] == 50


def extra(**hooks) -> object:
    return type("Extra", (), {name: hookimpl(hook) for name, hook in hooks.items()})()


def test_plugins_add_metrics_and_entries_and_cannot_overwrite_any():
    def with_plugin(plugin: object) -> dict:
        return evaluate(fit(points_config(OPTIMIZATION__total_steps=1), None, manager(p=plugin)))

    result = with_plugin(
        extra(
            gan_metrics=lambda self, real, fake: {"sizes": float(len(real) + len(fake))},
            gan_result=lambda self, run: {"groups": {"mode 3": {"hard": 1.0}}, "own": [1]},
        )
    )
    assert result["metrics"]["sizes"] == 400.0
    assert result["groups"]["mode 3"]["hard"] == 1.0
    assert result["groups"]["mode 3"]["share_data"] > 0
    assert result["own"] == [1]
    for bad in (
        extra(gan_result=lambda self, run: {"seed": 1}),
        extra(gan_result=lambda self, run: {"groups": {"mode 3": {"share_data": 1.0}}}),
        extra(gan_metrics=lambda self, run: {"modes_covered": 25}),
    ):
        with pytest.raises(PluginError, match="already"):
            with_plugin(bad)
