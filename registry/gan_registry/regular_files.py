"""Opens files that others gave: regular ones alone, so that nothing waits or never ends.

A pipe waits for whoever writes to it, and a device such as /dev/zero has no end.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import BinaryIO

from gan_registry.errors import UserError
from gan_registry.formatting import printable

_KINDS = (
    (stat.S_ISDIR, "is a folder"),
    (stat.S_ISFIFO, "is a pipe"),
    (stat.S_ISSOCK, "is a socket"),
    (stat.S_ISCHR, "is a device"),
    (stat.S_ISBLK, "is a device"),
)
# Were it replaced by a pipe just now, opening it would still not wait.
_FLAGS = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)


class IrregularError(Exception):
    """What has the name of a file is none; the message says what it is, to follow the name."""


def open_plain(path: str | Path) -> BinaryIO:
    """Opens a regular file, or a link to one, for reading; nothing else is ever waited for.

    Raises:
        FileNotFoundError: There is nothing of that name.
        IrregularError: It is a folder, a pipe or the like, or leads nowhere.
        OSError: It may not be read.
    """
    try:
        mode = os.stat(path).st_mode
        if not stat.S_ISREG(mode):
            raise IrregularError(
                next((text for is_kind, text in _KINDS if is_kind(mode)), "is no regular file")
            )
        return os.fdopen(os.open(path, _FLAGS), "rb")
    except (FileNotFoundError, NotADirectoryError) as error:
        if os.path.islink(path):
            raise IrregularError("is a link that leads nowhere") from None
        raise FileNotFoundError(error.errno, error.strerror, str(path)) from None


def open_regular(path: str | Path, what: str = "file") -> BinaryIO:
    """Opens a regular file, or a link to one, for reading.

    Args:
        path: The file.
        what: What to call it in messages.

    Raises:
        UserError: It is missing, no regular file, or may not be read.
    """
    shown = f"the {what} {printable(path)}"
    try:
        return open_plain(path)
    except FileNotFoundError as error:
        raise UserError(f"There is no {what} {printable(path)}.") from error
    except IrregularError as error:
        raise UserError(f"Cannot read {shown}: it {error}.") from error
    except (OSError, ValueError) as error:
        raise UserError(
            f"Cannot read {shown}: {getattr(error, 'strerror', None) or error}."
        ) from error


def read_regular(path: str | Path, limit: int, what: str = "file") -> bytes:
    """Reads a whole regular file.

    Raises:
        UserError: It cannot be opened or read, or has more than `limit` bytes.
    """
    shown = f"the {what} {printable(path)}"
    with open_regular(path, what) as file:
        size = os.fstat(file.fileno()).st_size
        if size > limit:
            raise UserError(f"Cannot read {shown}: its {size:,} bytes are more than {limit:,}.")
        try:
            return file.read(limit)
        except (OSError, MemoryError) as error:
            reason = getattr(error, "strerror", None) or "there is not enough memory"
            raise UserError(f"Cannot read {shown}: {reason}.") from error
