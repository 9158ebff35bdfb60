"""Image tensors as PNG bytes, one by one or as a grid."""

from __future__ import annotations

import io
import math
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

TINY = 64
"""Pictures up to this many pixels wide are enlarged with sharp pixels."""


def to_uint8(
    images: Any, value_range: tuple[float, float] | None = (-1.0, 1.0)
) -> NDArray[np.uint8]:
    """Converts image tensors to bytes.

    Args:
        images: [N, C, H, W], a tensor or an array. Where C is neither 1 nor 3, the first three
            channels are shown, of two the first.
        value_range: The values of black and white; None takes the finite extremes of `images`.
            Values beyond are clipped, NaN becomes black.

    Returns:
        uint8 [N, H, W, 1 or 3].

    Raises:
        ValueError: The shape is not that of images, or the range is empty.
    """
    x = images.detach().float().cpu().numpy() if isinstance(images, torch.Tensor) else images
    x = np.asarray(x, dtype=np.float32)
    if x.ndim != 4 or not x.shape[1]:
        raise ValueError(f"Argument `images` must be [N, C, H, W], but got shape {tuple(x.shape)}.")
    x = x[:, : 3 if x.shape[1] > 2 else 1]
    if value_range is None:
        finite = x[np.isfinite(x)]
        low, high = (float(finite.min()), float(finite.max())) if finite.size else (0.0, 1.0)
        high = high if high > low else low + 1.0
    else:
        low, high = value_range
    if not high > low:
        raise ValueError(
            f"Argument `value_range` must be (low, high) with low < high, but got {value_range}."
        )
    scaled = (x - low) * (255.0 / (high - low))
    scaled = np.nan_to_num(scaled, nan=0.0, posinf=255.0, neginf=0.0).clip(0.0, 255.0)
    pixels: NDArray[np.uint8] = np.rint(scaled).astype(np.uint8).transpose(0, 2, 3, 1)
    return pixels


def to_pngs(
    images: Any,
    value_range: tuple[float, float] | None = (-1.0, 1.0),
    max_size: int | None = None,
) -> list[bytes]:
    """Encodes each of [N, C, H, W] as a PNG; see :func:`to_uint8`.

    Images whose longer side has more than `max_size` pixels shrink to that, to keep a page small.
    """
    return [_encode(pixels, max_size) for pixels in to_uint8(images, value_range)]


def grid_png(
    images: Any,
    columns: int | None = None,
    value_range: tuple[float, float] | None = (-1.0, 1.0),
    padding: int = 1,
) -> bytes:
    """Arranges [N, C, H, W] row by row in one PNG; see :func:`to_uint8`.

    A row has `columns` images, about as many as there are rows if None; between images are
    `padding` mid-grey pixels.

    Raises:
        ValueError: There is no image.
    """
    pixels = to_uint8(images, value_range)
    count, height, width, channels = pixels.shape
    if count == 0:
        raise ValueError("Argument `images` must hold at least one image, but got none.")
    columns = min(count, columns or math.ceil(math.sqrt(count)))
    rows = math.ceil(count / columns)
    sheet = np.full(
        (rows * (height + padding) - padding, columns * (width + padding) - padding, channels),
        128,
        dtype=np.uint8,
    )
    for number, tile in enumerate(pixels):
        top = number // columns * (height + padding)
        left = number % columns * (width + padding)
        sheet[top : top + height, left : left + width] = tile
    return _encode(sheet, None)


def _encode(pixels: NDArray[np.uint8], max_size: int | None) -> bytes:
    image = Image.fromarray(pixels[..., 0] if pixels.shape[-1] == 1 else pixels)
    if max_size is not None:
        # Never enlarges: the browser does that, with sharp pixels where asked to.
        image.thumbnail((max_size, max_size))
    buffer = io.BytesIO()
    image.save(buffer, format="PNG", optimize=True)
    return buffer.getvalue()
