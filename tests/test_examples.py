"""A package outside the two, installed and trained: its backbone gains every method unchanged."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from processes import run_module

EXAMPLES = Path(__file__).resolve().parent.parent / "examples"
R3GAN = EXAMPLES / "r3gan_backbone"


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that holds the first example as pip installs it."""
    return install("third_party_backbone", tmp_path_factory)


@pytest.fixture(scope="module")
def r3gan(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return install("r3gan_backbone", tmp_path_factory)


def install(example: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    source = tmp_path_factory.mktemp("source") / "example"
    shutil.copytree(EXAMPLES / example, source)  # building leaves files behind
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


def test_the_package_of_r3gan_passes_its_own_tests(r3gan, tmp_path):
    shutil.copytree(R3GAN, tmp_path / "package")
    shutil.rmtree(tmp_path / "package" / "src")  # what is installed is tested
    done = run_module("pytest", "-q", "-p", "no:xdist", cwd=tmp_path / "package", site=r3gan)
    assert done.returncode == 0, done.stdout
    assert " passed" in done.stdout
    assert not {"skipped", "failed"} & set(done.stdout.split())


def test_gold_is_refused_for_pairs_in_one_line(r3gan, tmp_path):
    command = [
        "train", "--config", str(R3GAN / "digits16.yaml"), "--gold", "--steps", "2",
        "--out", str(tmp_path / "run"),
    ]  # fmt: skip
    done = run_module("gan_registry", *command, cwd=tmp_path, site=r3gan)
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert "--gold" in line
    assert "'relativistic' leaves open up to a constant" in line
    assert not (tmp_path / "run").exists()


def test_without_the_package_the_name_is_unknown(tmp_path):
    command = ["train", "--config", "gmm25", "--set", "MODEL.backbone=tiny", "--dry-run"]
    done = run_module("gan_registry", *command, cwd=tmp_path)
    assert done.returncode == 2
    assert "unknown backbone 'tiny'" in done.stderr.lower()
