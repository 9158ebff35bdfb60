"""MNIST (LeCun et al., 1998) and Fashion-MNIST (Xiao et al., 2017), grey, from their files."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
from pydantic import Field

from gan_registry.datasets.base import Ints
from gan_registry.datasets.coloring import Bytes
from gan_registry.datasets.idx import find_idx, read_idx
from gan_registry.datasets.labels import ClassOptions, LabelledImages
from gan_registry.datasets.options import check_image_size, read_options
from gan_registry.errors import UserError

if TYPE_CHECKING:
    from gan_registry.config.schema import Config

SIZES = (16, 28, 32)
_PREFIXES = {"train": "train", "test": "t10k"}
CLASS_NAMES: dict[str, tuple[str, ...]] = {
    "MNIST": tuple(f"digit {digit}" for digit in range(10)),
    "FashionMNIST": (
        "t-shirt", "trouser", "pullover", "dress", "coat", "sandal", "shirt", "sneaker", "bag",
        "ankle boot",
    ),
}  # fmt: skip


class MNISTOptions(ClassOptions):
    """Options of `MNIST` and `FashionMNIST`."""

    split: Literal["train", "test"] = Field("train", description="'train' or 'test'")


def build_mnist(config: Config, data_dir: Path | None) -> LabelledImages:
    """Builds the dataset `MNIST` or `FashionMNIST`, one channel of 16, 28 or 32 px.

    The data's folder holds NAME/raw, as torchvision writes it, or the files themselves. 32 px are
    the image with a margin of 2 px, 16 px are that halved. Options: `split`, "train" (60,000
    images) or "test" (10,000); `groups`, "class" (default) or "none".
    """
    name = config.DATA.name
    options = read_options(MNISTOptions, name, config.DATA.options)
    check_image_size(name, SIZES, config.DATA.img_size)
    grey, y = read_images(name, data_dir, name, options.split)
    images = resize(grey, config.DATA.img_size)[:, None]
    return LabelledImages(name, images, y, CLASS_NAMES[name], options.groups)


def read_images(
    dataset: str, data_dir: Path | None, name: str, split: Literal["train", "test"]
) -> tuple[Bytes, Ints]:
    """Reads one split, "train" or "test", of MNIST or Fashion-MNIST (`name`).

    They are in the folder NAME/raw of `data_dir` or, for the dataset of that name itself (`dataset`
    is the one that asks), in `data_dir`.

    Returns:
        Images, uint8 [N, 28, 28], and labels 0–9, int64 [N].

    Raises:
        UserError: The files are missing or damaged, or do not belong together.
    """
    stems = (images_stem(split), f"{_PREFIXES[split]}-labels-idx1-ubyte")
    if data_dir is None:
        raise UserError(
            f"The dataset {dataset!r} needs a folder: set DATA.path (or --data) to the one that "
            f"holds {name}/raw. {_remedy('DIR', name, stems)}"
        )
    folders = idx_folders(dataset, data_dir, name)
    paths = [find_idx(folders, stem) for stem in stems]
    for path, stem in zip(paths, stems, strict=True):
        if path is None:
            raise UserError(
                f"The dataset {dataset!r} (split {split!r}) misses the file {folders[0] / stem}. "
                f"{_remedy(str(data_dir), name, stems)}"
            )
    grey, labels = (read_idx(path) for path in paths if path is not None)
    if grey.shape[1:] != (28, 28) or labels.shape != grey.shape[:1] or labels.max(initial=0) > 9:
        raise UserError(
            f"{paths[0]} and {paths[1]} do not belong together: images {list(grey.shape)}, labels "
            f"{list(labels.shape)} up to {labels.max(initial=0)}; get them anew."
        )
    return grey, labels.astype("int64")


def images_stem(split: Literal["train", "test"]) -> str:
    """Returns the name of the file that holds the images of a split, packed or not."""
    return f"{_PREFIXES[split]}-images-idx3-ubyte"


def idx_folders(dataset: str, root: Path, name: str) -> list[Path]:
    """Returns where a dataset looks for the files of MNIST or Fashion-MNIST (`name`), in order."""
    folders = [root / name / "raw", root / name]
    # A mixture could not tell the files of its parts apart.
    return [*folders, root / "raw", root] if dataset == name else folders


def resize(grey: Bytes, size: int) -> Bytes:
    """Brings images [N, 28, 28] to 28, 32 (a margin of 2 px) or 16 px (that, halved).

    Both steps are exact in integers, hence the same on every machine, and the margin keeps the
    strokes as they are.
    """
    if size == 28:
        return grey
    padded = np.pad(grey, ((0, 0), (2, 2), (2, 2)))
    if size == 32:
        return padded
    blocks = padded.reshape(-1, 16, 2, 16, 2).astype(np.uint16)
    halved: Bytes = ((blocks.sum(axis=(2, 4), dtype=np.uint16) + 2) // 4).astype(np.uint8)
    return halved


def _remedy(folder: str, name: str, stems: tuple[str, str]) -> str:
    return f"Get it with --download, or copy {stems[0]} and {stems[1]} into {folder}/{name}/raw."
