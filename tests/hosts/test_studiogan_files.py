"""What the launcher keeps beside StudioGAN's checkpoints."""

from __future__ import annotations

import pytest

from diagan_plugin.hosts.studiogan.record import RECORD_FILE, find_interrupted, write_record
from diagan_plugin.hosts.studiogan.state import read
from gan_registry.errors import UserError


def test_a_damaged_record_is_named_and_its_run_is_not_continued(tmp_path, caplog):
    folder = tmp_path / "checkpoints" / "run"
    command = {"config": "x.yaml", "flags": ["--sampler", "dia"]}
    write_record(folder, command, finished=False)
    for model, suffix in (("G", ".pth"), ("D", ".pth"), ("DIA", ".safetensors")):
        (folder / f"model={model}-current-weights-step=4{suffix}").write_bytes(b"")
    assert find_interrupted(tmp_path, command) == (folder, 4)
    path = folder / RECORD_FILE
    path.write_bytes(path.read_bytes().replace(b"false", b"FALSE"))
    assert find_interrupted(tmp_path, command) is None
    assert f"{path} is not as it was written" in caplog.text


def test_a_state_of_an_earlier_version_is_refused_by_name(tmp_path):
    (tmp_path / "model=DIA-current-weights-step=4.pth").write_bytes(b"")
    with pytest.raises(UserError, match=r"step=4\.pth is of an earlier version.*--fresh"):
        read(tmp_path, "current")
    assert read(tmp_path, "best") is None
