"""Images that lie in files: decoded when they are asked for, and kept if that is worth it."""

from __future__ import annotations

import hashlib
import os
import platform
import warnings
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import PIL
import torch
from PIL import features
from torch import Tensor
from torch.utils.data import get_worker_info

from gan_registry.datasets.base import Dataset, Indices, Ints, rows_of
from gan_registry.datasets.decoding import (
    Bytes,
    ImageFormat,
    UnreadableImageError,
    decode,
    readable_formats,
)
from gan_registry.datasets.fetching import as_floats
from gan_registry.datasets.image_cache import CacheSettings, ImageCache
from gan_registry.datasets.image_file import ImageFile
from gan_registry.datasets.readable import read_note, write_note
from gan_registry.errors import UserError
from gan_registry.metrics.base import Progress, no_progress

_MAX_THREADS = 8


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
    """Image files, decoded on demand and kept as bytes.

    Each loader process keeps images in memory of its own, an equal share of what is allowed.

    Beside `name`, `groups` and `group_names` as for `ArrayDataset`:

    Args:
        source: Where the files come from.
        names: Name of each file [N], in the order of the dataset.
        form: What images are brought to; without a size, all must have that of the first.
        labels: Label of each image [N]; None stands for zeros.
        class_names: Name of each class.
        skip_corrupt: Leave out images that cannot be decoded, with a warning, rather than fail when
            one is asked for. All are decoded to find them, once: which they are is kept in the
            cache folder until a file changes.
        cache: How decoded images are kept.
        folder: Where the files are in the data's folder, with a slash at its end; "" right there.
        part: Which of the files in the folder these are, where that is a choice.

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
    decodes = True
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
        cache: CacheSettings | None = None,
        folder: str = "",
        part: str = "",
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
        self._part = f"{part} sound ones" if skip_corrupt else part
        if skip_corrupt:
            self._leave_out_unreadable()
        channels, height, width = form.channels, form.size, form.size
        if channels is None or height is None or width is None:
            channels, height, width = self._decode_any(0).shape
            if channels == 3:  # grey ones among coloured ones are shown in colour, not vice versa
                self._form = replace(form, channels=3)
        self.sample_shape = (channels, height, width)
        self._cache = ImageCache(
            cache or CacheSettings(),
            (len(self), *self.sample_shape),
            self._decode_many,
            self._file if hasattr(source, "stamp") else None,
        )

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
        x, y = self.bytes_at(indices)
        return as_floats(x), y

    def bytes_at(self, indices: Indices) -> tuple[Tensor, Tensor]:
        """Returns images, uint8 [B, C, H, W], and labels, int64 [B]; raises as the above."""
        rows = rows_of(indices, len(self))
        return self._cache.read(rows), torch.from_numpy(self.labels[rows])

    def prepare(self, drawn: int, progress: Progress = no_progress) -> None:
        """Decodes all images into a file where they are to be kept in one, and none is there."""
        self._cache.prepare(drawn, progress)

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
        return hashlib.sha256(f"{super().cache_key()}{self._stamps()}".encode()).hexdigest()

    def _content(self, indices: Ints) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
        read = self._source.read
        digests = b"".join(hashlib.sha256(read(self.names[i])).digest() for i in indices)
        return np.frombuffer(digests, np.uint8).reshape(-1, 32), self.labels[indices]

    def _stamps(self) -> str:
        stamp = getattr(self._source, "stamp", None)
        return "" if stamp is None else "".join(map(stamp, self.names))

    def _file(self, folder: Path) -> ImageFile:
        """Returns the file of all images, whose fingerprint must be cheap: it is no `fingerprint`.

        Decoders may differ in the last bit.
        """
        form = f"{self._form} {self.sample_shape} {_decoder()}"
        key = f"{self._folder} {self._part} {form}"
        digest = self._digest(f"images 1 {form}")
        return ImageFile(folder, key, digest, (len(self), *self.sample_shape))

    def _digest(self, what: str) -> str:
        """Returns a digest of what is made of all files, and of their names and stamps."""
        digest = hashlib.sha256(f"{what} {self._stamps()}".encode())
        digest.update("\0".join(self.names).encode("utf-8", "surrogateescape"))
        return digest.hexdigest()

    def _decode_many(self, rows: Ints) -> Bytes:
        images = np.empty((len(rows), *self.sample_shape), np.uint8)

        def fill(places: Sequence[int]) -> None:
            for place in places:
                images[place] = self._decode(int(rows[place]))

        fill(range(min(1, len(rows))))  # one alone: what is opened or set up once, is then
        threads = max(min(_threads(), len(rows) - 1), 1)
        shares = [range(1 + t, len(rows), threads) for t in range(threads)]
        if threads == 1:
            fill(shares[0])
        else:
            # A pool for each call: one that is kept would not survive a fork.
            with ThreadPoolExecutor(threads) as pool:
                list(pool.map(fill, shares))
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

    def _readable(self) -> npt.NDArray[np.bool_]:
        """Returns which files can be decoded, bool [N]."""

        def is_readable(name: str) -> bool:
            try:
                decode(self._source.read(name), self._form)
            except UnreadableImageError:
                return False
            return True

        with ThreadPoolExecutor(_threads()) as pool:
            return np.fromiter(pool.map(is_readable, self.names), np.bool_, len(self.names))

    def _leave_out_unreadable(self) -> None:
        note = None
        if hasattr(self._source, "stamp"):
            limits = f"{self._form} {self._form.max_pixels} {_decoder()} {readable_formats()}"
            note = self._digest(f"readable 1 {limits} {self._source.locate(self.names[0])}")
        good = read_note(note, len(self.names))
        if good is None:
            good = self._readable()
            write_note(note, good)
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


def _decoder() -> str:
    """Names what decodes images here."""
    jpeg = features.version("libjpeg_turbo") or features.version("jpg")
    return f"{PIL.__version__} {jpeg} {platform.machine()}"
