"""The benchmarks run and say what they found; how fast anything is, is no matter of tests."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest
from processes import run_module

from benchmarks.speed import BENCHMARKS, harness

ROOT = Path(__file__).resolve().parents[2]


def benchmarks(*arguments: str) -> subprocess.CompletedProcess[str]:
    return run_module("benchmarks.speed", *arguments, cwd=ROOT)


def test_prints_a_table_and_writes_json(tmp_path):
    path = tmp_path / "speed.json"
    done = benchmarks(
        "--quick", "--threads", "1", "--only", "epoch_indices,hooks", "--json", str(path)
    )
    assert done.returncode == 0, done.stderr
    head, *lines = done.stdout.splitlines()
    assert head.split() == ["benchmark", "what", "ours", "theirs", "unit", "ratio", "aim", "met"]

    content = json.loads(path.read_text(encoding="utf-8"))
    rows = content["rows"]
    assert {row["benchmark"] for row in rows} == {"epoch_indices", "hooks"}
    for row in rows:
        assert any(line.startswith(row["benchmark"]) and row["name"] in line for line in lines)
        assert row["ours"] > 0
        if row["theirs"] is not None:
            assert row["theirs"] > 0
            assert row["ratio"] > 0
        if row["benchmark"] == "epoch_indices" and row["theirs"] is not None:
            # Above 1 where ours is faster, with an aim for that size or without; but a bound from
            # above is on what ours costs.
            cost = row["ours"] / row["theirs"]
            ratio = cost if row["aim"].startswith("≤") else 1 / cost
            assert row["ratio"] == pytest.approx(ratio, rel=1e-6)
        assert row["met"] is None  # of tiny sizes, nothing is claimed
    assert content["settings"] == {"quick": True, "repeats": None, "threads": 1, "clock": "wall"}
    assert content["machine"]["torch_threads"] == 1
    assert content["machine"]["versions"]["torch"]
    # Nothing that tells whose machine it was.
    for private in (str(ROOT), str(Path.home()), str(tmp_path)):
        assert private not in path.read_text(encoding="utf-8")


def test_the_table_as_markdown_says_met_or_missed_in_words():
    pair = harness.Pair([1.0, 2.0, 3.0], [2.0, 2.0, 2.0])
    rows = [
        pair.row("a", "slower", harness.at_most(0.9), unit="ms"),
        pair.row("a", "faster", harness.at_most(1.5)),
        harness.Row("b", "left out", note="skipped: no peer"),
    ]
    assert harness.markdown(rows).splitlines()[2:] == [
        "| `a`: slower | 2 ms | 2 ms | 1× (0.5–1.5) | ≤ 0.9× | **missed** |",
        "| `a`: faster | 2 s | 2 s | 1× (0.5–1.5) | ≤ 1.5× | met |",
        "| `b`: left out |  |  |  |  | skipped: no peer |",
    ]


@pytest.mark.slow
def test_every_benchmark_runs(tmp_path):
    path = tmp_path / "speed.json"
    done = benchmarks("--quick", "--threads", "1", "--json", str(path))
    assert done.returncode == 0, done.stdout + done.stderr
    rows = json.loads(path.read_text(encoding="utf-8"))["rows"]
    assert {row["benchmark"] for row in rows} == set(BENCHMARKS)


@pytest.mark.parametrize(
    "arguments", [("--only", "nonsense"), ("--only", ""), ("--threads", "0"), ("--repeats", "0")]
)
def test_refuses_what_it_cannot_measure(arguments):
    done = benchmarks(*arguments)
    assert done.returncode == 2
    assert arguments[0] in done.stderr
    assert "Traceback" not in done.stderr


def check_importance(rows: list[dict[str, Any]], lines: list[str]) -> None:
    cases = [(row["batch_norm"], row["mode"], row["samples"]) for row in rows]
    assert cases == [
        (norm, mode, samples)
        for norm, mode in ((False, "eval"), (True, "eval"), (True, "batchstat"))
        for samples in ("training", "generated")
    ]
    for row, line in zip(rows, lines, strict=True):
        assert row["weight_variance"] > 0
        numbers = [row[name] for name in ("importance", "again", "D itself")]
        assert all(-1.0 <= number <= 1.0 for number in numbers)
        # On equal batches and fakes, the two that differ in the batches' seed agree best.
        assert row["again"] > 0.5
        assert all(f"{number:.3f} ({number:.3f} to" in line for number in numbers)


def check_combinations(rows: list[dict[str, Any]], lines: list[str]) -> None:
    assert [row["name"] for row in rows] == [
        "uniform", "dia", "dia + top-k", "dia + mode seeking", "dia, auto",
    ]  # fmt: skip
    assert rows[0]["cost"] == 1.0
    for row, line in zip(rows, lines, strict=True):
        assert line.startswith(row["name"])
        assert row["cost"] > 0
        assert row["smallest_in_data"] == 1 / 25
        assert ("acceptance_rate" in row) == (row["name"] != "uniform")
        for end in ("", "_drs") if "acceptance_rate" in row else ("",):
            distance, smallest = row[f"distance{end}"], row[f"smallest{end}"]
            # Of 25 modes of equal size, and what belongs to none of them.
            assert 0.0 <= distance <= 1.0
            assert 0.0 <= smallest <= 1 / 25
            assert distance >= 1 - row[f"high_quality{end}"] - 1e-9
            assert f"{distance:.3f} (" in line
        assert 0.0 < row.get("acceptance_rate", 1.0) <= 1.0


def check_black_box(rows: list[dict[str, Any]], lines: list[str]) -> None:
    identity, packs = rows[:4], rows[4:]
    assert [row["generator"] for row in identity] == [
        "nothing planted", "planted", "calibrated, mixture", "calibrated, hull",
    ]  # fmt: skip
    assert [row["pack"] for row in packs] == [1, 4]
    for row in rows:
        assert 0.0 <= row["low"] <= row["mccs"] <= row["high"] <= 1.0
        assert 0.0 < row["mean"] < 1.0
        shown = f"{row['mccs']:.3f} ({row['low']:.3f} to {row['high']:.3f})"
        assert any(shown in line for line in lines)
    # The planted mode is seen at 1,000 samples too, where the FID sees nothing.
    plain, planted, *calibrated = identity
    assert planted["low"] > plain["high"]
    assert planted["fid"] == pytest.approx(plain["fid"], rel=0.05)
    assert all(row["mccs"] < planted["mccs"] for row in calibrated)
    assert all(0 <= row["modes"] <= 25 for row in packs)


def check_auxiliary(rows: list[dict[str, Any]], lines: list[str]) -> None:
    cost = {row["name"]: row["cost_phase2"] for row in rows}
    assert cost["plain"] == cost["D itself"] == 1.0
    assert all(cost[name] > 1.0 for name in ("M = 1", "M = 2", "M = 5"))
    assert all(0.0 <= row["distance"] <= 1.0 for row in rows)
    assert all("acceptance_rate" in row for row in rows)


@pytest.mark.parametrize(
    ("claim", "heading", "check"),
    [
        ("importance_vs_uniform", "var. of weights", check_importance),
        ("combinations", "distance to data", check_combinations),
        ("black_box", "MCCS of the mode", check_black_box),
        ("auxiliary_every", "distance to data", check_auxiliary),
    ],
)
def test_a_claim_is_measured(claim, heading, check, tmp_path):
    path = tmp_path / "claim.json"
    done = run_module(f"benchmarks.claims.{claim}", "--quick", "--json", str(path), cwd=ROOT)
    assert done.returncode == 0, done.stderr
    head, *lines = done.stdout[: done.stdout.rindex("\n")].split("\n")
    if heading not in head:  # a title stands above
        head, *lines = lines
    assert heading in head
    rows = json.loads(path.read_text(encoding="utf-8"))["rows"]
    check(rows, lines)


@pytest.mark.slow
@pytest.mark.parametrize(("config", "has_minority"), [("gaussian", True), ("gmm25", False)])
def test_the_laplace_estimate_is_compared_and_minorities_are_told_where_there_are_any(
    config, has_minority, tmp_path
):
    path = tmp_path / "laplace.json"
    done = run_module(
        "benchmarks.claims.laplace_vs_measured", "--config", config, "--steps", "8",
        "--record-every", "2", "--seeds", "1", "--prior-variance", "1", "--json", str(path),
        cwd=ROOT,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    for row in json.loads(path.read_text(encoding="utf-8"))["rows"]:
        assert -1.0 <= row["spearman"] <= 1.0
        assert (row["auc_measured"] is not None) == has_minority
        assert (row["auc_laplace"] is not None) == has_minority
    assert ("–" in done.stdout) != has_minority


@pytest.mark.slow
def test_a_long_run_is_measured_at_every_tenth(tmp_path):
    path = tmp_path / "long.json"
    done = run_module(
        "benchmarks.long_run", "--steps", "30", "--samplers", "dia", "--json", str(path), cwd=ROOT
    )
    assert done.returncode == 0, done.stderr
    rows = json.loads(path.read_text(encoding="utf-8"))["dia"]
    assert [row["step"] for row in rows] == list(range(3, 31, 3))
    for row in rows:
        assert row["resident"] > 2**20
        assert row["microseconds_per_step"] > 0
    assert rows[-1]["checkpoints"] > 0
    assert len(done.stdout.splitlines()) == 12  # a title, a head, and a line for each
    refused = run_module("benchmarks.long_run", "--steps", "9", cwd=ROOT)
    assert refused.returncode == 2
    assert "--steps: must be at least 10" in refused.stderr
