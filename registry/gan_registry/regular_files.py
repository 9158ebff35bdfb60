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

# Without O_NONBLOCK, opening a pipe would wait; to regular files it makes no difference.
_FLAGS = getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)


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
        number = os.open(path, os.O_RDONLY | _FLAGS)
    except FileNotFoundError as error:
        raise UserError(f"There is no {what} {printable(path)}.") from error
    except (OSError, ValueError) as error:
        # A socket cannot be opened; what ENXIO says of it would puzzle.
        special = os.path.exists(path) and not (os.path.isfile(path) or os.path.isdir(path))
        reason = "it is no regular file" if special else getattr(error, "strerror", None) or error
        raise UserError(f"Cannot read {shown}: {reason}.") from error
    mode = os.fstat(number).st_mode
    if not stat.S_ISREG(mode):
        os.close(number)
        kind = "a folder" if stat.S_ISDIR(mode) else "no regular file"
        raise UserError(f"Cannot read {shown}: it is {kind}.")
    return open(number, "rb")


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
