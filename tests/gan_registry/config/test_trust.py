"""Code that a file names is run only if the user's own command line says so."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import yaml

from gan_registry.cli.main import main
from gan_registry.config.load import load_config
from gan_registry.errors import UserError
from gan_registry.evaluation.evaluate import evaluate
from gan_registry.integrity import write_json, write_text
from gan_registry.training.trainer import open_run
from tests.helpers.small_runs import digits_config, fit

MODULE = "names_code_of_a_stranger"
CODE = """
from pathlib import Path
Path(__file__).with_name("ran").touch()
"""
TINY = {
    "DATA": {"name": "gmm25", "options": {"num_samples": 200}},
    "MODEL": {"backbone": "mlp", "z_dim": 2, "hidden_dim": 8, "num_layers": 2},
    "LOSS": {"adv_loss": "logistic"},
    "OPTIMIZATION": {"batch_size": 16, "d_updates_per_step": 1, "total_steps": 2},
    "RUN": {"num_eval": 100, "device": "cpu"},
}


@pytest.fixture
def ran(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[], bool]:
    """A module that leaves a trace when it is imported; tells whether it has."""
    (tmp_path / f"{MODULE}.py").write_text(CODE)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, MODULE, raising=False)
    return (tmp_path / "ran").exists


@pytest.fixture
def script(tmp_path: Path) -> Path:
    """Features as a TorchScript file: code."""
    path = tmp_path / "features.pt"
    torch.jit.save(torch.jit.script(torch.nn.Linear(2, 3)), str(path))
    return path


def written(folder: Path, **changes: dict[str, object]) -> str:
    content = {**TINY, **{key: {**TINY.get(key, {}), **new} for key, new in changes.items()}}
    path = folder / "strangers.yaml"
    path.write_text(yaml.safe_dump(content))
    return str(path)


def nvlabs(folder: Path) -> str:
    return written(
        folder, MODEL={"backbone": "nvlabs", "module": MODULE},
        DATA={"name": "colored_digits", "img_size": 8, "options": {}},
    )  # fmt: skip


def complaint(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    capsys.readouterr()
    assert main(list(arguments)) == 2
    err = capsys.readouterr().err
    assert len(err.splitlines()) == 1, err
    return err


def test_a_config_does_not_import_what_it_names(
    tmp_path: Path, ran: Callable[[], bool], capsys: pytest.CaptureFixture[str]
) -> None:
    out = ["--out", str(tmp_path / "run")]
    line = complaint(capsys, "train", "--config", nvlabs(tmp_path), *out)
    assert f"names code that would be run: MODEL.module = '{MODULE}'" in line
    assert "--trust" in line
    assert f"--set MODEL.module={MODULE}" in line
    assert not ran()
    assert not (tmp_path / "run").exists()
    with pytest.raises(UserError, match="trust=True"):
        load_config(nvlabs(tmp_path))


@pytest.mark.parametrize("allowed", [["--trust"], ["--set", f"MODEL.module={MODULE}"]])
def test_the_command_line_allows_it(
    tmp_path: Path, ran: Callable[[], bool], capsys: pytest.CaptureFixture[str], allowed: list[str]
) -> None:
    out = ["--out", str(tmp_path / "run")]
    line = complaint(capsys, "train", "--config", nvlabs(tmp_path), *out, *allowed)
    assert "has no Generator" in line  # it was imported, and is no module of networks
    assert ran()
    assert load_config(nvlabs(tmp_path), trust=True).MODEL.module == MODULE
    assert load_config(nvlabs(tmp_path), [f"MODEL.module={MODULE}"]).MODEL.module == MODULE


def test_a_plugins_features_count_as_code_too(
    tmp_path: Path, script: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = written(tmp_path, PLUGINS={"instance_selection": {"features": str(script)}})
    train = ["train", "--config", config, "--dry-run"]
    line = complaint(capsys, *train)
    assert f"PLUGINS.instance_selection.features = '{script}'" in line
    assert f"--instance-selection-features {script}" in line
    assert main([*train, "--trust"]) == 0
    assert main([*train, "--instance-selection-features", str(script)]) == 0
    assert main([*train, "--set", f"PLUGINS.instance_selection.features={script}"]) == 0


def test_a_name_of_features_is_no_code(tmp_path: Path) -> None:
    assert main(["train", "--config", written(tmp_path, RUN={"eval_features": "raw"}),
                 "--dry-run"]) == 0  # fmt: skip


def test_the_features_of_a_run_folder(
    tmp_path: Path, script: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = written(tmp_path, RUN={"eval_features": str(script), "eval_metrics": ["fid"]})
    folder = str(tmp_path / "run")
    train = ["train", "--config", config, "--out", folder, "--quiet"]
    assert "RUN.eval_features" in complaint(capsys, *train)
    assert main([*train, "--trust"]) == 0

    evaluate_it = ["evaluate", "--run", folder, "--quiet"]
    line = complaint(capsys, *evaluate_it)
    assert f"RUN.eval_features = '{script}'" in line
    assert "--features FILE" in line
    for allowed in (["--trust"], ["--features", str(script)], ["--features", "raw"]):
        assert main([*evaluate_it, *allowed]) == 0
    # Samples need no features.
    sample = ["sample", "--run", folder, "--num", "3", "--out", str(tmp_path / "s.npz")]
    assert main(sample) == 0
    with pytest.raises(UserError, match="names code"):
        evaluate(open_run(tmp_path / "run"))
    evaluate(open_run(tmp_path / "run", trust=True))


@pytest.fixture
def poisoned(tmp_path: Path, ran: Callable[[], bool]) -> Path:
    """A run folder as someone hands it on, whose config names a module."""
    fit(digits_config(MODEL__d_bn=False, MODEL__d_dropout=0.0), tmp_path / "run")
    path = tmp_path / "run" / "config.yaml"
    content = yaml.safe_load(path.read_text())
    content["MODEL"].update(module=MODULE, backbone="nvlabs", g_bn=True)
    write_text(path, yaml.safe_dump(content, sort_keys=False))
    return path.parent


def test_a_run_folder_does_not_import_what_it_names(
    tmp_path: Path, poisoned: Path, ran: Callable[[], bool], capsys: pytest.CaptureFixture[str]
) -> None:
    from diagan_plugin.cli import main as diagan

    write_json(poisoned / "result.json", {})
    commands = [
        (main, ["evaluate", "--run", str(poisoned), "--metrics", "none"]),
        (main, ["sample", "--run", str(poisoned), "--num", "1", "--out", str(tmp_path / "s.npz")]),
        (diagan, ["report", "--run", str(poisoned)]),
        (diagan, ["diagnose", "--generator", str(poisoned)]),
        (diagan, ["calibrate", "--generator", str(poisoned), "--out",
                  str(tmp_path / "c.safetensors")]),
    ]  # fmt: skip
    for command, arguments in commands:
        capsys.readouterr()
        assert command(arguments) == 2
        line = capsys.readouterr().err
        assert "names code that would be run: MODEL.module" in line, arguments
        assert "--trust" in line
        assert not ran()
    with pytest.raises(UserError, match="names code"):
        open_run(poisoned)
    assert not ran()
    for command, arguments in commands:
        assert command([*arguments, "--trust"]) == 2  # imported now, and unfit
        assert ran()
        (tmp_path / "ran").unlink()
        sys.modules.pop(MODULE, None)
