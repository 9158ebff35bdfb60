"""Dia-GAN on several processes: the same statistics on every rank, and those of one process."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from processes import in_processes, run_module
from small_runs import manager

from diagan_plugin.dia.plugin import DIAGNOSIS_FILE, DiaPlugin
from diagan_plugin.report.diagnosis import Diagnosis
from gan_registry.config.load import load_config
from gan_registry.training.trainer import train


def fit(*settings: str, folder: Path | None = None):
    config = load_config(
        "gmm25",
        [
            "RUN.sampler=dia", "OPTIMIZATION.total_steps=30", "MODEL.hidden_dim=16",
            "MODEL.g_bn=false", "DATA.options={num_samples: 320}", "PLUGINS.dia.record_every=4",
            "PLUGINS.dia.window=5", *settings,
        ],
    )  # fmt: skip
    plugin = DiaPlugin()
    run = train(config, folder, manager(dia=plugin), name="gmm25", quiet=True)
    driver = plugin.driver(run)
    return run, driver, driver.diagnosis(run)


def fit_together(rank: int, folder: Path, settings: list[str]) -> dict[str, torch.Tensor]:
    _, driver, diagnosis = fit(*settings)
    auxiliary = [p.flatten() for p in driver.auxiliary.discriminator.parameters()]
    return {
        "score": torch.from_numpy(diagnosis.score),
        "count": torch.from_numpy(diagnosis.count),
        "draws": torch.from_numpy(driver.draws),
        "auxiliary": torch.cat(auxiliary).detach(),
    }


@pytest.mark.parametrize(
    ("record", "aux", "more"),
    [
        ("sweep", "uniform", []),
        ("sweep", "importance", ["PLUGINS.dia.record_fraction=0.6"]),
        ("stream", "uniform", []),
        ("stream", "importance", []),
    ],
)
def test_ranks_agree_with_each_other_and_with_one_process(tmp_path, record, aux, more):
    settings = [f"PLUGINS.dia.record={record}", f"PLUGINS.dia.aux={aux}", *more]
    _, driver, alone = fit(*settings)
    first, second = in_processes(fit_together, tmp_path, settings=settings)
    for name in first:
        # A sample that was recorded less than twice has NaN as its score.
        np.testing.assert_array_equal(first[name].numpy(), second[name].numpy(), name)
    np.testing.assert_allclose(first["score"].numpy(), alone.score, rtol=1e-3, atol=1e-4)
    np.testing.assert_array_equal(first["count"].numpy(), alone.count)
    assert first["draws"].sum() == driver.draws.sum()


def test_torchrun_trains_and_resumes_with_another_number_of_processes(tmp_path):
    folder = tmp_path / "run"
    command = [
        "train", "--config", "gmm25", "--sampler", "dia", "--device", "cpu",
        "--set", "DATA.options={num_samples: 320}", "--set", "MODEL.hidden_dim=16",
        "--set", "RUN.save_freq=8", "--dia-record-every", "2", "--dia-window", "4",
        "--num-eval", "200", "--out", str(folder), "--quiet",
    ]  # fmt: skip
    torchrun = ["--standalone", "--nproc_per_node=2", "-m", "gan_registry"]
    two = run_module("torch.distributed.run", *torchrun, *command, "--steps", "16", cwd=tmp_path)
    assert two.returncode == 0, two.stderr
    assert two.stdout.count("report.html") == 1  # rank 0 alone speaks
    one = run_module("gan_registry", *command, "--steps", "24", cwd=tmp_path)
    assert one.returncode == 0, one.stderr
    result = json.loads((folder / "result.json").read_text())
    assert result["steps"] == 24
    assert Diagnosis.load(folder / DIAGNOSIS_FILE).count.max() == 4
