"""Images that lie in files and are decoded when they are asked for, once if they fit in memory."""

from __future__ import annotations

import hashlib
import os
import warnings
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.utils.data import get_worker_info

from gan_registry.datasets.base import Dataset, Indices, Ints, rows_of
from gan_registry.datasets.decoding import Bytes, ImageFormat, UnreadableImageError, decode
from gan_registry.errors import UserError

CACHE_BYTES = 512 * 2**20
_MAX_THREADS = 8
_THREADED_FROM = 16 * 1024  # bytes of a file, from which decoding it outweighs the thread


class ImageSource(Protocol):
    """Where encoded images come from; must survive being pickled.

    It may have a method `stamp(name) -> str`, whose text changes when the file does, and which does
    not read it.
    """

    def read(self, name: str) -> bytes:
        """Returns the file of that name."""
        ...

    def locate(self, name: str) -> str:
        """Returns what a person would call it, e.g. its path."""
        ...


class LazyImages(Dataset):
    """Image files, decoded on demand.

    Decoded images are kept, as bytes, if all of them fit in `cache_bytes`; each loader process
    has a cache of its own and an equal share of that memory.

    Beside `name`, `groups` and `group_names` as for `ArrayDataset`:

    Args:
        source: Where the files come from.
        names: Name of each file [N], in the order of the dataset.
        form: What images are brought to; without a size, all must have that of the first.
        labels: Label of each image [N]; None stands for zeros.
        class_names: Name of each class.
        skip_corrupt: Leave out images that cannot be decoded, with a warning, rather than fail when
            one is asked for. All files are read once to find them.
        cache_bytes: Memory for decoded images; 0 keeps none.
        folder: Where the files are in the data's folder, with a slash at its end; "" right there.

    Attributes:
        labels: int64 [N].
        class_names: Name of each class; empty if the images have no classes.
        names: Name of each file.
        kept: int64 [N], the place of each image among the `names` given.

    Raises:
        UserError: There is no (readable) image, or the one that tells the size cannot be read.
    """

    kind = "image"
    value_range = (-1.0, 1.0)
    labels: Ints

    def __init__(
        self,
        name: str,
        source: ImageSource,
        names: Sequence[str],
        form: ImageFormat,
        *,
        labels: Ints | None = None,
        class_names: Sequence[str] = (),
        groups: Ints | None = None,
        group_names: Sequence[str] = (),
        skip_corrupt: bool = False,
        cache_bytes: int = CACHE_BYTES,
        folder: str = "",
    ) -> None:
        if not names:
            raise UserError(f"The dataset {name!r} has no image.")
        self.name = name
        self.names = list(names)
        self.labels = np.zeros(len(names), np.int64) if labels is None else labels
        self.class_names = tuple(class_names)
        self.num_classes = max(len(class_names), 1)
        self.groups = groups
        self.group_names = tuple(group_names)
        self.kept = np.arange(len(names), dtype=np.int64)
        self._source = source
        self._form = form
        self._folder = folder
        self._cache_bytes = cache_bytes
        self._cache: Bytes | None = None
        self._cached = np.zeros(0, np.bool_)
        if skip_corrupt:
            self._leave_out_unreadable()
        channels, height, width = form.channels, form.size, form.size
        if channels is None or height is None or width is None:
            channels, height, width = self._decode_any(0).shape
            if channels == 3:  # grey ones among coloured ones are shown in colour, not vice versa
                self._form = replace(form, channels=3)
        self.sample_shape = (channels, height, width)

    def __len__(self) -> int:
        """Returns the number of images."""
        return len(self.names)

    def __getitems__(self, indices: Indices) -> tuple[Tensor, Tensor]:
        """Returns images, float32 [B, C, H, W] in [-1, 1], and labels, int64 [B].

        Raises:
            IndexError: An index lies outside [0, N).
            UserError: An image cannot be read, or has another size than the first where sizes are
                kept; the message names it.
        """
        rows = rows_of(indices, len(self))
        x = torch.from_numpy(self._pixels(rows)).to(torch.float32).div_(127.5).sub_(1.0)
        return x, torch.from_numpy(self.labels[rows])

    def sample_names(self, indices: Indices) -> list[str]:
        """Returns the path of each image in the data's folder, or its key in a database."""
        rows = rows_of(indices, len(self)).tolist()
        return [f"{self._folder}{self.names[row]}" for row in rows]

    def fingerprint(self) -> str:
        """Returns a digest of all names, and of what the base class covers.

        Of up to 1,000 images it sees the file's bytes: decoders differ in the last bit between
        machines.
        """
        digest = hashlib.sha256(f"{super().fingerprint()} {self._form}".encode())
        digest.update("\0".join(self.names).encode("utf-8", "surrogateescape"))
        return digest.hexdigest()

    def cache_key(self) -> str:
        """Returns a digest of the fingerprint, all labels, and the stamps of all files."""
        digest = hashlib.sha256(super().cache_key().encode())
        stamp = getattr(self._source, "stamp", None)
        if stamp is not None:
            for name in self.names:
                digest.update(stamp(name).encode())
        return digest.hexdigest()

    def __getstate__(self) -> dict[str, Any]:
        """Leaves the cache out: a process that gets a copy fills one of its own."""
        return {**self.__dict__, "_cache": None, "_cached": np.zeros(0, np.bool_)}

    def _content(self, indices: Ints) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
        read = self._source.read
        digests = b"".join(hashlib.sha256(read(self.names[i])).digest() for i in indices)
        return np.frombuffer(digests, np.uint8).reshape(-1, 32), self.labels[indices]

    def _pixels(self, rows: Ints) -> Bytes:
        """Returns images, uint8 [B, C, H, W], from the cache where there is one."""
        if self._cache is None and self._fits():
            # The system gives memory only to the parts that are written to.
            self._cache = np.empty((len(self), *self.sample_shape), np.uint8)
            self._cached = np.zeros(len(self), np.bool_)
        if self._cache is None:
            return self._decode_many(rows)
        missing = np.unique(rows[~self._cached[rows]])
        if len(missing):
            self._cache[missing] = self._decode_many(missing)
            self._cached[missing] = True
        return self._cache[rows]

    def _fits(self) -> bool:
        worker = get_worker_info()
        processes = 1 if worker is None else worker.num_workers
        return len(self) * int(np.prod(self.sample_shape)) * processes <= self._cache_bytes

    def _decode_many(self, rows: Ints) -> Bytes:
        images = np.empty((len(rows), *self.sample_shape), np.uint8)

        def fill(places: Sequence[int]) -> None:
            for place in places:
                images[place] = self._decode(int(rows[place]))

        fill(range(min(1, len(rows))))
        threads = min(_threads(), len(rows) - 1)
        if threads <= 1 or len(self._source.read(self.names[rows[0]])) < _THREADED_FROM:
            fill(range(1, len(rows)))
        else:
            # A pool for each call: one that is kept would not survive a fork.
            with ThreadPoolExecutor(threads) as pool:
                list(pool.map(fill, [range(1 + t, len(rows), threads) for t in range(threads)]))
        return images

    def _decode(self, index: int) -> Bytes:
        image = self._decode_any(index)
        if image.shape != self.sample_shape:
            raise UserError(
                f"The image {self._source.locate(self.names[index])} is {_size(image.shape)}, but "
                f"the first one {_size(self.sample_shape)}; all must have one size."
            )
        return image

    def _decode_any(self, index: int) -> Bytes:
        name = self.names[index]
        try:
            return decode(self._source.read(name), self._form)
        except UnreadableImageError as error:
            raise UserError(
                f"The image {self._source.locate(name)} cannot be read ({error}); mend or remove "
                "it, or leave such images out with DATA.options.skip_corrupt=true."
            ) from error

    def _leave_out_unreadable(self) -> None:
        def is_readable(name: str) -> bool:
            try:
                decode(self._source.read(name), self._form)
            except UnreadableImageError:
                return False
            return True

        with ThreadPoolExecutor(_threads()) as pool:
            good = np.fromiter(pool.map(is_readable, self.names), np.bool_, len(self.names))
        if good.all():
            return
        bad = [self._source.locate(self.names[i]) for i in np.flatnonzero(~good)]
        if not good.any():
            raise UserError(f"The dataset {self.name!r} has no image that can be read: {bad[0]} …")
        shown = ", ".join(bad[:3]) + (", …" if len(bad) > 3 else "")
        warnings.warn(
            f"Left out {len(bad)} of {len(good)} images that cannot be read: {shown}", stacklevel=2
        )
        self.kept = np.flatnonzero(good)
        self.names = [self.names[i] for i in self.kept]
        self.labels = self.labels[self.kept]
        if self.groups is not None:
            self.groups = self.groups[self.kept]


def _threads() -> int:
    if get_worker_info() is not None:
        return 1  # loader processes are parallel already
    if hasattr(os, "sched_getaffinity"):
        return min(len(os.sched_getaffinity(0)), _MAX_THREADS)
    return min(os.cpu_count() or 1, _MAX_THREADS)


def _size(shape: tuple[int, ...]) -> str:
    channels, height, width = shape
    return f"{width}×{height} px of {channels} channel{'s' if channels > 1 else ''}"
