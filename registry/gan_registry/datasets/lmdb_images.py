"""Images in an LMDB: LSUN's own (any keys), or one prepared for StyleGAN2 (keys SIZE-NUMBER)."""

from __future__ import annotations

import importlib
import os
import struct
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import Field

from gan_registry.datasets.decoding import ImageOptions, image_format
from gan_registry.datasets.image_cache import cache_settings
from gan_registry.datasets.image_folder import require_folder
from gan_registry.datasets.lazy_images import LazyImages
from gan_registry.datasets.options import read_options
from gan_registry.errors import UserError
from gan_registry.formatting import printable
from gan_registry.regular_files import open_regular

if TYPE_CHECKING:
    from gan_registry.config.schema import Config

_LENGTH_KEY = "length"
# Of LMDB's header, in the order of bytes that 64-bit machines have: magic, size of a page, number
# of the last page, number of the transaction.
_META = struct.Struct("<16xI20xI92xQQ")
_MAGIC = 0xBEEFC0DE
# Open databases by process and path: one opened before a fork must not be used after it.
_OPENED: dict[tuple[int, str], Any] = {}


class LmdbOptions(ImageOptions):
    """Options of `LSUN`."""

    num_samples: int | None = Field(None, ge=1, description="an integer from 1 on")


class LmdbFiles:
    """Values of the LMDB in a folder as files; the database is opened anew in each process.

    Raises:
        UserError: The package lmdb is missing, or the folder is no LMDB.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        _open(path)
        facts = os.stat(path / "data.mdb")
        self._stamp = f"{facts.st_size} {facts.st_mtime_ns} "

    def keys(self) -> list[str]:
        """Returns all keys in their order; bytes are mapped to characters one by one."""
        with _open(self.path).begin() as transaction:
            return [
                bytes(key).decode("latin-1") for key in transaction.cursor().iternext(values=False)
            ]

    def read(self, name: str) -> bytes:
        """Returns the value of a key.

        Raises:
            UserError: There is no such key.
        """
        with _open(self.path).begin() as transaction:
            value = transaction.get(name.encode("latin-1"))
        if value is None:
            raise UserError(f"The LMDB {self.path} has no key {name!r}.")
        return bytes(value)

    def stamp(self, name: str) -> str:
        """Returns size and time of the whole database, whatever the key."""
        return self._stamp

    def locate(self, name: str) -> str:
        """Returns the database and the key."""
        return printable(f"{self.path}:{name}")


def _open(path: Path) -> Any:
    """Opens a database, once in each process, as LMDB demands."""
    key = (os.getpid(), os.path.realpath(path))
    if key not in _OPENED:
        try:
            lmdb = importlib.import_module("lmdb")
        except ImportError as error:
            raise UserError(
                "Images in an LMDB need the package lmdb: pip install 'diagan-plugin[lmdb]'."
            ) from error
        check_size(path / "data.mdb")
        try:
            _OPENED[key] = lmdb.open(
                str(path), readonly=True, lock=False, readahead=False, create=False
            )
        except lmdb.Error as error:
            raise UserError(f"Cannot open {path} as an LMDB: {error}.") from error
    return _OPENED[key]


def check_size(path: Path) -> None:
    """Checks that a database has all its pages: reading one that is cut off ends the process.

    Raises:
        UserError: It is missing, no regular file, or shorter than its header says.
    """
    if not path.exists():
        raise UserError(f"Cannot open {path.parent} as an LMDB: it has no {path.name}.")
    with open_regular(path, "LMDB") as file:
        size = os.fstat(file.fileno()).st_size
        head = file.read(_META.size)
        if len(head) < _META.size:
            raise UserError(f"The LMDB {path} is damaged: it has no header; get it anew.")
        magic, page, _, _ = first = _META.unpack(head)
        file.seek(page)
        rest = file.read(_META.size)
    # The header is there twice, and the younger one counts.
    metas = [first] + ([_META.unpack(rest)] if len(rest) == _META.size else [])
    last_page = max(metas, key=lambda meta: meta[3])[2]
    if magic == _MAGIC and (last_page + 1) * page > size:
        raise UserError(
            f"The LMDB {path} is cut off: it has {size:,} bytes, but its header says "
            f"{(last_page + 1) * page:,}; get it anew."
        )


def build_lmdb(config: Config, data_dir: Path | None) -> LazyImages:
    """Builds the dataset `LSUN`, or `FFHQ_lmdb` from a database prepared for StyleGAN2.

    In LSUN's databases (Yu et al., 2015) each value is an image file. One with a key `length` is
    read as `prepare_data.py` of the StyleGAN2 code writes it: `SIZE-NUMBER`, at `DATA.img_size`.
    There are no labels. The data's folder is that of `data.mdb`; reading it takes the package lmdb.

    Options: `num_samples`, the first ones (all); `channels`, `resize` (lanczos), `crop`,
    `skip_corrupt` as in `image_folder`.
    """
    name = config.DATA.name
    options = read_options(LmdbOptions, name, config.DATA.options)
    source = LmdbFiles(require_folder(name, data_dir))
    size = config.DATA.img_size
    keys = source.keys()
    if _LENGTH_KEY in keys:
        keys = _of_size(source, keys, size)
    if not keys:
        raise UserError(f"The LMDB {source.path} is empty.")
    if options.num_samples is not None and options.num_samples > len(keys):
        raise UserError(
            f"DATA.options.num_samples = {options.num_samples}, but the LMDB {source.path} has "
            f"{len(keys)} images."
        )
    return LazyImages(
        name,
        source,
        keys[: options.num_samples],
        image_format(config, options),
        skip_corrupt=options.skip_corrupt,
        cache=cache_settings(config, source.path),
        part=f"{options.num_samples}",
    )


def _of_size(source: LmdbFiles, keys: list[str], size: int) -> list[str]:
    sized = [key.partition("-") for key in keys if key != _LENGTH_KEY]
    chosen = ["".join(parts) for parts in sized if parts[0] == str(size)]
    if not chosen:
        sizes = sorted({int(parts[0]) for parts in sized if parts[0].isdecimal()})[:20]
        raise UserError(
            f"The LMDB {source.path} has no images of {size} px; set DATA.img_size to one of: "
            f"{', '.join(map(str, sizes)) or '(none)'}."
        )
    return chosen
