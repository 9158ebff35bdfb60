from __future__ import annotations

import errno
import os
from collections import Counter, OrderedDict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from small_runs import fit, manager, points_config, state_of

from gan_registry.errors import PluginError, UserError
from gan_registry.hookspecs import hookimpl
from gan_registry.training.checkpoint import (
    checkpoint_path,
    checkpoint_steps,
    read_checkpoint,
    save_checkpoint,
)
from gan_registry.training.run import Run
from gan_registry.training.trainer import open_run


class Remembers:
    """Saves a state of any kind."""

    def __init__(self, state: Any) -> None:
        self.state = state
        self.loaded: Any = None

    @hookimpl
    def gan_state(self, run: Run) -> Any:
        return self.state

    @hookimpl
    def gan_load_state(self, run: Run, state: Any) -> None:
        self.loaded = state


def test_a_checkpoint_holds_no_code_and_what_it_held_comes_back(tmp_path: Path):
    state = {"version": 1, "t": torch.arange(3), "list": [1, (2.5, None)], "d": OrderedDict(a="x")}
    run = fit(points_config(), tmp_path, manager(p=Remembers(state)))
    loaded = torch.load(checkpoint_path(tmp_path, 6), weights_only=True)
    assert loaded["step"] == 6
    assert loaded["fingerprint"] == run.dataset.fingerprint()
    plugin = Remembers({})
    opened = open_run(tmp_path, manager(p=plugin))
    assert torch.equal(plugin.loaded.pop("t"), state.pop("t"))
    assert plugin.loaded == state
    one, other = state_of(run), state_of(opened)
    assert all(torch.equal(one[name], other[name]) for name in one)
    assert (opened.step, opened.total_steps, opened.seconds) == (6, 6, run.seconds)


@pytest.mark.parametrize(
    ("state", "where"),
    [
        ({"a": object()}, r"\['a'\] is a object"),
        ({"a": [1, {"b": np.float64(2)}]}, r"\['a'\]\[1\]\['b'\] is a float64"),
        ({"a": np.zeros(2)}, "ndarray"),
        ({"a": torch.nn.Parameter(torch.zeros(1))}, "Parameter"),
        ({"a": {1, 2}}, "set"),
        ({"a": Counter("aa")}, "Counter"),
        ({Path("x"): 1}, "PosixPath"),
    ],
)
def test_a_state_that_could_not_be_read_back_is_refused_by_name(tmp_path: Path, state, where):
    with pytest.raises(PluginError, match=where) as caught:
        fit(points_config(), tmp_path, manager(p=Remembers(state)))
    assert "Plugin 'p': gan_state" in str(caught.value)
    assert checkpoint_steps(tmp_path) == []


def test_the_newest_checkpoints_are_kept(tmp_path: Path):
    fit(points_config(RUN__save_freq=1, RUN__keep_checkpoints=3), tmp_path)
    assert checkpoint_steps(tmp_path) == [4, 5, 6]
    with pytest.raises(UserError, match=r"no checkpoint of step 2 .* there are: 4, 5, 6"):
        open_run(tmp_path, manager(), step=2)
    assert open_run(tmp_path, manager(), step=5).step == 5


