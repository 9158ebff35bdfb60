"""Colours grey images red or green, and tells the colour of an image by its ink.

Red is the major and green the minor group, as in the Colored MNIST of Lee et al. (2021, section
5.2); whether a sample is green does not depend on what it shows.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from pydantic import Field
from torch import Tensor

from gan_registry.datasets.base import OTHER, ArrayDataset, Ints, as_array
from gan_registry.datasets.options import Options, bad_option
from gan_registry.errors import UserError

Bytes = npt.NDArray[np.uint8]
RED, GREEN = 0, 1
GROUP_NAMES = ("red", "green")
DOMINANCE = 2.0  # a colour has more than this times the ink of the other
# Mean ink of a pixel below which an image is blank; the thinnest digit of MNIST, padded to 32 px,
# has 0.02.
BLANK = 0.01


class ColoringOptions(Options):
    """Options that all coloured datasets share."""

    ratio: float = Field(0.95, ge=0.0, le=1.0, description="a number in [0, 1]")
    digits: tuple[int, ...] | None = Field(
        None, min_length=1, description="a list of different digits from 0 to 9"
    )


class Colored(ArrayDataset):
    """Red and green images, uint8 [N, 3, H, W], labelled with what they show.

    Beside the arguments of `ArrayDataset`:

    Args:
        grey: Grey images, uint8 [N, H, W].
        ratio: Share of red (major) images.
        seed: Seed of the choice of the green ones.
        rows: As for `ArrayDataset`.
    """

    can_classify = True

    def __init__(
        self,
        name: str,
        grey: Bytes,
        y: npt.ArrayLike,
        *,
        num_classes: int,
        ratio: float,
        seed: int,
        rows: Ints | None = None,
    ) -> None:
        colors = choose_colors(len(grey), ratio, seed)
        super().__init__(
            name,
            colorize(grey, colors),
            y,
            num_classes=num_classes,
            groups=colors,
            group_names=GROUP_NAMES,
            rows=rows,
        )

    def classify(self, x: Tensor | npt.ArrayLike) -> Ints:
        """Returns the colour of each image by the rule of `ink_color`."""
        return ink_color(x)


def choose_colors(num_samples: int, ratio: float, seed: int) -> Ints:
    """Chooses which of N samples are green; a lower ratio keeps the green ones and adds to them.

    Returns:
        int64 [N] of `RED` and exactly round(N·(1 - ratio)) `GREEN`.
    """
    rng = np.random.Generator(np.random.PCG64(np.random.SeedSequence([seed])))
    colors = np.full(num_samples, RED, np.int64)
    colors[rng.permutation(num_samples)[: round(num_samples * (1.0 - ratio))]] = GREEN
    return colors


def colorize(grey: Bytes, colors: Ints) -> Bytes:
    """Puts each grey image [N, H, W] into the channel of its colour; the others stay black.

    Returns:
        uint8 [N, 3, H, W]; channel 0 is red and 1 is green.
    """
    images = np.zeros((len(grey), 3, *grey.shape[1:]), np.uint8)
    images[np.arange(len(grey)), colors] = grey
    return images


def ink_color(x: Tensor | npt.ArrayLike) -> Ints:
    """Tells the colour of images by their ink, (x + 1) / 2 summed over the pixels of a channel.

    Args:
        x: Images [n, 3, H, W] in [-1, 1].

    Returns:
        int64 [n]: green if there is more than twice as much green ink as red, red likewise; else,
        and for images that are all but blank or not finite, -1.

    Raises:
        ValueError: `x` is not of shape [n, 3, H, W].
    """
    images = as_array(x, np.float32)
    if images.ndim != 4 or images.shape[1] != 3:
        raise ValueError(f"Argument `x` must be [n, 3, H, W], but got {list(images.shape)}.")
    ink = (images.mean(axis=(2, 3), dtype=np.float64) + 1.0) / 2.0
    red, green = ink[:, RED], ink[:, GREEN]
    colors = np.full(len(images), OTHER, np.int64)
    colors[(red > DOMINANCE * green) & (red >= BLANK)] = RED
    colors[(green > DOMINANCE * red) & (green >= BLANK)] = GREEN
    colors[~np.isfinite(ink).all(axis=1)] = OTHER  # one bad pixel makes its mean non-finite
    return colors


def select_digits(
    dataset: str, options: ColoringOptions, grey: Bytes, y: Ints
) -> tuple[Bytes, Ints, Ints | None]:
    """Keeps the images of the chosen digits (option `digits`), in their order.

    Returns:
        The images, their labels, and which of all they are; None for that where all are kept.

    Raises:
        UserError: The option is no list of different digits, or there is no such image.
    """
    if options.digits is None:
        return grey, y, None
    digits = list(options.digits)
    if len(set(digits)) < len(digits) or not set(digits) <= set(range(10)):
        raise bad_option(type(options), dataset, "digits", digits)
    keep = np.isin(y, digits)
    if not keep.any():
        raise UserError(f"The dataset {dataset!r} has no image of the digits {digits}.")
    return grey[keep], y[keep], np.flatnonzero(keep)
