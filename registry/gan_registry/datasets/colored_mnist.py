"""Red and green MNIST digits, read from a folder."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from pydantic import Field

from gan_registry.datasets.coloring import Colored, ColoringOptions, select_digits
from gan_registry.datasets.idx import find_idx
from gan_registry.datasets.mnist import SIZES, idx_folders, images_stem, read_images, resize
from gan_registry.datasets.options import check_image_size, read_options
from gan_registry.errors import UserError

if TYPE_CHECKING:
    from gan_registry.config.schema import Config

_LOG = logging.getLogger(__name__)

NAME = "colored_mnist"


class ColoredMNISTOptions(ColoringOptions):
    """Options of `colored_mnist`."""

    split: Literal["train", "test", "auto"] = Field(
        "train", description="'train', 'test' or 'auto'"
    )
    first: int | None = Field(None, ge=1, description="a whole number of at least 1")


def build_colored_mnist(config: Config, data_dir: Path | None) -> Colored:
    """Builds the dataset `colored_mnist`: MNIST in red and green, 16, 28 or 32 px.

    Options: `split`, "train" (60,000 digits), "test" (10,000) or "auto", the training split where
    its files are there, else the test split; `first`, how many digits of the split are taken (all);
    `ratio`, the share of red digits (0.95); `digits` to keep of these, a list (all); `seed` of the
    colours (0). The label is the digit.

    Args:
        config: Section DATA is read: `img_size`, `options`.
        data_dir: The folder that holds `MNIST/raw`, as for `MNIST`.

    Raises:
        UserError: An option is unknown or its value not allowed, the size is none of the three, or
            the files are missing, damaged or hold too few digits.
    """
    options = read_options(ColoredMNISTOptions, NAME, config.DATA.options)
    size = config.DATA.img_size
    check_image_size(NAME, SIZES, size)
    split = _present_split(data_dir) if options.split == "auto" else options.split
    grey, y = read_images(NAME, data_dir, "MNIST", split)
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


def _present_split(data_dir: Path | None) -> Literal["train", "test"]:
    """Chooses the test split where the folder holds its images and none of the training split."""
    if data_dir is None:
        return "train"
    folders = idx_folders(NAME, data_dir, "MNIST")
    if find_idx(folders, images_stem("train")) or not find_idx(folders, images_stem("test")):
        return "train"
    _LOG.warning("%s holds the test split of MNIST alone, so %s takes that.", folders[0], NAME)
    return "test"
