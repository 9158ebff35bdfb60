"""Notes of which image files can be decoded: to find out, all of them have to be.

They are kept in the cache folder; without them everything works, slower.
"""

from __future__ import annotations

import contextlib
from pathlib import Path

import numpy as np
import numpy.typing as npt

from gan_registry.errors import UserError
from gan_registry.files import atomic_write, cache_folder
from gan_registry.integrity import DamagedError, read_json, write_json

_UNREADABLE = "unreadable"


def read_note(name: str | None, count: int) -> npt.NDArray[np.bool_] | None:
    """Returns which of so many files can be decoded, bool [N]; None where nothing is noted.

    Args:
        name: A digest of the files; None for such as may change without a sign.
        count: N.
    """
    path = _path(name)
    if path is None:
        return None
    with contextlib.suppress(FileNotFoundError, DamagedError):
        places = read_json(path).get(_UNREADABLE)
        if isinstance(places, list) and all(type(p) is int and 0 <= p < count for p in places):
            good = np.ones(count, np.bool_)
            good[places] = False
            return good
    return None


def write_note(name: str | None, good: npt.NDArray[np.bool_]) -> None:
    """Notes which files can be decoded, for :func:`read_note`, where that can be written."""
    path = _path(name)
    if path is not None:
        with contextlib.suppress(UserError), atomic_write(path) as temporary:
            write_json(temporary, {_UNREADABLE: np.flatnonzero(~good).tolist()})


def _path(name: str | None) -> Path | None:
    try:
        return None if name is None else cache_folder() / "readable" / f"{name}.json"
    except RuntimeError:  # nobody's home
        return None
