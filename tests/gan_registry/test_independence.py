"""The host knows no method: it neither imports the plugin nor names what is in it."""

from __future__ import annotations

import importlib
import json
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch
import yaml

import gan_registry
from gan_registry.cli.main import main
from gan_registry.training.checkpoint import read_checkpoint

SOURCE = Path(gan_registry.__file__).parent
METHODS = re.compile(
    # An auxiliary classifier, a mean discrepancy and torch's own topk are other things.
    r"\b(dia|diagan\w*|dia[-_]\w+|ldr[mv]?|gold|drs|(?<!\.)topk|top_k|(?<!mean )discrepancy|"
    r"rejection|auxiliary(?! classifier))\b",
    re.IGNORECASE,
)
DISTRIBUTION = "diagan-plugin"  # what both packages are installed as


@pytest.mark.parametrize("path", sorted(SOURCE.rglob("*.py")), ids=lambda p: str(p.name))
def test_the_host_names_no_method(path: Path):
    name = str(path.relative_to(SOURCE))
    text = path.read_text(encoding="utf-8")
    found = {match.group(0) for match in METHODS.finditer(text.replace(DISTRIBUTION, ""))}
    assert not found, f"{name} names {sorted(found)}"
    assert not re.search(r"^\s*(import|from) diagan", text, re.MULTILINE)


@pytest.mark.parametrize("path", sorted(SOURCE.rglob("*.yaml")), ids=lambda p: p.name)
def test_packaged_configs_name_a_plugin_under_plugins_only(path: Path):
    content = yaml.safe_load(path.read_text(encoding="utf-8"))
    content.pop("PLUGINS", None)
    assert not METHODS.findall(yaml.safe_dump(content))


TINY = [
    "--steps", "6", "--num-eval", "200", "--quiet", "--device", "cpu",
    "--set", "MODEL.g_conv_dim=4", "--set", "MODEL.d_conv_dim=4", "--set", "RUN.save_freq=0",
]  # fmt: skip


def train(folder: Path, *flags: str) -> dict:
    assert main(["train", "--config", "colored_digits", *TINY, "--out", str(folder), *flags]) == 0
    return json.loads((folder / "result.json").read_text())


@contextmanager
def without_the_plugin() -> Iterator[None]:
    """As if the package were not there at all: importing it is an error."""
    with pytest.MonkeyPatch.context() as patch:
        for name in [name for name in sys.modules if name.startswith("diagan_plugin.")]:
            patch.delitem(sys.modules, name)
        patch.setitem(sys.modules, "diagan_plugin", None)
        yield


def equal(one: object, other: object) -> bool:
    if isinstance(one, torch.Tensor):
        return isinstance(other, torch.Tensor) and torch.equal(one, other)
    if isinstance(one, dict):
        return isinstance(other, dict) and one.keys() == other.keys() and all(
            equal(one[key], other[key]) for key in one
        )  # fmt: skip
    return one == other


def test_the_host_trains_without_the_plugin_and_diagnosis_changes_nothing(tmp_path, capsys):
    with without_the_plugin():
        results = {"blocked": train(tmp_path / "blocked")}
        assert "Skipped plugin 'dia'" in capsys.readouterr().err
        with pytest.raises(ImportError):
            importlib.import_module("diagan_plugin.dia.plugin")
    results |= {
        "uniform": train(tmp_path / "uniform", "--sampler", "uniform"),
        "diagnosed": train(tmp_path / "diagnosed", "--diagnose", "--dia-record-every", "2"),
    }
    states = {name: read_checkpoint(tmp_path / name, 6) for name in results}
    assert states["blocked"]["plugins"] == states["uniform"]["plugins"] == {}
    assert "dia" in states["diagnosed"]["plugins"]
    for part in ("generator", "discriminator", "optimizers", "position", "sampler", "logged"):
        for name in ("blocked", "diagnosed"):
            assert equal(states[name][part], states["uniform"][part]), (name, part)
    lines = {
        name: [
            {key: line[key] for key in ("step", "loss/discriminator", "loss/generator")}
            for line in map(json.loads, (tmp_path / name / "metrics.jsonl").open())
        ]
        for name in results
    }
    assert lines["blocked"] == lines["uniform"] == lines["diagnosed"]
    for name in ("blocked", "diagnosed"):
        assert results[name]["metrics"] == results["uniform"]["metrics"]
    assert "ldrm" in results["diagnosed"]["groups"]["green"]
    assert "ldrm" not in results["blocked"]["groups"]["green"]
    for name in results:
        assert (tmp_path / name / "report.html").stat().st_size > 1000
