"""The benchmarks run and say what they found; how fast anything is, is no matter of tests."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest
from processes import run_module

ROOT = Path(__file__).resolve().parents[1]

pytestmark = pytest.mark.skipif(
    not (ROOT / "benchmarks").is_dir(), reason="the benchmarks are part of a checkout only"
)


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
            # Above 1 where ours is faster, whether there is an aim for that size or not.
            assert row["ratio"] == pytest.approx(row["theirs"] / row["ours"], rel=1e-6)
        assert row["met"] is None  # of tiny sizes, nothing is claimed
    assert content["settings"] == {"quick": True, "repeats": None, "threads": 1, "clock": "wall"}
    assert content["machine"]["torch_threads"] == 1
    assert content["machine"]["versions"]["torch"]
    # Nothing that tells whose machine it was.
    for private in (str(ROOT), str(Path.home()), str(tmp_path)):
        assert private not in path.read_text(encoding="utf-8")


@pytest.mark.parametrize(
    "arguments", [("--only", "nonsense"), ("--only", ""), ("--threads", "0"), ("--repeats", "0")]
)
def test_refuses_what_it_cannot_measure(arguments):
    done = benchmarks(*arguments)
    assert done.returncode == 2
    assert arguments[0] in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("claim", "heading", "keys"),
    [
        ("importance_vs_uniform", "var. of weights", {"importance", "again", "D itself"}),
        ("combinations", "distance to data", {"distance", "smallest"}),
        ("black_box", "MCCS of the mode", {"mccs", "low", "high", "mean"}),
        ("auxiliary_every", "distance to data", {"cost_phase2", "acceptance_rate", "distance"}),
    ],
)
def test_a_claim_is_measured(claim, heading, keys, tmp_path):
    path = tmp_path / "claim.json"
    done = run_module(f"benchmarks.claims.{claim}", "--quick", "--json", str(path), cwd=ROOT)
    assert done.returncode == 0, done.stderr
    assert heading in done.stdout
    rows = json.loads(path.read_text(encoding="utf-8"))["rows"]
    assert rows
    for row in rows:
        assert keys <= row.keys()
    if claim == "auxiliary_every":
        cost = {row["name"]: row["cost_phase2"] for row in rows}
        assert cost["plain"] == cost["D itself"] == 1.0
        assert all(cost[name] > 1.0 for name in ("M = 1", "M = 2", "M = 5"))
        assert all(0.0 <= row["distance"] <= 1.0 for row in rows)
    else:
        assert all(-1.0 <= row[key] <= 1.0 for row in rows for key in keys)


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
