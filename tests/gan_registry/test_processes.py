from __future__ import annotations

import os
import subprocess
import sys

import pytest

from gan_registry.processes import is_running


def test_a_process_runs_until_it_has_ended():
    assert is_running(os.getpid())
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as child:
        assert is_running(child.pid)
        child.kill()
        os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
        if os.path.exists("/proc/self/stat"):  # elsewhere a zombie is not told apart
            assert not is_running(child.pid), "a zombie"
        child.wait()
        assert not is_running(child.pid)


def test_a_process_of_another_user_runs(monkeypatch: pytest.MonkeyPatch):
    def forbidden(pid: int, number: int) -> None:
        raise PermissionError

    monkeypatch.setattr(os, "kill", forbidden)
    assert is_running(1)
