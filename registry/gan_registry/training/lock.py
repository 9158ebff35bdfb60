"""One run folder, one process: a lock that the system takes back by itself when its holder dies."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import shlex
import socket
import stat
import sys
import threading
import time
import warnings
from collections.abc import Iterator
from pathlib import Path

from gan_registry.errors import UserError
from gan_registry.files import unwritable
from gan_registry.training.agreement import rank_0_first
from gan_registry.training.distributed import Group

if sys.platform != "win32":
    import fcntl

LOCK_FILE = ".lock"
"""The file in a run folder that is locked while somebody writes there."""

_LONGEST = 4096
"""Bytes that are read of a lock file."""

_held: dict[tuple[int, int], _Lock] = {}
"""The locks of this process, by device and inode of their files."""


@contextlib.contextmanager
def held_folder(folder: Path | None, group: Group | None = None) -> Iterator[None]:
    """Holds a run folder for this process, and makes it where it is missing.

    The lock is the kernel's (`flock`), so that none is left behind by a process that was killed. A
    thread may hold a folder several times over, e.g. for a training and for what follows it. On
    Windows, which has no such lock, nothing is held.

    Args:
        folder: The run folder; None for a run that writes nothing.
        group: The processes that train together; rank 0 holds the folder for all of them.

    Raises:
        UserError: Another process or thread holds it, says which; or it cannot be written.
    """
    if folder is None:
        yield
        return
    taken: list[_Lock] = []
    rank_0_first(group or Group.current(), lambda: taken.append(_take(folder)))
    try:
        yield
    finally:
        for lock in taken:
            lock.release()


class _Lock:
    """A lock file that is open and locked.

    Args:
        path: The file.
        handle: Its descriptor; None where there are no locks.
        made: Folders that were made for it, from the innermost.
    """

    def __init__(self, path: Path, handle: int | None, made: list[Path]) -> None:
        self.path = path
        self.handle = handle
        self.made = made
        self.thread = threading.get_ident()
        self.times = 1

    def release(self) -> None:
        """Lets go, and takes away the file and whatever folder is empty still."""
        self.times -= 1
        if self.times or self.handle is None:
            return
        _held.pop(_identity(os.fstat(self.handle)), None)
        with contextlib.suppress(OSError):
            self.path.unlink()  # while it is held: whoever has opened it looks again
        os.close(self.handle)
        self.handle = None
        with contextlib.suppress(OSError):
            for folder in self.made:
                folder.rmdir()


def _take(folder: Path) -> _Lock:
    if folder.exists() and not folder.is_dir():
        raise UserError(f"--out {folder} is a file; choose a folder.")
    path = folder / LOCK_FILE
    made = [each for each in (folder, *folder.parents) if not each.exists()]
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if sys.platform == "win32":
            return _Lock(path, None, made)
        with contextlib.suppress(FileNotFoundError):
            own = _held.get(_identity(path.lstat()))
            if own is not None and own.thread == threading.get_ident():
                own.times += 1
                return own
        handle = _locked(folder, path)
    except OSError as error:
        raise unwritable(path, error) from error
    lock = _held[_identity(os.fstat(handle))] = _Lock(path, handle, made)
    return lock


def _locked(folder: Path, path: Path) -> int:
    """Opens and locks the file; returns its descriptor."""
    assert sys.platform != "win32"
    while True:
        handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK, 0o666)
        try:
            if not stat.S_ISREG(os.fstat(handle).st_mode):
                raise OSError(errno.EINVAL, "it is no regular file")
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError as error:
                if error.errno in (errno.EWOULDBLOCK, errno.EACCES):
                    raise UserError(_refusal(folder, handle)) from None
                warnings.warn(
                    f"{folder} lies on a file system without locks ({error.strerror}); see to it "
                    "that no other process writes there.",
                    stacklevel=2,
                )
            # Whoever held it before may have removed the file since it was opened here.
            with contextlib.suppress(FileNotFoundError):
                if _identity(path.lstat()) == _identity(os.fstat(handle)):
                    _describe(handle)
                    return handle
        except BaseException:
            os.close(handle)
            raise
        os.close(handle)


def _describe(handle: int) -> None:
    """Writes down who holds the lock: a courtesy, which a full disk may prevent."""
    holder = {
        "pid": os.getpid(),
        "host": socket.gethostname(),
        "since": time.strftime("%Y-%m-%d %H:%M:%S"),
        "command": shlex.join(sys.argv)[:200],
    }
    with contextlib.suppress(OSError):
        os.ftruncate(handle, 0)
        os.pwrite(handle, json.dumps(holder).encode(), 0)


def _refusal(folder: Path, handle: int) -> str:
    who = "another process"
    with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
        holder = json.loads(os.pread(handle, _LONGEST, 0))
        text = "process {pid} on {host} since {since} ({command})".format(**holder)
        who = "".join(each if each.isprintable() else "?" for each in text)
    return f"{folder} is in use by {who}; wait until that has ended, or choose another folder."


def _identity(status: os.stat_result) -> tuple[int, int]:
    return status.st_dev, status.st_ino


def _forget() -> None:
    """Closes the locks in a forked process, e.g. a loader's worker, which may outlive this one."""
    for lock in _held.values():
        if lock.handle is not None:
            os.close(lock.handle)
            lock.handle = None
    _held.clear()


if sys.platform != "win32":
    os.register_at_fork(after_in_child=_forget)
