"""Reads IDX files, the format of MNIST and of the sets that follow it, packed or not."""

from __future__ import annotations

import gzip
import zlib
from pathlib import Path

import numpy as np
import numpy.typing as npt

from gan_registry.errors import UserError

_UNSIGNED_BYTE = 8


def read_idx(path: Path) -> npt.NDArray[np.uint8]:
    """Reads an IDX file of bytes, packed if its name ends in .gz.

    The header is 0, 0, the type (8 for bytes), the number of dimensions, then each of them as a
    big-endian 32-bit integer.

    Raises:
        UserError: The file cannot be read or is damaged.
    """
    try:
        content = path.read_bytes()
        if path.suffix == ".gz":
            content = gzip.decompress(content)
    except (OSError, EOFError, zlib.error) as error:
        raise UserError(f"Cannot read {path}: {error}; get it anew.") from error
    if len(content) < 4 or content[:3] != bytes([0, 0, _UNSIGNED_BYTE]):
        raise UserError(f"{path} is no IDX file of bytes; get it anew.")
    dimensions = content[3]
    header = 4 + 4 * dimensions
    shape = (
        tuple(np.frombuffer(content[4:header], ">u4").tolist()) if len(content) >= header else ()
    )
    expected = header + int(np.prod(shape, dtype=np.int64))
    if len(shape) != dimensions or len(content) != expected:
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
