"""Training on images of one's own without naming a metric: what is measured, and what is said."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from PIL import Image
from sklearn.datasets import load_digits

from gan_registry.cli.main import main
from gan_registry.errors import UserError
from gan_registry.features.base import FeatureContext
from gan_registry.features.choose import extractor_for
from gan_registry.features.raw import Raw
from gan_registry.plugins import PluginManager

CONFIG: dict[str, Any] = {
    "DATA": {"name": "image_folder", "img_size": 8, "options": {"channels": 1}},
    "MODEL": {"backbone": "dcgan", "z_dim": 8, "g_conv_dim": 4, "d_conv_dim": 4},
    "LOSS": {"adv_loss": "logistic"},
    "OPTIMIZATION": {"batch_size": 32, "d_updates_per_step": 1, "total_steps": 6},
    "PRE": {"apply_rflip": False},
    "RUN": {"num_eval": 300, "device": "cpu"},
    "PLUGINS": {"dia": {"diagnose": True, "record_every": 1, "window": 3}},
}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Digits 0, 1 and 7 as PNGs in folders, and a configuration that names no metric."""
    monkeypatch.setenv("GAN_REGISTRY_CACHE", str(tmp_path / "cache"))
    digits = load_digits()
    for number, (image, label) in enumerate(zip(digits.images, digits.target, strict=True)):
        if label in (0, 1, 7) and number < 600:
            place = tmp_path / "data" / str(label)
            place.mkdir(parents=True, exist_ok=True)
            Image.fromarray((image * 15.9).astype("uint8")).save(place / f"{number}.png")
    (tmp_path / "c.yaml").write_text(yaml.safe_dump(CONFIG))
    return tmp_path


def trained(folder: Path, *more: str) -> dict[str, Any]:
    out = folder / "run"
    command = ["train", "--config", str(folder / "c.yaml"), "--data", str(folder / "data")]
    assert main([*command, "--out", str(out), "--quiet", *more]) == 0
    return json.loads((out / "result.json").read_text())


def test_quality_coverage_and_the_share_of_each_class_are_measured(
    folder: Path, capsys: Any
) -> None:
    result = trained(folder)
    assert {"fid", "precision", "recall", "coverage"} <= set(result["metrics"])
    shares = [entry["occurrence"] for entry in result["groups"].values()]
    assert len(shares) == 3
    assert sum(shares) == pytest.approx(1)
    told = capsys.readouterr().out
    assert f"gan-registry evaluate --run {folder / 'run'} --features inception" in told
    assert told.rstrip().splitlines()[-3].startswith("verdict  ")
    page = (folder / "run" / "report.html").read_text()
    assert "A classifier that was trained on the data counted the groups" in page
    trained(folder)  # the same command again has nothing to do
    assert json.loads((folder / "run" / "result.json").read_text()) == result


def test_who_wants_none_gets_none(folder: Path, capsys: Any) -> None:
    result = trained(folder, "--set", "RUN.eval_metrics=[]")
    assert result["eval_metrics"] == []
    assert "inception" not in capsys.readouterr().out


def test_images_of_one_class_are_measured_by_what_can_be_had() -> None:
    class Plain:
        kind, sample_shape, value_range = "image", (1, 8, 8), (-1.0, 1.0)
        name, num_classes, groups, group_names = "mine", 1, None, ()

    catalogs = PluginManager(load_entry_points=False).catalogs
    network = object()
    refusal: list[bool] = []

    def inception(context: FeatureContext) -> Any:
        if refusal:
            raise UserError("pip install 'diagan-plugin[metrics]'")
        return network

    with pytest.MonkeyPatch.context() as patch:
        item = type(catalogs.features).__getitem__
        patch.setattr(
            type(catalogs.features), "__getitem__",
            lambda self, name: inception if name == "inception" else item(self, name),
        )  # fmt: skip
        context = FeatureContext(Plain(), torch.device("cpu"), None, 0)  # type: ignore[arg-type]
        assert extractor_for("auto", catalogs, context) is network
        refusal.append(True)
        assert isinstance(extractor_for("auto", catalogs, context), Raw)
        Plain.sample_shape = (3, 64, 64)
        with pytest.raises(UserError, match="metrics"):
            extractor_for("auto", catalogs, context)
