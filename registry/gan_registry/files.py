"""Files that are whole or absent: written to a temporary name, then renamed."""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

from gan_registry.errors import UserError


@contextlib.contextmanager
def atomic_write(path: str | Path) -> Iterator[Path]:
    """Yields a temporary path beside `path`, renamed to it if the block succeeds.

    A reader sees the old file or the new one, never half of one. On any error the temporary file
    is removed and the old file stays.

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
        umask = os.umask(0)
        os.umask(umask)
        temporary.chmod(0o666 & ~umask)
        temporary.replace(path)
        temporary = None
    except OSError as error:
        raise unwritable(path, error) from error
    finally:
        if temporary is not None:
            with contextlib.suppress(OSError):
                temporary.unlink()


def unwritable(path: Path, error: OSError) -> UserError:
    """Turns an operating-system error on writing into one line for the user."""
    reason = error.strerror or str(error)
    return UserError(
        f"Cannot write {path}: {reason}. Free some space or choose another folder with --out; "
        "what was written before is intact."
    )
