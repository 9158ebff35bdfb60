"""A package outside the two, installed and trained: its backbone gains every method unchanged."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from processes import run_module

EXAMPLE = Path(__file__).resolve().parent.parent / "examples" / "third_party_backbone"


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that holds the example as pip installs it."""
    source = tmp_path_factory.mktemp("source") / "example"
    shutil.copytree(EXAMPLE, source)  # building leaves files behind
    target = tmp_path_factory.mktemp("installed")
    command = ["install", "--quiet", "--no-deps", "--no-index", "--no-build-isolation"]
    subprocess.run(
        [sys.executable, "-m", "pip", *command, "--target", str(target), str(source)], check=True
    )
    return target


def test_a_third_party_backbone_gains_every_method(installed, tmp_path):
    command = [
        "train", "--config", "gmm25", "--quiet",
        "--set", "MODEL.backbone=tiny", "--set", "DATA.options.num_samples=400",
        "--sampler", "dia", "--dia-record-every", "4", "--gold", "--top-k", "--samples", "drs",
        "--steps", "40", "--num-eval", "100", "--out", str(tmp_path / "run"),
    ]  # fmt: skip
    done = run_module("gan_registry", *command, cwd=tmp_path, site=installed)
    assert done.returncode == 0, done.stderr
    result = json.loads((tmp_path / "run" / "result.json").read_text())
    assert result["sampler"] == "dia"
    assert 0 < result["metrics_drs"]["acceptance_rate"] <= 1
    logged = (tmp_path / "run" / "metrics.jsonl").read_text()
    assert "gold/mean_weight" in logged


def test_without_the_package_the_name_is_unknown(tmp_path):
    command = ["train", "--config", "gmm25", "--set", "MODEL.backbone=tiny", "--dry-run"]
    done = run_module("gan_registry", *command, cwd=tmp_path)
    assert done.returncode == 2
    assert "unknown backbone 'tiny'" in done.stderr.lower()
