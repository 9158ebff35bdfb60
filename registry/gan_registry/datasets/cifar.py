"""CIFAR-10 and CIFAR-100 (Krizhevsky, 2009), from their binary version or a folder of images.

The Python version of both is pickled, and a pickle can run any code: it is not read.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
from pydantic import Field

from gan_registry.datasets.base import Dataset
from gan_registry.datasets.decoding import image_format, resize_images
from gan_registry.datasets.image_cache import cache_settings
from gan_registry.datasets.image_folder import FolderOptions, find_images, open_folder
from gan_registry.datasets.labels import LabelledImages, shown_names
from gan_registry.datasets.options import read_options
from gan_registry.errors import UserError
from gan_registry.regular_files import read_regular

if TYPE_CHECKING:
    import numpy.typing as npt

    from gan_registry.config.schema import Config

SIDE = 32
_PIXELS = 3 * SIDE * SIDE
_SUPERCLASSES = 20
_MAX_NAMES = 2**16  # bytes of a list of names
_MAX_FILE = 2**30  # bytes; the largest as published has 154 million
_CIFAR10_CLASSES = (
    "airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck",
)  # fmt: skip


@dataclass(frozen=True)
class _Version:
    """One of the two datasets in its binary version; a record is its label bytes and the pixels."""

    folder: str
    files: dict[str, tuple[str, ...]]
    label_bytes: int
    num_classes: int
    python_folder: str
    archive: str


_VERSIONS = {
    "CIFAR10": _Version(
        "cifar-10-batches-bin",
        {
            "train": tuple(f"data_batch_{i}.bin" for i in range(1, 6)),
            "test": ("test_batch.bin",),
        },
        1,
        10,
        "cifar-10-batches-py",
        "cifar-10-binary.tar.gz",
    ),
    "CIFAR100": _Version(
        "cifar-100-binary",
        {"train": ("train.bin",), "test": ("test.bin",)},
        2,
        100,
        "cifar-100-python",
        "cifar-100-binary.tar.gz",
    ),
}


class CifarOptions(FolderOptions):
    """Options of `CIFAR10` and `CIFAR100`."""

    groups: Literal["class", "superclass", "none"] = Field(  # type: ignore[assignment]
        "class", description="'class', 'superclass' (CIFAR100, binary version) or 'none'"
    )


def build_cifar(config: Config, data_dir: Path | None) -> Dataset:
    """Builds the dataset `CIFAR10` or `CIFAR100`.

    The data's folder holds the unpacked binary version (`cifar-10-batches-bin`), or is that one
    itself; or it holds images in class folders, with or without `train` and `valid` above. The
    Python version is refused.

    Options: `split`, "train" (50,000 images) or "test" (10,000); `groups`, "class" (default),
    "superclass" (CIFAR100, 20 groups) or "none"; `resize`, the filter if `DATA.img_size` is not 32.
    A folder of images takes the options of `image_folder`, too.
    """
    name = config.DATA.name
    version = _VERSIONS[name]
    options = read_options(CifarOptions, name, config.DATA.options)
    if options.groups == "superclass" and name != "CIFAR100":
        raise UserError(f"The dataset {name!r} has no superclasses; set DATA.options.groups=class.")
    if data_dir is None:
        raise UserError(
            f"The dataset {name!r} needs a folder: set DATA.path (or --data). {_remedy(version)}"
        )
    split = "train" if options.split == "train" else "test"
    for place in (data_dir / version.folder, data_dir):
        if any((place / file).is_file() for file in version.files[split]):
            return _read_binary(name, version, place, config.DATA.img_size, options)
    if data_dir.is_dir() and find_images(data_dir):
        if options.groups == "superclass":
            raise UserError(
                f"A folder of images tells no superclasses of {name!r}; set "
                f"DATA.options.groups=class. {_remedy(version)}"
            )
        cache = cache_settings(config, data_dir)
        return open_folder(name, data_dir, image_format(config, options), options, cache)
    python = (data_dir / version.python_folder).is_dir() or data_dir.name == version.python_folder
    found = ", which holds the Python version, whose pickles are not read" if python else ""
    raise UserError(
        f"The dataset {name!r} finds neither {version.folder}/{version.files[split][0]} nor images "
        f"in {data_dir}{found}. {_remedy(version)}"
    )


def _read_binary(
    name: str, version: _Version, folder: Path, size: int, options: CifarOptions
) -> LabelledImages:
    split = "train" if options.split == "train" else "test"
    records = np.concatenate(
        [_read_records(folder / file, version) for file in version.files[split]]
    )
    fine = records[:, version.label_bytes - 1].astype(np.int64)
    images = records[:, version.label_bytes :].reshape(-1, 3, SIDE, SIDE)
    class_names = _names(folder, "fine_label_names.txt", version.num_classes)
    images = resize_images(np.ascontiguousarray(images), size, options.resize)
    if options.channels == 1:
        images = _to_grey(images)
    dataset = LabelledImages(name, images, fine, class_names, options.groups)
    if options.groups == "superclass":
        dataset.groups = records[:, 0].astype(np.int64)
        dataset.group_names = _names(folder, "coarse_label_names.txt", _SUPERCLASSES)
    return dataset


def _read_records(path: Path, version: _Version) -> npt.NDArray[np.uint8]:
    length = version.label_bytes + _PIXELS
    try:
        content = np.frombuffer(bytearray(read_regular(path, _MAX_FILE)), np.uint8)
    except UserError as error:
        raise UserError(f"{error} {_remedy(version)}") from error
    if len(content) == 0 or len(content) % length:
        raise UserError(
            f"{path} is damaged: {len(content)} bytes are not a multiple of {length}. "
            f"{_remedy(version)}"
        )
    records = content.reshape(-1, length)
    limits = (_SUPERCLASSES, version.num_classes)[-version.label_bytes :]
    for column, limit in enumerate(limits):
        if (records[:, column] >= limit).any():
            raise UserError(
                f"{path} is damaged: it has a label beyond {limit - 1}. {_remedy(version)}"
            )
    return records


def _names(folder: Path, file: str, count: int) -> tuple[str, ...]:
    """Reads the names of classes, or makes some up where the list is missing."""
    if count == 10:
        return _CIFAR10_CLASSES
    path = folder / file
    # A list of names is no reason to do without the images.
    text = path.read_bytes()[:_MAX_NAMES].decode("utf-8", "replace") if path.is_file() else ""
    names = shown_names(text.split(), path)
    kind = "superclass" if file.startswith("coarse") else "class"
    return names if len(names) == count else tuple(f"{kind} {i}" for i in range(count))


def _to_grey(images: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    """Converts as Pillow does for files: luma of ITU-R 601-2, in 16-bit fixed point."""
    weights = np.array([19595, 38470, 7471], np.uint32)[:, None, None]
    luma = (images.astype(np.uint32) * weights).sum(axis=1, keepdims=True)
    grey: npt.NDArray[np.uint8] = ((luma + 0x8000) >> 16).astype(np.uint8)
    return grey


def _remedy(version: _Version) -> str:
    return (
        f"Get the binary version with --download, or unpack {version.archive} of "
        "https://www.cs.toronto.edu/~kriz/cifar.html there."
    )
