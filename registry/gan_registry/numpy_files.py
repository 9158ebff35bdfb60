"""Reads .npy and .npz files; what their headers promise is held against their size first."""

from __future__ import annotations

import math
import os
import sys
import zipfile
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from gan_registry.errors import UserError
from gan_registry.formatting import printable
from gan_registry.regular_files import open_regular

_DEFLATE = 1032  # no deflated byte stands for more
_ZIP = b"PK"


class NoArraysError(Exception):
    """A file holds no arrays that can be read; the message says why."""


def load_arrays(path: Path) -> dict[str, NDArray[Any]]:
    """Reads the arrays of a file by their names; that of a .npy file is `x`. Nothing is unpickled.

    Raises:
        UserError: The file is missing, damaged, promises more than it holds, or holds Python
            objects; or its arrays do not fit into the memory.
    """
    shown = f"Cannot read {printable(path)} as a NumPy file"
    with open_regular(path) as file:
        try:
            return read_arrays(file, os.fstat(file.fileno()).st_size)
        except MemoryError as error:
            raise UserError(f"{shown}: there is not enough memory for it.") from error
        except NoArraysError as error:
            raise UserError(f"{shown}: {error}.") from error


def read_arrays(file: IO[bytes], size: int) -> dict[str, NDArray[Any]]:
    """Does what :func:`load_arrays` does with the `size` bytes of an open file.

    Raises:
        NoArraysError: It is damaged, promises more than it holds, or holds Python objects.
        MemoryError: Its arrays do not fit into the memory.
    """
    try:
        packed = file.read(len(_ZIP)) == _ZIP
        file.seek(0)
        if packed:
            arrays = _read_archive(file, size)
        else:
            _check_header(file, size)
            file.seek(0)
            arrays = {"x": np.load(file, allow_pickle=False)}
        for array in arrays.values():
            _check_text(array)
        return arrays
    except (MemoryError, NoArraysError):
        raise
    except Exception as error:  # what zipfile and NumPy raise depends on how it is broken
        raise NoArraysError(str(error) or type(error).__name__) from error


def _check_text(array: NDArray[Any]) -> None:
    """Refuses text that Python cannot hold, which it would stumble over later."""
    for name in array.dtype.names or ():
        _check_text(array[name])
    if array.dtype.kind == "U" and array.size and array.dtype.itemsize:
        code = np.dtype(np.uint32).newbyteorder(array.dtype.byteorder)
        if int(np.ascontiguousarray(array).reshape(-1).view(code).max()) > sys.maxunicode:
            raise NoArraysError("it holds text that is no Unicode")


def _read_archive(file: IO[bytes], size: int) -> dict[str, NDArray[Any]]:
    with zipfile.ZipFile(file) as archive:
        members = [info for info in archive.infolist() if info.filename.endswith(".npy")]
        if sum(info.file_size for info in members) > _DEFLATE * size:
            raise NoArraysError("its parts are larger than what it can hold")
        arrays = dict[str, NDArray[Any]]()
        for info in members:
            with archive.open(info) as part:
                _check_header(part, info.file_size)
            with archive.open(info) as part:
                arrays[info.filename.removesuffix(".npy")] = npy.read_array(
                    part, allow_pickle=False
                )
    return arrays


def _check_header(file: IO[bytes], size: int) -> None:
    """Checks that an array has room in `size` bytes, before any memory is taken for it."""
    try:
        version = npy.read_magic(file)
        read = npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0
        shape, _, dtype = read(file)
    except ValueError as error:  # which tells how to load what it takes for a pickle
        raise NoArraysError("it is none, or damaged") from error
    if dtype.hasobject:
        raise NoArraysError("it holds Python objects, which are not read")
    if math.prod(shape) * dtype.itemsize > size or min(shape, default=0) < 0:
        raise NoArraysError(f"its header promises {list(shape)} of {dtype}, more than it holds")
