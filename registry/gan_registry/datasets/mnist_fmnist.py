"""A mixture of MNIST (major) and Fashion-MNIST (minor) of Lee et al. (2021, section 5.2).

Place i of 10,000 holds digit i or, where chosen, piece of clothing i, as in the published code.
That enlarges to 32 px bilinearly; here 32 px are the image with a margin, which keeps strokes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import numpy as np
from pydantic import Field

from gan_registry.datasets.base import ArrayDataset
from gan_registry.datasets.coloring import choose_colors
from gan_registry.datasets.mnist import CLASS_NAMES, SIZES, read_images, resize
from gan_registry.datasets.options import Options, check_image_size, read_options
from gan_registry.errors import UserError

if TYPE_CHECKING:
    from pathlib import Path

    from gan_registry.config.schema import Config

NAME = "mnist_fmnist"
GROUP_NAMES = ("MNIST", "Fashion-MNIST")


class MixtureOptions(Options):
    """Options of `mnist_fmnist`."""

    split: Literal["train", "test"] = Field("train", description="'train' or 'test'")
    ratio: float = Field(0.99, ge=0.0, le=1.0, description="a number in [0, 1]")
    num_samples: int = Field(10_000, ge=1, description="an integer from 1 on")


def build_mnist_fmnist(config: Config, data_dir: Path | None) -> ArrayDataset:
    """Builds the dataset `mnist_fmnist`, one channel of 16, 28 or 32 px.

    The data's folder holds `MNIST/raw` and `FashionMNIST/raw`. Options: `ratio`, the share of MNIST
    (0.99; the paper has 0.99, 0.95 and 0.9); `num_samples` in all (10,000); `split`, "train" or
    "test"; `seed` of the choice (0). Exactly round(num_samples·(1 − ratio)) are Fashion-MNIST; a
    lower ratio keeps those and adds to them. Labels are 0–9 for digits and 10–19 for clothing; the
    groups are the two sets.
    """
    options = read_options(MixtureOptions, NAME, config.DATA.options)
    size, count = config.DATA.img_size, options.num_samples
    check_image_size(NAME, SIZES, size)
    parts = [read_images(NAME, data_dir, name, options.split) for name in CLASS_NAMES]
    available = min(len(grey) for grey, _ in parts)
    if count > available:
        raise UserError(
            f"DATA.options.num_samples = {count}, but the split {options.split!r} of the dataset "
            f"{NAME!r} has {available} images of a kind."
        )
    groups = choose_colors(count, options.ratio, options.seed)
    minor = groups == 1
    (digits, digit_labels), (clothing, clothing_labels) = parts
    grey = np.where(minor[:, None, None], clothing[:count], digits[:count])
    y = np.where(minor, clothing_labels[:count] + 10, digit_labels[:count])
    return ArrayDataset(
        NAME, resize(grey, size)[:, None], y, num_classes=20, groups=groups, group_names=GROUP_NAMES
    )
