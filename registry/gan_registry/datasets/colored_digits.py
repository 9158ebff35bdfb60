"""Red and green handwritten digits of 8×8 pixels, which come with scikit-learn: no download."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
from sklearn.datasets import load_digits

from gan_registry.datasets.coloring import Bytes, Colored, ColoringOptions, select_digits
from gan_registry.datasets.options import check_image_size, read_options

if TYPE_CHECKING:
    from pathlib import Path

    from gan_registry.config.schema import Config

NAME = "colored_digits"
SIZES = (8, 16, 32)


def build_colored_digits(config: Config, data_dir: Path | None) -> Colored:
    """Builds the dataset `colored_digits`: 1,797 digits of 8, 16 or 32 px.

    They are the test part of the UCI set by Alpaydin and Kaynak; 16 and 32 px are enlarged.

    Options: `ratio`, the share of red digits (0.95); `digits` to keep, a list (all); `seed` of the
    colours (0). The label is the digit.
    """
    options = read_options(ColoringOptions, NAME, config.DATA.options)
    size = config.DATA.img_size
    check_image_size(NAME, SIZES, size)
    digits = load_digits()
    grey = np.rint(digits.images * (255.0 / 16.0)).astype(np.uint8)
    y = digits.target.astype(np.int64)
    grey, y, rows = select_digits(NAME, options, grey, y)
    return Colored(
        NAME, enlarge(grey, size), y, num_classes=10, ratio=options.ratio, seed=options.seed,
        rows=rows,
    )  # fmt: skip


def enlarge(grey: Bytes, size: int) -> Bytes:
    """Enlarges images [N, h, h] to [N, size, size] bilinearly, by a power of two.

    For such factors the arithmetic is exact, hence the same on every machine.
    """
    if grey.shape[-1] == size:
        return grey
    images = torch.from_numpy(grey).to(torch.float32)[:, None]
    larger = torch.nn.functional.interpolate(images, (size, size), mode="bilinear")
    result: Bytes = larger[:, 0].round().to(torch.uint8).numpy()
    return result
