"""Reads IDX files, the format of MNIST and of the sets that follow it, packed or not."""

from __future__ import annotations

import gzip
import io
import math
import zlib
from pathlib import Path

import numpy as np
import numpy.typing as npt

from gan_registry.errors import UserError
from gan_registry.regular_files import read_regular

_UNSIGNED_BYTE = 8
_MAX_BYTES = 2**30  # unpacked; the largest set of this kind has 547 million
_MAX_DIMENSIONS = 4


def read_idx(path: Path) -> npt.NDArray[np.uint8]:
    """Reads an IDX file of bytes, packed if its name ends in .gz.

    The header is 0, 0, the type (8 for bytes), the number of dimensions, then each of them as a
    big-endian 32-bit integer.

    Raises:
        UserError: The file cannot be read or is damaged.
    """
    content = read_regular(path, _MAX_BYTES)
    try:
        if path.suffix == ".gz":
            with gzip.open(io.BytesIO(content)) as unpacked:
                content = unpacked.read(_MAX_BYTES + 1)
    except (OSError, EOFError, zlib.error) as error:
        raise UserError(f"Cannot read {path}: {error}; get it anew.") from error
    if len(content) > _MAX_BYTES:
        raise UserError(f"Cannot read {path}: it unpacks to more than {_MAX_BYTES:,} bytes.")
    if len(content) < 4 or content[:3] != bytes([0, 0, _UNSIGNED_BYTE]):
        raise UserError(f"{path} is no IDX file of bytes; get it anew.")
    dimensions = content[3]
    header = 4 + 4 * dimensions
    shape = (
        tuple(np.frombuffer(content[4:header], ">u4").tolist()) if len(content) >= header else ()
    )
    expected = header + math.prod(shape)
    if len(shape) != dimensions or dimensions > _MAX_DIMENSIONS or len(content) != expected:
        raise UserError(
            f"{path} is damaged: {len(content)} bytes, but its header asks for {expected}; "
            "get it anew."
        )
    # A copy, as an array on top of bytes cannot be written to and torch warns of it.
    values: npt.NDArray[np.uint8] = np.frombuffer(content, np.uint8, offset=header).copy()
    return values.reshape(shape)


def find_idx(folders: list[Path], stem: str) -> Path | None:
    """Returns the first of the files STEM and STEM.gz in the folders, in their order, or None."""
    for folder in folders:
        for name in (stem, f"{stem}.gz"):
            if (folder / name).is_file():
                return folder / name
    return None
