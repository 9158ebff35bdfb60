"""Weights & Biases and MLflow as they are installed, offline, each into a folder."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from small_runs import digits_config, fit, manager

from gan_registry.evaluation.evaluate import evaluate
from gan_registry.hookspecs import hookimpl
from gan_registry.loggers.mlflow_tracking import MlflowPlugin, _name
from gan_registry.loggers.weights_and_biases import WandbPlugin
from gan_registry.report.document import Report, Verdict
from gan_registry.report.write import write_report


class Says:
    @hookimpl
    def gan_report(self, report: Report) -> None:
        report.add_section("Z", Verdict("Few greens, I fear."), order=1, anchor="z")


def whole_run(
    plugin: object, name: str, option: str, folder: Path, sittings: tuple[int, ...] = (2, 4)
) -> None:
    """A run that is trained in several sittings, measured and reported."""
    for steps in sittings:
        config = digits_config(
            OPTIMIZATION__total_steps=steps, RUN__sample_freq=2, RUN__num_eval=50,
            **{f"PLUGINS__{name}": {option: "demo"}},
        )  # fmt: skip
        run = fit(config, folder, manager(**{name: plugin}, says=Says()))
    evaluate(run)
    write_report(run)


def test_weights_and_biases_keeps_all_offline(tmp_path: Path, monkeypatch: Any) -> None:
    wandb = pytest.importorskip("wandb")
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_SILENT", "true")
    for place in ("DATA", "CACHE", "CONFIG"):
        monkeypatch.setenv(f"WANDB_{place}_DIR", str(tmp_path / place))
    folder = tmp_path / "run"
    whole_run(WandbPlugin(), "wandb", "project", folder)
    wandb.teardown()  # as a process does that ends: what is not written yet is
    runs = sorted((folder / "wandb").glob("offline-run-*"))
    name = (folder / "wandb.id").read_text().strip()
    assert {path.name.rsplit("-", 1)[1] for path in runs} == {name}  # both sittings are one run
    records = b"".join(path.read_bytes() for run in runs for path in run.glob("*.wandb"))
    for expected in (b"loss/generator", b"metrics/other", b"Few greens, I fear.", b"demo",
                     f"report-{name}".encode(), b"dcgan"):  # fmt: skip
        assert expected in records, expected
    grids = [path for run in runs for path in run.rglob("media/images/samples_*.png")]
    assert len(grids) == 2


def test_mlflow_keeps_all_in_a_local_store(tmp_path: Path, monkeypatch: Any) -> None:
    mlflow = pytest.importorskip("mlflow")
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")  # sqlite takes longer to set up
    monkeypatch.setenv("MLFLOW_TRACKING_URI", (tmp_path / "store").as_uri())
    folder = tmp_path / "run"
    whole_run(MlflowPlugin(), "mlflow", "experiment", folder)
    client = mlflow.MlflowClient()
    experiment = client.get_experiment_by_name("demo")
    (run,) = client.search_runs([experiment.experiment_id])  # both sittings are one run
    assert run.info.run_id == (folder / "mlflow.id").read_text().strip()
    assert run.info.status == "FINISHED"
    history = client.get_metric_history(run.info.run_id, "loss/generator")
    assert sorted(metric.step for metric in history) == [1, 2, 3, 4]
    assert "metrics/other" in run.data.metrics
    assert run.data.params["MODEL.backbone"] == "dcgan"
    assert run.data.tags["verdict"] == "Few greens, I fear."
    kept = {
        a.path for place in ("", "samples") for a in client.list_artifacts(run.info.run_id, place)
    }
    assert {"report.html", "samples/step-00000002.png", "samples/step-00000004.png"} <= kept
    # A run that this server does not know is begun anew.
    (folder / "mlflow.id").write_text("0" * 32)
    whole_run(MlflowPlugin(), "mlflow", "experiment", folder, (5,))
    assert len(client.search_runs([experiment.experiment_id])) == 2


def test_names_are_in_the_letters_that_mlflow_takes() -> None:
    assert _name("groups/a b.share_data") == "groups/a b.share_data"
    assert _name("dia/σ→μ(x)") == "dia/____x_"