@pytest.mark.parametrize(
    "damage", ["empty", "cut", "cut late", "text", "other format", "list", "parts missing"]
)
def test_a_damaged_checkpoint_is_named_and_the_one_before_continues(tmp_path: Path, damage: str):
    config = points_config(RUN__save_freq=3)
    whole = fit(config, tmp_path)
    path = checkpoint_path(tmp_path, 6)
    content = path.read_bytes()
    values = {"other format": {"format": 99}, "list": [1], "parts missing": {"format": 1}}
    if damage in values:
        torch.save(values[damage], path)
    else:
        cut = {"empty": 0, "cut": 1000, "cut late": len(content) * 9 // 10}
        path.write_bytes(b"hello" if damage == "text" else content[: cut[damage]])
    with pytest.raises(UserError, match=r"format 99" if damage[0] == "o" else "is damaged") as e:
        fit(config, tmp_path)
    assert str(path) in str(e.value)
    path.unlink()
    again = fit(config, tmp_path)
    assert again.first_step == 3
    one, other = state_of(whole), state_of(again)
    assert all(torch.equal(one[name], other[name]) for name in one)


def test_code_in_a_checkpoint_is_not_run(tmp_path: Path):
    class Evil:
        def __reduce__(self) -> Any:
            return os.mkdir, (str(tmp_path / "evil"),)

    fit(points_config(), tmp_path)
    torch.save({"format": 1, "x": Evil()}, checkpoint_path(tmp_path, 6))
    with pytest.raises(UserError, match="damaged"):
        read_checkpoint(tmp_path, 6)
    assert not (tmp_path / "evil").exists()


def test_data_that_changed_is_refused(tmp_path: Path, monkeypatch):
    fit(points_config(), tmp_path)
    from gan_registry.datasets.mixtures import build_gmm25

    def shifted(config: Any, data_dir: Any) -> Any:
        dataset = build_gmm25(config, data_dir)
        dataset._x = dataset._x + 1
        return dataset

    plugins = manager()
    plugins.catalogs.datasets._factories["gmm25"] = shifted
    for call in (
        lambda: fit(points_config(OPTIMIZATION__total_steps=8), tmp_path, plugins),
        lambda: open_run(tmp_path, plugins),
    ):
        with pytest.raises(UserError, match=r"'gmm25' has changed since .* step 6") as caught:
            call()
        assert "restore the data" in str(caught.value)


def test_the_state_of_a_missing_plugin_is_named(tmp_path: Path):
    fit(points_config(), tmp_path, manager(gone=Remembers({"a": 1})))
    with pytest.raises(UserError, match=r"state of plugin 'gone', which is not loaded"):
        fit(points_config(OPTIMIZATION__total_steps=8), tmp_path)


def test_the_network_of_a_missing_plugin_is_named(tmp_path: Path):
    class Adds:
        @hookimpl
        def gan_models_ready(self, run: Run) -> None:
            run.add("gone.network", run.build("discriminator"))

    fit(points_config(), tmp_path, manager(gone=Adds()))
    with pytest.raises(UserError, match=r"holds 'gone.network', which no loaded plugin claims"):
        open_run(tmp_path, manager())


def test_a_checkpoint_of_other_networks_says_what_does_not_fit(tmp_path: Path):
    class Wider:
        @hookimpl
        def gan_models_ready(self, run: Run) -> None:
            run.discriminator = torch.nn.Linear(2, 1)

    fit(points_config(), tmp_path)
    with pytest.raises(UserError, match=r"does not fit .* Missing key") as caught:
        open_run(tmp_path, manager(p=Wider()))
    assert "\n" not in str(caught.value)


def test_a_full_disk_leaves_the_checkpoint_before(tmp_path: Path, monkeypatch):
    config = points_config(RUN__save_freq=2)
    real = torch.save

    def full(state: Any, file: Any) -> None:
        if state["step"] == 4:
            file.write(b"half")
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        real(state, file)

    monkeypatch.setattr(torch, "save", full)
    with pytest.raises(UserError, match=r"step-00000004.pt: No space left.*free some space"):
        fit(config, tmp_path)
    assert checkpoint_steps(tmp_path) == [2]
    assert not list(tmp_path.rglob(".*.tmp"))


def test_a_run_can_be_opened_on_a_device_of_choice(tmp_path: Path):
    fit(points_config(), tmp_path)
    assert open_run(tmp_path, manager(), device="cpu").device.type == "cpu"
    with pytest.raises(UserError, match="Unknown device 'gpu'"):
        open_run(tmp_path, manager(), device="gpu")


def test_a_folder_without_a_run_or_checkpoint_says_so(tmp_path: Path):
    with pytest.raises(UserError, match="is no run folder"):
        open_run(tmp_path, manager())
    fit(points_config(), tmp_path)
    checkpoint_path(tmp_path, 6).unlink()
    with pytest.raises(UserError, match="holds no checkpoint yet"):
        open_run(tmp_path, manager())
    for broken in ("[", "- 1", ""):
        (tmp_path / "config.yaml").write_text(broken)
        with pytest.raises(UserError, match=r"config\.yaml is damaged"):
            open_run(tmp_path, manager())


class SmallDisk:
    """A file on a disk that is full after so many bytes."""

    def __init__(self, file: Any, size: int) -> None:
        self.file, self.left = file, size

    def write(self, data: Any) -> int:
        self.left -= len(data)
        if self.left < 0:
            raise OSError(errno.ENOSPC, "No space left on device")
        return self.file.write(data)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.file, name)


@pytest.mark.parametrize("size", [0, 1000, 12_000])
def test_torch_writing_to_a_disk_that_fills_up_is_one_clear_line(tmp_path, monkeypatch, size):
    run = fit(points_config(OPTIMIZATION__total_steps=2), tmp_path)
    before = checkpoint_path(tmp_path, 2).read_bytes()
    assert len(before) > 12_000
    real = torch.save
    monkeypatch.setattr(torch, "save", lambda state, file: real(state, SmallDisk(file, size)))
    with pytest.raises(UserError, match="No space left on device; free some space"):
        save_checkpoint(run, 2)
    assert checkpoint_path(tmp_path, 2).read_bytes() == before
    assert [path.name for path in (tmp_path / "checkpoints").iterdir()] == ["step-00000002.pt"]
