"""Red and green MNIST digits, read from a folder."""

from __future__ import annotations

import logging
import os
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
from pydantic import Field

from gan_registry.datasets.base import Ints
from gan_registry.datasets.coloring import Bytes, Colored, ColoringOptions, select_digits
from gan_registry.datasets.options import check_image_size, read_options
from gan_registry.errors import UserError

if TYPE_CHECKING:
    from gan_registry.config.schema import Config

_LOG = logging.getLogger(__name__)

NAME = "colored_mnist"
SIZES = (16, 28, 32)
_PREFIXES = {"train": "train", "test": "t10k"}


class ColoredMNISTOptions(ColoringOptions):
    """Options of `colored_mnist`."""

    split: Literal["train", "test", "auto"] = Field(
        "train", description="'train', 'test' or 'auto'"
    )
    first: int | None = Field(None, ge=1, description="a whole number of at least 1")


def build_colored_mnist(config: Config, data_dir: Path | None) -> Colored:
    """Builds the dataset `colored_mnist`: MNIST from torchvision's folder layout, 16, 28 or 32 px.

    Options: `split`, "train" (60,000 digits), "test" (10,000) or "auto", the training split where
    its files are there, else the test split; `first`, how many digits of the split are taken (all);
    `ratio`, the share of red digits (0.95); `digits` to keep of these, a list (all); `seed` of the
    colours (0). The label is the digit.

    Args:
        config: Section DATA is read: `img_size`, `options`.
        data_dir: The folder that holds `MNIST/raw`, as torchvision writes it.

    Raises:
        UserError: An option is unknown or its value not allowed, the size is none of the three,
            torchvision is missing, or the files are missing, damaged or hold too few digits.
    """
    options = read_options(ColoredMNISTOptions, NAME, config.DATA.options)
    size = config.DATA.img_size
    check_image_size(NAME, SIZES, size)
    split = _present_split(data_dir) if options.split == "auto" else options.split
    grey, y = read_mnist(data_dir, split)
    if options.first is not None:
        if options.first > len(grey):
            raise UserError(
                f"The dataset {NAME!r} has {len(grey)} digits in the split {split!r}, but the "
                f"option first asks for {options.first}."
            )
        grey, y = grey[: options.first], y[: options.first]
    grey, y, rows = select_digits(NAME, options, grey, y)
    return Colored(
        NAME, resize(grey, size), y, num_classes=10, ratio=options.ratio, seed=options.seed,
        rows=rows,
    )  # fmt: skip


def read_mnist(data_dir: Path | None, split: Literal["train", "test"]) -> tuple[Bytes, Ints]:
    """Reads one split of MNIST, "train" or "test", from the folder that holds `MNIST/raw`.

    Torchvision's readers are used rather than its dataset class, which asks for the files of both
    splits when it needs those of one.

    Returns:
        Images, uint8 [N, 28, 28], and labels, int64 [N].

    Raises:
        UserError: torchvision or the files are missing, or the files are damaged.
    """
    try:
        from torchvision.datasets.mnist import read_image_file, read_label_file
    except ImportError as error:
        raise UserError(
            f"The dataset {NAME!r} needs torchvision: pip install 'diagan-plugin[vision]'."
        ) from error
    if data_dir is None:
        raise UserError(
            f"The dataset {NAME!r} needs a folder: set DATA.path (or --data) to the one that holds "
            f"MNIST/raw. {_how_to_get('DIR', split)}"
        )
    prefix = _PREFIXES[split]
    raw = Path(os.path.expanduser(data_dir)) / "MNIST" / "raw"
    images = _images(raw, split)
    labels = raw / f"{prefix}-labels-idx1-ubyte"
    for path in (images, labels):
        if not path.is_file():
            raise UserError(
                f"The dataset {NAME!r} (split {split!r}) misses the file {path}. "
                f"{_how_to_get(str(data_dir), split)}"
            )
    try:
        grey = read_image_file(str(images)).numpy()
        y = read_label_file(str(labels)).numpy().astype(np.int64)
    except (OSError, ValueError, RuntimeError, KeyError, AssertionError, MemoryError) as error:
        raise UserError(
            f"The files {images.name} and {labels.name} in {raw} cannot be read as MNIST "
            f"({type(error).__name__}); get them anew."
        ) from error
    if grey.shape[1:] != (28, 28) or y.shape != grey.shape[:1]:
        raise UserError(
            f"The files {images.name} and {labels.name} in {raw} do not belong together: images "
            f"{list(grey.shape)}, labels {list(y.shape)}; get them anew."
        )
    return grey, y


def _present_split(data_dir: Path | None) -> Literal["train", "test"]:
    """Chooses the test split where the folder holds its images and none of the training split."""
    if data_dir is None:
        return "train"
    raw = Path(os.path.expanduser(data_dir)) / "MNIST" / "raw"
    present = [split for split in _PREFIXES if _images(raw, split).is_file()]
    if present != ["test"]:
        return "train"
    _LOG.warning("%s holds the test split of MNIST alone, so %s takes that.", raw, NAME)
    return "test"


def _images(raw: Path, split: str) -> Path:
    return raw / f"{_PREFIXES[split]}-images-idx3-ubyte"


def resize(grey: Bytes, size: int) -> Bytes:
    """Brings digits [N, 28, 28] to 28, 32 (a margin of 2 px) or 16 px (that, halved).

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


def _how_to_get(folder: str, split: str) -> str:
    """Returns one sentence on how to get the files, with and without a network."""
    return (
        "To download it: python -c \"from torchvision.datasets import MNIST; MNIST('"
        f"{folder}', download=True)\". Offline: copy the unpacked {_PREFIXES[split]}-images-idx3-"
        f"ubyte and {_PREFIXES[split]}-labels-idx1-ubyte into {folder}/MNIST/raw."
    )
