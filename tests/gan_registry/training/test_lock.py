from __future__ import annotations

import errno
import json
import os
import signal
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from processes import in_processes
from small_runs import fit, points_config

from gan_registry.cli.main import main
from gan_registry.errors import UserError
from gan_registry.training import lock as lock_module
from gan_registry.training.lock import LOCK_FILE, held_folder
from gan_registry.training.logs import read_metrics

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="Windows has no flock")


def tried_by_another(folder: Path) -> str:
    """What somebody else is told who wants the folder, or "" if he gets it."""
    said: list[str] = []

    def attempt() -> None:
        try:
            with held_folder(folder):
                said.append("")
        except UserError as error:
            said.append(str(error))

    thread = threading.Thread(target=attempt)
    thread.start()
    thread.join()
    return said[0]


@pytest.fixture
def holder(tmp_path: Path):
    """Starts a process that holds a folder, does something, says so and waits; returns its pid."""
    pids = []

    def start(also: Callable[[int], None] = lambda pipe: None) -> int:
        reader, writer = os.pipe()
        pid = os.fork()
        if pid == 0:
            with held_folder(tmp_path / "run"):
                also(writer)
                os.write(writer, b"!")
                signal.pause()
        os.read(reader, 1)
        pids.append(pid)
        return pid

    yield start
    for pid in pids:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)


def kill(pid: int) -> None:
    os.kill(pid, signal.SIGKILL)
    os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)


def test_a_second_start_is_told_who_holds_the_folder(tmp_path: Path, holder, capsys):
    pid = holder()
    command = ["train", "--config", "gmm25", "--device", "cpu", "--out", str(tmp_path / "run")]
    assert main(command) == 2
    line = capsys.readouterr().err
    assert len(line.splitlines()) == 1
    for part in (str(tmp_path / "run"), f"process {pid} on {os.uname().nodename} since 20"):
        assert part in line
    assert "choose another folder" in line
    assert [path.name for path in (tmp_path / "run").iterdir()] == [LOCK_FILE]


def test_two_starts_at_once_leave_the_run_of_one(tmp_path: Path):
    reader, writer = os.pipe()
    children = []
    for _ in range(2):
        child = os.fork()
        if child == 0:
            os.close(writer)
            os.read(reader, 1)  # until both are there
            try:
                fit(points_config(OPTIMIZATION__total_steps=20), tmp_path / "run")
            except UserError as error:
                os._exit(2 if "in use" in str(error) else 3)
            os._exit(0)
        children.append(child)
    os.close(writer)
    codes = [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children]
    # Whoever is so late that the other has finished finds a complete run.
    assert sorted(codes) in ([0, 2], [0, 0])
    assert [line["step"] for line in read_metrics(tmp_path / "run")] == list(range(1, 21))


def test_a_process_that_is_killed_leaves_no_lock(tmp_path: Path, holder):
    kill(holder())
    assert (tmp_path / "run" / LOCK_FILE).exists()
    assert fit(points_config(), tmp_path / "run").step == 6
    assert not (tmp_path / "run" / LOCK_FILE).exists()


def test_a_worker_that_outlives_its_run_does_not_hold_its_folder(tmp_path: Path, holder):
    def fork(writer: int) -> None:
        pid = os.fork()
        if pid == 0:
            signal.pause()
        (tmp_path / "worker").write_text(str(pid))

    kill(holder(fork))
    worker = int((tmp_path / "worker").read_text())
    os.kill(worker, 0)  # it lives
    try:
        assert tried_by_another(tmp_path / "run") == ""
    finally:
        os.kill(worker, signal.SIGKILL)


def test_one_thread_may_hold_a_folder_twice_and_leaves_nothing_behind(tmp_path: Path):
    folder = tmp_path / "a" / "b"
    with held_folder(folder):
        with held_folder(folder):
            assert "in use by process" in tried_by_another(folder)
        assert f"process {os.getpid()} " in tried_by_another(folder)
        assert json.loads((folder / LOCK_FILE).read_text())["pid"] == os.getpid()
    assert list(tmp_path.iterdir()) == []
    folder.mkdir(parents=True)
    with held_folder(folder):
        (folder / "result").touch()
    assert [path.name for path in folder.iterdir()] == ["result"]
    with held_folder(None):
        pass


def test_a_lock_file_that_its_holder_has_just_removed_is_not_taken(tmp_path: Path, monkeypatch):
    real, opened = lock_module.fcntl.flock, []

    def late(handle: int, how: int) -> None:
        if not opened:
            (tmp_path / LOCK_FILE).unlink()
        opened.append(handle)
        real(handle, how)

    monkeypatch.setattr(lock_module.fcntl, "flock", late)
    with held_folder(tmp_path):
        assert len(opened) == 2
        assert "in use" in tried_by_another(tmp_path)


def test_without_locks_a_warning_is_all(tmp_path: Path, monkeypatch, warned):
    def none(*_: object) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(lock_module.fcntl, "flock", none)
    assert fit(points_config(), tmp_path / "run").step == 6
    assert [text for text in warned() if "file system without locks (No locks" in text]


@pytest.mark.parametrize("kind", ["folder", "pipe", "link"])
def test_what_is_no_lock_file_is_one_line(tmp_path: Path, kind: str):
    path = tmp_path / LOCK_FILE
    {"folder": path.mkdir, "pipe": lambda: os.mkfifo(path),
     "link": lambda: path.symlink_to(tmp_path / "elsewhere")}[kind]()  # fmt: skip
    with pytest.raises(UserError, match=r"Cannot write .*\.lock"), held_folder(tmp_path):
        pass
    assert not (tmp_path / "elsewhere").exists()


def test_what_a_lock_file_says_is_shown_without_its_control_characters(tmp_path: Path):
    with held_folder(tmp_path):
        holder = {"pid": 1, "host": "\x1b[31mred", "since": "now\n", "command": "x"}
        (tmp_path / LOCK_FILE).write_text(json.dumps(holder))
        assert "process 1 on ?[31mred since now? (x);" in tried_by_another(tmp_path)
        (tmp_path / LOCK_FILE).write_text("[")
        assert "in use by another process;" in tried_by_another(tmp_path)


@pytest.mark.parametrize("command", ["evaluate", "sample"])
def test_what_writes_into_a_folder_holds_it_and_what_reads_does_not(tmp_path, command, capsys):
    folder = tmp_path / "run"
    fit(points_config(), folder)
    arguments = {"evaluate": ["--metrics", "none", "--json"],
                 "sample": ["--num", "3", "--out", str(tmp_path / "x.npz")]}[command]  # fmt: skip
    codes: list[int] = []
    with held_folder(folder):
        thread = threading.Thread(
            target=lambda: codes.append(main([command, "--run", str(folder), *arguments]))
        )
        thread.start()
        thread.join()
    assert codes == [2 if command == "evaluate" else 0]


def start_twice(rank: int, folder: Path) -> str:
    try:
        fit(points_config(), folder / "run")
    except UserError as error:
        return str(error)
    return "trained"


def test_all_processes_are_refused_with_rank_0(tmp_path: Path):
    with held_folder(tmp_path / "run"):
        answers = in_processes(start_twice, tmp_path)
    assert answers[0] == answers[1]
    assert f"in use by process {os.getpid()} " in answers[0]
