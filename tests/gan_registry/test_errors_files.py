from __future__ import annotations

import errno
import os
import stat
from pathlib import Path

import pytest

from gan_registry.errors import PluginError, UserError, nearest, unknown_name
from gan_registry.files import (
    atomic_write,
    check_writable,
    is_temporary,
    remove_temporaries,
)


def test_unknown_name_lists_what_there_is_and_suggests_the_nearest():
    error = unknown_name("backbone", "dcgam", ["mlp", "dcgan"], "x.yaml")
    assert str(error) == (
        "Unknown backbone 'dcgam' in x.yaml. Did you mean 'dcgan'? Known: dcgan, mlp."
    )
    assert "Did you mean" not in str(unknown_name("backbone", "qqq", ["mlp", "dcgan"]))
    assert "(none)" in str(unknown_name("objective", "x", []))
    assert nearest("lgistic", ["logistic", "hinge"]) == "logistic"
    assert issubclass(PluginError, UserError)


def test_a_file_appears_whole_and_with_the_users_permissions(tmp_path: Path):
    path = tmp_path / "deep" / "file.txt"
    with atomic_write(path) as temporary:
        temporary.write_text("new")
        assert not path.exists()
        assert temporary.parent == path.parent  # a rename across disks would not be atomic
    assert path.read_text() == "new"
    umask = os.umask(0)
    os.umask(umask)
    assert stat.S_IMODE(path.stat().st_mode) == 0o666 & ~umask
    assert [p.name for p in path.parent.iterdir()] == ["file.txt"]


@pytest.mark.parametrize("kind", [RuntimeError, KeyboardInterrupt])
def test_a_failure_leaves_the_old_file_and_nothing_else(tmp_path: Path, kind):
    path = tmp_path / "file.txt"
    path.write_text("old")
    with pytest.raises(kind), atomic_write(path) as temporary:  # noqa: PT012
        temporary.write_text("half of the new")
        raise kind("stop")
    assert path.read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["file.txt"]


@pytest.mark.parametrize(
    ("number", "says"),
    [
        (errno.ENOSPC, "free some space"),
        (errno.EROFS, "Read-only file system"),
        (errno.EACCES, "permissions"),
    ],
)
def test_a_disk_that_refuses_is_one_line(tmp_path: Path, number: int, says: str):
    path = tmp_path / "file.txt"
    path.write_text("old")
    with pytest.raises(UserError) as caught, atomic_write(path):
        raise OSError(number, os.strerror(number))
    assert str(path) in str(caught.value)
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)
    assert [p.name for p in tmp_path.iterdir()] == ["file.txt"]


@pytest.fixture
def synced(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What is asked of the disk, in order."""
    acts: list[str] = []
    fsync, replace = os.fsync, Path.replace

    def note_sync(number: int) -> None:
        fsync(number)
        acts.append("folder" if stat.S_ISDIR(os.fstat(number).st_mode) else "file")

    def note_replace(path: Path, target: Path) -> Path:
        acts.append("rename")
        return replace(path, target)

    monkeypatch.setattr(os, "fsync", note_sync)
    monkeypatch.setattr(Path, "replace", note_replace)
    return acts


def test_bytes_are_on_the_disk_before_the_name_is(tmp_path: Path, synced: list[str]):
    with atomic_write(tmp_path / "file") as temporary:
        temporary.write_text("new")
    assert synced == ["file", "rename", "folder"]
    synced.clear()
    with atomic_write(tmp_path / "one of many", sync=False) as temporary:
        temporary.write_text("new")
    assert synced == ["rename"]


def test_a_system_that_syncs_no_folder_is_no_error(tmp_path: Path, monkeypatch):
    real = os.open

    def refuse(path: str, *rest: int, **more: int) -> int:
        if os.path.isdir(path):
            raise PermissionError(errno.EACCES, "Permission denied")  # as Windows says
        return real(path, *rest, **more)

    monkeypatch.setattr(os, "open", refuse)
    with atomic_write(tmp_path / "file") as temporary:
        temporary.write_text("new")
    assert (tmp_path / "file").read_text() == "new"


def test_a_disk_that_is_found_full_when_it_is_asked_keeps_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "file"
    path.write_text("old")

    def full(number: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(UserError, match="free some space"), atomic_write(path) as temporary:
        temporary.write_text("new")
    assert path.read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["file"]


def test_a_file_system_that_cannot_sync_is_no_error(tmp_path: Path, monkeypatch):
    def cannot(number: int) -> None:
        raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))

    monkeypatch.setattr(os, "fsync", cannot)
    with atomic_write(tmp_path / "file") as temporary:
        temporary.write_text("new")
    assert (tmp_path / "file").read_text() == "new"


def test_a_folder_that_is_a_file_is_one_line(tmp_path: Path):
    (tmp_path / "taken").write_text("")
    with pytest.raises(UserError, match="Cannot write"), atomic_write(tmp_path / "taken" / "x"):
        pass


def test_what_a_killed_process_leaves_is_recognised_and_removed(tmp_path: Path):
    left = tmp_path / "checkpoints" / ".step-00000001.safetensors.abc.tmp"
    left.parent.mkdir()
    left.write_text("half")
    kept = tmp_path / "notes.tmp"
    kept.write_text("the user's own")
    assert is_temporary(left)
    assert not is_temporary(kept)
    remove_temporaries(tmp_path)
    assert not left.exists()
    assert kept.exists()


def test_a_place_is_tried_before_long_work_and_nothing_is_left(tmp_path: Path, monkeypatch):
    (tmp_path / "file").write_text("x")
    for place in (tmp_path, tmp_path / "file", tmp_path / "new" / "deep" / "x.npz"):
        check_writable(place)
    monkeypatch.chdir(tmp_path)
    check_writable(Path("x.npz"))
    assert [path.name for path in tmp_path.iterdir()] == ["file"]
    with pytest.raises(UserError, match=r"Cannot write .*x\.npz: Not a directory; "):
        check_writable(tmp_path / "file" / "x.npz")
    with pytest.raises(UserError, match=r"Cannot write /proc/none/x\.npz: "):
        check_writable(Path("/proc/none/x.npz"))
