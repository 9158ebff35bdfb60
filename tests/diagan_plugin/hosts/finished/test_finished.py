"""`diagan diagnose --discriminators`: what it computes, and what it refuses."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from small_runs import digits_config, fit
from torch import nn

from diagan_plugin import cli, load_diagnosis, load_export
from gan_registry.training.trainer import open_run

SIZE = 4
LOADERS = """
import torch
from torch import nn

class Net(nn.Module):
    def __init__(self, path):
        super().__init__()
        self.weight = nn.Parameter(torch.load(path, weights_only=True))

    def forward(self, x, y=None):
        logit = x.flatten(1) @ self.weight
        return {"adv_output": logit if y is None else logit + 100.0 * y}

def load(path):
    return Net(path)

def number(path):
    return 3

def broken(path):
    raise KeyError("no state\\nhere")

def blind(path):
    net = Net(path)
    net.weight.data.fill_(float("nan"))
    return net
"""


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a loader, three discriminators and a folder of images in two classes."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "own_loaders.py").write_text(LOADERS)
    monkeypatch.delitem(__import__("sys").modules, "own_loaders", raising=False)
    rng = np.random.default_rng(0)
    for i in range(24):
        path = tmp_path / "data" / "train" / ("cat" if i % 3 else "dog") / f"{i:02}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(0, 256, (SIZE, SIZE), np.uint8)).save(path)
    for i in range(3):
        torch.save(torch.from_numpy(rng.normal(size=SIZE * SIZE)).float(), tmp_path / f"D{i}.pth")
    return tmp_path


FILES = ["--discriminators", "D0.pth", "D1.pth", "D2.pth"]
LOADED = ["--loader", "own_loaders:load", "--data", "data", "--quiet"]


def expected(place: Path, names: tuple[str, ...], count: int) -> np.ndarray:
    """The logits [count, N] by hand."""
    x = np.stack([np.asarray(Image.open(place / "data" / name), float).ravel() for name in names])
    weights = [torch.load(place / f"D{i}.pth", weights_only=True).numpy() for i in range(count)]
    return np.stack([(x / 127.5 - 1.0) @ weight for weight in weights])


def test_statistics_are_those_of_the_logits(place: Path, capsys: Any) -> None:
    assert cli.main(["diagnose", *FILES, *LOADED, "--k", "2", "--out", "out"]) == 0
    printed = capsys.readouterr().out
    diagnosis = load_diagnosis("out")
    assert sorted(diagnosis.names)[0].startswith("train/cat/")
    logits = expected(place, diagnosis.names, 3)
    np.testing.assert_allclose(diagnosis.ldrm, logits.mean(0), atol=1e-4)
    np.testing.assert_allclose(diagnosis.ldrv, logits.var(0, ddof=1), rtol=1e-3, atol=1e-4)
    score = logits.mean(0) + 2 * logits.std(0, ddof=1)
    np.testing.assert_allclose(diagnosis.score, score, rtol=1e-3, atol=1e-3)
    assert diagnosis.group_names == ("cat", "dog")
    assert diagnosis.name(int(score.argmax())) in printed
    table = load_export("out/samples.csv")
    assert table["path"].tolist() == list(diagnosis.names)
    page = Path("out/report.html").read_text(encoding="utf-8")
    assert Path(diagnosis.name(int(score.argmax()))).name in page


def test_one_discriminator_has_no_variance(place: Path, capsys: Any) -> None:
    assert cli.main(["diagnose", *FILES[:2], *LOADED, "--out", "out"]) == 0
    assert "the score is LDRM alone" in capsys.readouterr().out
    diagnosis = load_diagnosis("out")
    np.testing.assert_allclose(diagnosis.score, expected(place, diagnosis.names, 1)[0], atol=1e-4)
    assert np.isnan(diagnosis.ldrv).all()
    assert diagnosis.probability.sum() == pytest.approx(1.0)


def test_labels_sign_and_json(place: Path, capsys: Any) -> None:
    assert cli.main(["diagnose", *FILES, *LOADED, "--conditional", "--sign", "-1", "--json"]) == 0
    content = json.loads(capsys.readouterr().out)
    assert content["records"] == 3
    # The class "dog", 1, has 100 more, which the sign makes less.
    assert content["groups"]["cat"]["ldrm"] > content["groups"]["dog"]["ldrm"] + 90
    assert all(entry["path"].startswith("train/cat/") for entry in content["most"])


def test_a_run_needs_neither_loader_nor_data(tmp_path: Path, capsys: Any) -> None:
    config = digits_config(
        MODEL__d_bn=False, OPTIMIZATION__total_steps=6, RUN__save_freq=2,
        RUN__keep_checkpoints=3,
    )  # fmt: skip
    fit(config, tmp_path / "run")
    files = sorted((tmp_path / "run" / "checkpoints").iterdir())
    assert len(files) > 1
    out = tmp_path / "out"
    words = ["diagnose", "--discriminators", *map(str, files), "--out", str(out), "--quiet"]
    assert cli.main(words) == 0
    diagnosis = load_diagnosis(out)
    logits = []
    for file in files:
        run = open_run(tmp_path / "run", step=int(file.stem.removeprefix("step-")), device="cpu")
        x, y = run.dataset.__getitems__(np.arange(len(run.dataset)))
        run.discriminator.eval()
        with torch.no_grad():
            logits.append(run.logits(x, y).numpy())
    np.testing.assert_allclose(diagnosis.ldrm, np.mean(logits, 0), atol=1e-4)
    assert diagnosis.history_steps.tolist() == [int(f.stem.removeprefix("step-")) for f in files]
    assert diagnosis.last_step == 6
    # The folder stands for all of its checkpoints.
    words = ["diagnose", "--discriminators", str(tmp_path / "run"), "--quiet", "--json"]
    capsys.readouterr()
    assert cli.main(words) == 0
    assert json.loads(capsys.readouterr().out)["records"] == len(files)


LOAD = ("--loader", "own_loaders:load")


@pytest.mark.parametrize(
    ("flags", "says"),
    [
        (("--loader", "own_loaders:number", "--data", "data"), "returns a int for D0.pth"),
        (("--loader", "own_loaders:broken", "--data", "data"), "fails on D0.pth: KeyError"),
        (("--loader", "own_loaders:blind", "--data", "data"), "finite"),
        (("--loader", "own_loaders:none", "--data", "data"), "no function 'none'"),
        (("--loader", "no_such_module:f", "--data", "data"), "cannot be imported"),
        (("--loader", "own_loaders", "--data", "data"), "module:function"),
        (LOAD, "needs --data"),
        ((), "is no checkpoint of gan-registry's"),
        (("--data", "data"), "--data is for discriminators that --loader loads"),
        ((*LOAD, "--data", "data", "--theta", "0.2"), "--theta has no meaning with"),
        ((*LOAD, "--data", "data", "--img-size", "8"), r"samples [B, 1, 8, 8]: RuntimeError"),
        ((*LOAD, "--data", "nowhere"), "does not exist"),
        ((*LOAD, "--data", "data", "--loss", "nonsense"), "Unknown loss 'nonsense'"),
    ],
)
def test_mistakes_are_one_line(place: Path, capsys: Any, flags: tuple[str, ...], says: str) -> None:
    assert cli.main(["diagnose", *FILES[:2], "--out", "out", *flags]) == 2
    error = capsys.readouterr().err
    assert says in error
    assert error.count("\n") == 1
    assert not (place / "out").exists()


def test_files_that_are_missing_and_flags_without_discriminators(place: Path, capsys: Any) -> None:
    assert cli.main(["diagnose", "--discriminators", "none.pth", *LOADED]) == 2
    assert "there is no none.pth" in capsys.readouterr().err
    assert cli.main(["diagnose", "--samples", "data", "--loss", "hinge"]) == 2
    assert "--loss has no meaning without --discriminators" in capsys.readouterr().err


def test_a_module_is_found_in_the_present_folder_alone_for_the_moment(place: Path) -> None:
    import sys

    from diagan_plugin.hosts.finished.loading import find_loader

    before = list(sys.path)
    assert isinstance(find_loader("own_loaders:load")("D0.pth"), nn.Module)
    assert sys.path == before
