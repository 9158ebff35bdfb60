"""Files that are whole or absent: written to a temporary name, then renamed."""

from __future__ import annotations

import contextlib
import errno
import functools
import math
import os
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from gan_registry.errors import UserError

CACHE_VARIABLE = "GAN_REGISTRY_CACHE"
"""The environment variable that says where :func:`cache_folder` is."""


@contextlib.contextmanager
def atomic_write(path: str | Path, *, sync: bool = True) -> Iterator[Path]:
    """Yields a temporary path beside `path`, renamed to it if the block succeeds.

    A reader sees the old file or the new one, never half of one, also after a power failure: the
    bytes are on the disk before the name is. On any error the temporary file is removed and the
    old file stays.

    Args:
        path: The file to write.
        sync: Wait for the disk; not worth it for one of thousands that can be made again.

    Raises:
        UserError: The disk is full, read-only or not writable.
    """
    path = Path(path)
    temporary: Path | None = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".tmp")
        os.close(handle)
        temporary = Path(name)
        yield temporary
        # mkstemp makes private files; a run folder follows the user's own umask instead.
        temporary.chmod(0o666 & ~_umask())
        if sync:
            _sync(temporary)
        temporary.replace(path)
        temporary = None
        if sync:
            # The name is safe once its folder is; not every system lets one ask for that.
            with contextlib.suppress(OSError):
                _sync(path.parent)
    except OSError as error:
        raise unwritable(path, error) from error
    finally:
        if temporary is not None:
            with contextlib.suppress(OSError):
                temporary.unlink()


def existing_folder(path: Path) -> Path:
    """Returns a folder, or the nearest one above a file or a folder that is there already."""
    folder = path if path.is_dir() else path.absolute().parent
    while not folder.exists():
        folder = folder.parent
    return folder


def check_writable(*paths: Path | None) -> None:
    """Refuses places where nothing can be written, before long work whose results go there.

    Args:
        paths: Files or folders, there or not; nothing is left behind. None is no place.

    Raises:
        UserError: As for :func:`atomic_write`.
    """
    for path in paths:
        if path is None:
            continue
        try:
            with tempfile.TemporaryFile(dir=existing_folder(path)):
                pass
        except OSError as error:
            raise unwritable(path, error) from error


def _sync(path: Path) -> None:
    """Waits until a file or a folder is on the disk.

    Raises:
        OSError: The disk is full or broken. That it cannot be asked to is none.
    """
    opened = os.open(path, os.O_RDONLY if path.is_dir() else os.O_RDWR)
    try:
        os.fsync(opened)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP):
            raise
    finally:
        os.close(opened)


def is_temporary(path: Path) -> bool:
    """Whether a file is what :func:`atomic_write` leaves behind if its process is killed."""
    return path.name.startswith(".") and path.name.endswith(".tmp")


def remove_temporaries(folder: Path) -> None:
    """Removes the temporary files of a killed process from a folder and those beneath it."""
    for path in folder.rglob(".*.tmp"):
        with contextlib.suppress(OSError):
            path.unlink()


def unwritable(path: Path, error: OSError) -> UserError:
    """Turns an operating-system error on writing into one line for the user."""
    reason = error.strerror or str(error)
    full = error.errno in (errno.ENOSPC, errno.EDQUOT)
    remedy = "free some space" if full else "check its permissions"
    return UserError(
        f"Cannot write {path}: {reason}; {remedy} or write elsewhere "
        "(what was written before is intact)."
    )


def cache_folder() -> Path:
    """Returns the folder for what can be made or fetched again, e.g. features of the real data.

    `GAN_REGISTRY_CACHE` if set, else `gan_registry` in the user's cache folder.
    """
    own = os.environ.get(CACHE_VARIABLE)
    if own:
        return Path(own).expanduser()
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "gan_registry"


@functools.cache
def _umask() -> int:
    """Reads the umask, once: it can only be read by setting it, for all threads."""
    umask = os.umask(0o022)
    os.umask(umask)
    return umask


def to_plain(value: Any) -> Any:
    """Turns NumPy's and torch's numbers into Python's; what is not finite becomes None."""
    if isinstance(value, Mapping):
        return {str(key): to_plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [to_plain(item) for item in value]
    if hasattr(value, "tolist"):  # arrays, tensors and their scalars
        return to_plain(value.tolist())
    if isinstance(value, (bool, int, str)) or value is None:
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    raise TypeError(f"Argument `value` must be plain, but holds {type(value).__name__}.")
