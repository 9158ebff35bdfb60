"""The file with a dataset's decoded images: made once, and shared by all runs and processes.

It is a safetensors file of bytes that carries its own checksum. Its header holds a fingerprint of
the files that the images come from, so that images of changed data are never taken for theirs.
"""

from __future__ import annotations

import contextlib
import hashlib
import logging
import math
import os
import shutil
import sys
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import BinaryIO

import numpy as np

from gan_registry.datasets.decoding import Bytes
from gan_registry.errors import UserError
from gan_registry.files import CACHE_VARIABLE, atomic_write, cache_folder, unwritable
from gan_registry.formatting import printable
from gan_registry.integrity import (
    MAX_HEADER,
    TENSORS,
    DamagedError,
    check_open,
    open_whole,
    parse_json,
    write_tensors,
)
from gan_registry.metrics.base import Progress, no_progress

if sys.platform != "win32":
    import fcntl

_LOG = logging.getLogger(__name__)
_PIECE = 1024  # images that are decoded and written at a time
_LARGE = 2**30  # bytes from which on comparing a checksum takes a while
_WAITING = "waiting for another process that decodes the images"


class ImageFile:
    """The file of a dataset, which may not be there.

    Args:
        folder: The data's folder; the file is a hidden one there, or if that is not to be written
            to or `GAN_REGISTRY_CACHE` is set, one of the cache folder.
        key: What tells it from other files there: which part of the data, and the form of images.
        fingerprint: Digest of the files that the images come from, and of how they are decoded.
        shape: (N, C, H, W).
    """

    def __init__(self, folder: Path, key: str, fingerprint: str, shape: tuple[int, ...]) -> None:
        self._fingerprint = fingerprint
        self._shape = shape
        beside = folder / f".gan_registry-{_digest(key)}.safetensors"
        kept = f"{_digest(f'{folder.resolve()} {key}')}.safetensors"
        self._places = [beside]
        with contextlib.suppress(RuntimeError):  # nobody's home: then beside the data alone
            self._places.append(cache_folder() / "images" / kept)
        if CACHE_VARIABLE in os.environ or not os.access(folder, os.W_OK):
            self._places.reverse()
        self._damaged = set[Path]()  # those that were named

    def open(self, whole: bool = False, progress: Progress = no_progress) -> Bytes | None:
        """Maps the images, uint8 [N, C, H, W], into memory; None if there is no file of them.

        Args:
            whole: Compare the checksum, for which the file is read through.
            progress: Told when that begins and ends, of a large file.
        """
        for path in self._places:
            try:
                # Opened once: it may be replaced meanwhile.
                with open_whole(path) as file:
                    start = self._start(file)
                    if start is None:
                        continue
                    if whole:
                        self._check(file, path, progress)
                    # "c", as torch warns of memory that it may not write to; nobody writes to it.
                    return np.asarray(np.memmap(file, np.uint8, "c", start, self._shape))
            except FileNotFoundError:
                continue
            except DamagedError as error:
                if path not in self._damaged:
                    _LOG.warning(
                        "The file of decoded images %s %s; it is not used.", printable(path), error
                    )
                self._damaged.add(path)
            except OSError as error:
                _LOG.warning("Cannot map %s: %s.", printable(path), error.strerror or error)
        return None

    def _check(self, file: BinaryIO, path: Path, progress: Progress) -> None:
        what = f"comparing the checksum of {printable(path)}"
        if large := math.prod(self._shape) > _LARGE:
            progress(what, 0, 1)
        check_open(file, TENSORS)
        if large:
            progress(what, 1, 1)

    def make(
        self, decode: Callable[[int, int], Bytes], progress: Progress, spare: int = 1
    ) -> Bytes | None:
        """Opens the file and compares its checksum; makes it where there is no sound one.

        One process makes it while others wait. Where it cannot be made, a line in the log says why.

        Args:
            decode: `(start, stop) -> images [stop - start, C, H, W]`.
            progress: Told how far it is.
            spare: It may take one part in so many of the free space.

        Returns:
            The images, uint8 [N, C, H, W], or None.

        Raises:
            UserError: An image cannot be decoded.
        """
        # Before anybody waits: a checksum takes long, and any number of processes may compare it.
        if (found := self.open(whole=True, progress=progress)) is not None:
            return found
        path = self._places[0]
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with _locked(path, progress):
                found = self.open(whole=True, progress=progress)
                if found is None and self._has_room(path.parent, spare):
                    self._write(path, decode, progress)
                    found = self.open()
                return found
        except _CannotDecodeError as error:
            raise error.reason from error.reason.__cause__
        except OSError as error:
            reason = unwritable(path, error)
        except UserError as error:
            reason = error
        found = self.open(whole=True, progress=progress)  # one of somebody else's may be read
        if found is not None:
            return found
        _LOG.warning("%s The run goes on without a file of decoded images.", reason)
        return None

    def _start(self, file: BinaryIO) -> int | None:
        """Returns where a file's images begin, or None if they are others.

        Raises:
            DamagedError: It is damaged.
        """
        size = os.fstat(file.fileno()).st_size
        length = int.from_bytes(file.read(8), "little")
        if length > min(size, MAX_HEADER):
            raise DamagedError("is not as it was written")
        header = parse_json(file.read(length))
        about = header.get("__metadata__") if isinstance(header, dict) else None
        if not isinstance(about, dict) or about.get("images") != self._fingerprint:
            return None
        if size != 8 + length + math.prod(self._shape):
            raise DamagedError("is cut off")
        return 8 + length

    def _has_room(self, folder: Path, spare: int) -> bool:
        needed, free = math.prod(self._shape), shutil.disk_usage(folder).free
        if needed <= free // spare:
            return True
        _LOG.warning(
            "Decoded images would take %.1f of the %.1f GB that are free in %s, so the run goes on "
            "without a file of them%s.",
            needed / 1e9, free / 1e9, printable(folder),
            "; DATA.cache=disk makes it all the same" if needed <= free else "",
        )  # fmt: skip
        return False

    def _write(self, path: Path, decode: Callable[[int, int], Bytes], progress: Progress) -> None:
        count = self._shape[0]
        what = f"decoding {count:,} images into {printable(path)}"

        def piece(start: int, stop: int) -> Bytes:
            progress(what, start, count)
            try:
                return decode(start, stop)
            except UserError as error:
                raise _CannotDecodeError(error) from error

        entries = []
        for start in range(0, count, _PIECE):
            stop = min(start + _PIECE, count)
            shape = (stop - start, *self._shape[1:])
            entries.append((f"images.{start:010d}", "U8", shape, partial(piece, start, stop)))
        with atomic_write(path) as temporary:
            write_tensors(temporary, entries, {"images": self._fingerprint})
        progress(what, count, count)


class _CannotDecodeError(Exception):
    """An image cannot be decoded, which has nothing to do with the file."""

    def __init__(self, reason: UserError) -> None:
        self.reason = reason


@contextlib.contextmanager
def _locked(path: Path, progress: Progress) -> Iterator[None]:
    """Lets one process at a time make a file; on a system without locks, all at once."""
    if sys.platform == "win32":
        yield
        return
    flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK
    handle = os.open(path.with_suffix(".lock"), flags, 0o666)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            progress(_WAITING, 0, 1)
            fcntl.flock(handle, fcntl.LOCK_EX)
            progress(_WAITING, 1, 1)
        # Nobody else writes there: what is left is of a process that was killed.
        for left in path.parent.glob(f".{path.name}.*.tmp"):
            left.unlink(missing_ok=True)
    except OSError as error:
        _LOG.warning("%s cannot be locked: %s.", printable(path), error.strerror)
    try:
        yield
    finally:
        os.close(handle)


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()[:16]
