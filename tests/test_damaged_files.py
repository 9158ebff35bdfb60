"""Every file that is read again: bits are flipped and ends cut off where the dice say."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from small_runs import fit, manager, points_config

from diagan_plugin.blackbox.calibrate_mixture import MixtureLatents
from diagan_plugin.blackbox.latent_sampler import CalibratedLatents
from diagan_plugin.dia.plugin import DiaPlugin
from diagan_plugin.hosts.kit.state import FORMAT, read_file, write_file
from diagan_plugin.report.diagnosis import Diagnosis
from gan_registry.errors import UserError
from gan_registry.evaluation.evaluate import evaluate
from gan_registry.evaluation.results import read_result, read_settings
from gan_registry.features.kept import keep, read_kept
from gan_registry.report.sample_pictures import load_generated
from gan_registry.training.checkpoint import read_checkpoint
from gan_registry.training.folder import read_folder

FLIPS, CUTS = 80, 25


def plugins() -> Any:
    return manager(dia=DiaPlugin())


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run, and beside it what is written elsewhere."""
    folder = tmp_path_factory.mktemp("run")
    config = points_config(
        RUN__sampler="dia", PLUGINS__dia={"phase1": 0.5, "record_every": 1, "window": 2}
    )
    evaluate(fit(config, folder, plugins()))
    keep(folder / "kept.safetensors", {"features": torch.randn(9, 4)}, {"dataset": "x"})
    factor = torch.eye(2, dtype=torch.float64)
    weights = torch.tensor([0.25, 0.75], dtype=torch.float64)
    MixtureLatents(weights, factor, factor, {}).save(folder / "calibration.safetensors")
    state = {
        "format": FORMAT, "step": 4, "seed": 0, "sampler_name": "uniform", "fingerprint": "f",
        "position": 8, "sampler": {}, "additions": {}, "plugins": {"p": {"x": torch.randn(5)}},
    }  # fmt: skip
    write_file(folder / "plugins.safetensors", state)
    return folder


def _or_none(found: Any) -> Any:
    """Lets what a reader returns of a file that it leaves out pass for the refusal that it is."""
    if not found:
        raise UserError("left out")
    return found


READERS: dict[str, Callable[[Path], Any]] = {
    "checkpoints/step-00000006.safetensors": lambda path: read_checkpoint(path.parents[1], 6),
    "diagnosis.safetensors": Diagnosis.load,
    "result.json": lambda path: read_result(path.parent),
    "config.yaml": lambda path: (read_folder(path.parent, plugins()), read_settings(path.parent)),
    "samples/final.npz": lambda path: _or_none(load_generated(path)),
    "kept.safetensors": lambda path: _or_none(read_kept(path)),
    "calibration.safetensors": CalibratedLatents.load,
    "plugins.safetensors": lambda path: read_file(path, "start anew"),
}
each_file = pytest.mark.parametrize("name", READERS)


@pytest.fixture
def damaged(tmp_path: Path, folder: Path, caplog) -> Callable[[str, bytes], None]:
    """Puts a content in a file's place and asserts that its reader says so."""
    shutil.copytree(folder, tmp_path / "run")

    def check(name: str, content: bytes) -> None:
        path = tmp_path / "run" / name
        path.write_bytes(content)
        caplog.clear()
        with caplog.at_level(logging.WARNING), pytest.raises(UserError) as caught:
            READERS[name](path)
        said = [*caplog.messages, str(caught.value)]
        assert any(str(path) in text for text in said), said
        assert not any("\n" in text for text in said)

    return check


@each_file
def test_the_file_as_it_was_written_is_read(folder: Path, name: str, caplog) -> None:
    READERS[name](folder / name)
    assert not caplog.messages


@each_file
def test_flipped_bits_are_recognised(damaged: Any, folder: Path, name: str) -> None:
    content, random = (folder / name).read_bytes(), np.random.default_rng(len(name))
    for _ in range(FLIPS):
        flipped = bytearray(content)
        flipped[random.integers(len(content))] ^= 1 << int(random.integers(8))
        damaged(name, bytes(flipped))


@each_file
def test_cuts_are_recognised(damaged: Any, folder: Path, name: str) -> None:
    content, random = (folder / name).read_bytes(), np.random.default_rng(len(name))
    for size in (0, len(content) - 1, *random.integers(len(content), size=CUTS)):
        damaged(name, content[:size])


@each_file
def test_a_block_of_zeros_is_recognised(damaged: Any, folder: Path, name: str) -> None:
    """As a disk that lost power leaves it."""
    content = (folder / name).read_bytes()
    for start in (0, len(content) // 2, len(content) - 64):
        damaged(name, content[:start] + bytes(64) + content[start + 64 :])
