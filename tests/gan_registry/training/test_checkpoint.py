from __future__ import annotations

import errno
import os
from collections import Counter, OrderedDict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from small_runs import assert_equal_runs, fit, manager, points_config, state_of

from gan_registry import state_files
from gan_registry.errors import PluginError, UserError
from gan_registry.hookspecs import hookimpl
from gan_registry.integrity import write_text
from gan_registry.training.checkpoint import (
    checkpoint_path,
    checkpoint_steps,
    read_checkpoint,
    save_checkpoint,
)
from gan_registry.training.logs import read_metrics
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
    loaded = read_checkpoint(tmp_path, 6)
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


def damage(path: Path, how: str) -> None:
    """Puts something of a checkpoint's name in its place that is none."""
    content = path.read_bytes()
    path.unlink()
    if how in ("cut", "cut late", "empty", "a bit", "text", "zeros at its end"):
        cut = {"empty": 0, "cut": 1000, "cut late": len(content) * 9 // 10}
        flipped = bytearray(content)
        flipped[len(content) // 2] ^= 4
        path.write_bytes(
            {"a bit": bytes(flipped), "text": b"hello", "zeros at its end": content + b"\0"}.get(
                how, content[: cut.get(how, 0)]
            )
        )
    elif how == "a pickle":
        torch.save({"format": 1}, path)
    elif how == "another program's":
        save_file({"x": torch.zeros(3)}, path)
    elif how == "a link that leads nowhere":
        path.symlink_to(path.parent / "nothing")
    elif how == "a link in a circle":
        path.symlink_to(path.name)
    elif how == "a pipe":
        os.mkfifo(path)
    elif how == "a folder":
        path.mkdir()
        (path / "notes.txt").write_text("precious")
    elif how == "another step's":
        path.write_bytes(checkpoint_path(path.parents[1], 3).read_bytes())
    else:
        raise AssertionError(how)


DAMAGES = (
    "empty", "cut", "cut late", "a bit", "text", "zeros at its end", "a pickle",
    "another program's", "a link that leads nowhere", "a link in a circle", "a pipe", "a folder",
    "another step's",
)  # fmt: skip


@pytest.mark.parametrize("how", DAMAGES)
def test_a_damaged_checkpoint_is_named_and_the_one_before_is_used(tmp_path, caplog, how):
    config = points_config(RUN__save_freq=3)
    whole = fit(config, tmp_path)
    lines = read_metrics(tmp_path)
    path = checkpoint_path(tmp_path, 6)
    damage(path, how)

    assert open_run(tmp_path, manager()).step == 3
    (warned,) = caplog.messages
    assert warned.startswith(f"The checkpoint {path} is damaged: it ")
    assert warned.endswith("; that of step 3 is used.")
    assert "\n" not in warned
    with pytest.raises(UserError, match=f"The checkpoint {path} is damaged"):
        open_run(tmp_path, manager(), step=6)  # asked for by its number

    caplog.clear()
    again = fit(config, tmp_path)
    assert caplog.messages == [warned]
    assert again.first_step == 3
    assert_equal_runs(whole, again)
    assert checkpoint_steps(tmp_path) == [3, 6]
    read_checkpoint(tmp_path, 6)  # it was replaced
    assert [line["step"] for line in read_metrics(tmp_path)] == [line["step"] for line in lines]
    if how == "a folder":
        (aside,) = tmp_path.glob("checkpoints/*.damaged-1")
        assert (aside / "notes.txt").read_text() == "precious"


@pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="root may read anything")
def test_a_checkpoint_without_permission_counts_as_damaged(tmp_path: Path, caplog):
    fit(points_config(RUN__save_freq=3), tmp_path)
    checkpoint_path(tmp_path, 6).chmod(0)
    assert open_run(tmp_path, manager()).step == 3
    assert "cannot be read: Permission denied" in caplog.text


def test_a_checkpoint_on_a_disk_that_fails_counts_as_damaged(tmp_path, caplog, monkeypatch):
    fit(points_config(RUN__save_freq=3), tmp_path)
    real = os.open

    def fails(path: Any, *rest: Any, **more: Any) -> int:
        if "step-00000006" in str(path):
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        return real(path, *rest, **more)

    monkeypatch.setattr(os, "open", fails)
    assert open_run(tmp_path, manager()).step == 3
    assert "cannot be read: Input/output error" in caplog.text


def test_only_a_checkpoint_that_is_sound_is_said_to_be_used(tmp_path: Path, caplog):
    fit(points_config(RUN__save_freq=2, RUN__keep_checkpoints=3), tmp_path)
    assert checkpoint_steps(tmp_path) == [2, 4, 6]
    for step in (4, 6):
        damage(checkpoint_path(tmp_path, step), "cut")
    assert open_run(tmp_path, manager()).step == 2
    assert len(caplog.messages) == 2
    for step, warned in zip((6, 4), caplog.messages, strict=True):
        assert f"step-0000000{step}" in warned
        assert warned.endswith("; that of step 2 is used.")


def test_where_all_are_damaged_that_is_said(tmp_path: Path, caplog):
    config = points_config(RUN__save_freq=3)
    fit(config, tmp_path)
    for step in (3, 6):
        damage(checkpoint_path(tmp_path, step), "cut")
    for call in (lambda: fit(config, tmp_path), lambda: open_run(tmp_path, manager())):
        with pytest.raises(UserError, match=r"step-00000006.*as are all 2 there; restore one"):
            call()
    assert not caplog.messages
    checkpoint_path(tmp_path, 6).unlink()
    with pytest.raises(UserError, match="and there is no other; restore one"):
        fit(config, tmp_path)
    assert checkpoint_steps(tmp_path) == [3]  # nothing was removed, nothing begun anew


def test_checkpoints_of_an_earlier_version_are_refused_by_name(tmp_path: Path):
    config = points_config(RUN__save_freq=3)
    fit(config, tmp_path)
    for step in (3, 6):
        path = checkpoint_path(tmp_path, step)
        path.rename(path.with_suffix(".pt"))
    says = r"step-00000006\.pt is of an earlier version, which this one can't continue"
    for call in (lambda: fit(config, tmp_path), lambda: open_run(tmp_path, manager())):
        with pytest.raises(UserError, match=says):
            call()
    with pytest.raises(UserError, match=r"step-00000003\.pt is of an earlier version"):
        open_run(tmp_path, manager(), step=3)


def test_sound_checkpoints_are_never_removed_in_favour_of_damaged_ones(tmp_path: Path):
    config = points_config(RUN__save_freq=2, RUN__keep_checkpoints=2)
    fit(config, tmp_path)
    assert checkpoint_steps(tmp_path) == [4, 6]
    damage(checkpoint_path(tmp_path, 6), "a bit")
    # Step 6 is passed over now: its file stays damaged, below the ones that are written.
    longer = points_config(RUN__save_freq=5, RUN__keep_checkpoints=2, OPTIMIZATION__total_steps=10)
    fit(longer, tmp_path)
    assert checkpoint_steps(tmp_path) == [5, 6, 10]
    assert [step for step in checkpoint_steps(tmp_path) if is_sound(tmp_path, step)] == [5, 10]
    more = points_config(RUN__save_freq=5, RUN__keep_checkpoints=2, OPTIMIZATION__total_steps=15)
    fit(more, tmp_path)
    assert checkpoint_steps(tmp_path) == [10, 15]


def test_of_checkpoints_that_are_gone_nothing_is_remembered(tmp_path: Path):
    run = fit(points_config(RUN__save_freq=1, RUN__keep_checkpoints=2), tmp_path)
    assert sorted(run.sound_checkpoints) == checkpoint_steps(tmp_path) == [5, 6]


def is_sound(folder: Path, step: int) -> bool:
    try:
        read_checkpoint(folder, step)
    except UserError:
        return False
    return True


def test_names_that_are_no_checkpoints_are_left_alone(tmp_path: Path):
    fit(points_config(), tmp_path)
    folder = tmp_path / "checkpoints"
    names = ("step-.safetensors", "step-٣.safetensors", "step-x.safetensors", "step-7.txt",
             f"step-{'9' * 40}.safetensors")  # fmt: skip
    for name in names:
        (folder / name).write_text("mine")
    assert checkpoint_steps(tmp_path) == [6]
    assert open_run(tmp_path, manager()).step == 6


def test_code_in_a_checkpoint_is_not_run(tmp_path: Path):
    class Evil:
        def __reduce__(self) -> Any:
            return os.mkdir, (str(tmp_path / "evil"),)

    fit(points_config(), tmp_path)
    torch.save({"format": 1, "x": Evil()}, checkpoint_path(tmp_path, 6))
    with pytest.raises(UserError, match="damaged"):
        read_checkpoint(tmp_path, 6)
    assert not (tmp_path / "evil").exists()


@pytest.mark.slow
def test_400_flipped_bits_are_recognised_and_the_run_goes_on(tmp_path: Path, caplog):
    config = points_config(RUN__save_freq=3)
    whole = fit(config, tmp_path / "run")
    path = checkpoint_path(tmp_path / "run", 6)
    content, random = path.read_bytes(), np.random.default_rng(0)
    for number in range(400):
        place, bit = int(random.integers(len(content))), int(random.integers(8))
        flipped = bytearray(content)
        flipped[place] ^= 1 << bit
        path.write_bytes(flipped)
        caplog.clear()
        again = fit(config, tmp_path / "run")
        assert again.first_step == 3, f"flip {number}: bit {bit} of byte {place}"
        assert f"{path} is damaged" in caplog.text
        assert_equal_runs(whole, again)


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


def test_a_checkpoint_of_another_run_is_refused(tmp_path: Path):
    for seed in (0, 1):
        fit(points_config(RUN__seed=seed), tmp_path / f"{seed}")
    step = checkpoint_steps(tmp_path / "0")[-1]
    checkpoint_path(tmp_path / "1", step).replace(checkpoint_path(tmp_path / "0", step))
    for use in (lambda: fit(points_config(), tmp_path / "0"), lambda: open_run(tmp_path / "0")):
        with pytest.raises(UserError, match=r"another run: RUN\.seed is 1 there and 0"):
            use()
    # What may change does not count.
    fit(points_config(RUN__seed=1, RUN__print_freq=1), tmp_path / "2")
    checkpoint_path(tmp_path / "2", step).replace(checkpoint_path(tmp_path / "1", step))
    assert open_run(tmp_path / "1").step == step


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
    real = state_files.write_tensors

    def full(path: Path, *rest: Any) -> None:
        if "step-00000004" in path.name:
            path.write_bytes(b"half")
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        real(path, *rest)

    monkeypatch.setattr(state_files, "write_tensors", full)
    with pytest.raises(UserError, match=r"step-00000004.safetensors: No space left.*free some"):
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
        write_text(tmp_path / "config.yaml", broken)
        with pytest.raises(UserError, match=r"config\.yaml is damaged"):
            open_run(tmp_path, manager())


def test_a_config_that_was_cut_or_changed_is_refused(tmp_path: Path):
    config = points_config()
    fit(config, tmp_path)
    path = tmp_path / "config.yaml"
    whole = path.read_bytes()
    changed = whole.replace(b"g_lr: 0.001", b"g_lr: 0.002")
    assert changed != whole
    cuts = [whole[:size] for size in range(0, len(whole), max(1, len(whole) // 200))]
    assert len(cuts) >= 200
    for content in (*cuts, whole[:-1], changed, whole + b"\n", whole + b"A: 1\n"):
        path.write_bytes(content)
        with pytest.raises(UserError, match=f"{path} is damaged or was changed: it ") as caught:
            open_run(tmp_path, manager())
        assert "start in another folder with --out" in str(caught.value)
    with pytest.raises(UserError, match=f"{path} is damaged or was changed"):
        fit(config, tmp_path)
    path.write_bytes(whole)
    assert open_run(tmp_path, manager()).step == 6


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

    def __enter__(self) -> SmallDisk:
        return self

    def __exit__(self, *_: Any) -> None:
        self.file.close()


@pytest.mark.parametrize("size", [0, 1000, 12_000])
def test_writing_to_a_disk_that_fills_up_is_one_clear_line(tmp_path, monkeypatch, size):
    run = fit(points_config(OPTIMIZATION__total_steps=2), tmp_path)
    before = checkpoint_path(tmp_path, 2).read_bytes()
    assert len(before) > 12_000
    real = Path.open

    def small(path: Path, mode: str = "r", *rest: Any, **more: Any) -> Any:
        file = real(path, mode, *rest, **more)
        return SmallDisk(file, size) if mode == "wb" else file

    monkeypatch.setattr(Path, "open", small)
    with pytest.raises(UserError, match="No space left on device; free some space"):
        save_checkpoint(run, 2)
    assert checkpoint_path(tmp_path, 2).read_bytes() == before
    assert [path.name for path in (tmp_path / "checkpoints").iterdir()] == [
        "step-00000002.safetensors"
    ]
