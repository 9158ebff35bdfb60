"""Turns an image file of any kind into bytes of one shape: decode, crop the centre, resize."""

from __future__ import annotations

import io
import warnings
from dataclasses import dataclass, field
from functools import lru_cache
from typing import TYPE_CHECKING, Literal

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageOps, UnidentifiedImageError
from pydantic import Field

from gan_registry.datasets.options import Options
from gan_registry.errors import UserError

if TYPE_CHECKING:
    from gan_registry.config.schema import Config

Bytes = npt.NDArray[np.uint8]
Filter = Literal["nearest", "box", "bilinear", "bicubic", "lanczos"]
MAX_PIXELS = 64_000_000  # of one image, unless DATA.max_pixels says otherwise
# What data sets come in. Pillow reads much more, EPS for instance by starting Ghostscript.
_FORMATS = (
    "AVIF", "BMP", "DIB", "GIF", "JPEG", "JPEG2000", "MPO", "PNG", "PPM", "TIFF", "WEBP",
)  # fmt: skip
_GREY = {"1", "L", "LA", "La", "I", "I;16", "I;16B", "I;16L", "I;16N"}


class ImageOptions(Options):
    """Options of all datasets that decode image files."""

    channels: Literal[1, 3] = Field(3, description="1 (grey) or 3 (colour)")
    resize: Filter = Field(
        "lanczos", description="'nearest', 'box', 'bilinear', 'bicubic' or 'lanczos'"
    )
    crop: int | None = Field(
        None, ge=1, description="the side in pixels of the centred square to cut out, from 1 on"
    )
    skip_corrupt: bool = Field(False, description="true or false")


class UnreadableImageError(ValueError):
    """The bytes are no image that can be decoded; the message says why."""


@dataclass(frozen=True)
class ImageFormat:
    """What images are brought to.

    Attributes:
        size: Side of the square in pixels; None keeps an image's own height and width.
        channels: 1 (grey) or 3 (colour); None keeps grey images grey and others in colour.
        resize: Filter; all but "nearest" widen their support when they shrink (antialiasing).
        crop: Side of the centred square that is cut out before; None, or where an image is
            smaller, the largest there is.
        max_pixels: Larger images are refused before they are decoded. Not part of what an image
            becomes, and hence not of its text, which fingerprints hold.
    """

    size: int | None
    channels: int | None = 3
    resize: Filter = "lanczos"
    crop: int | None = None
    max_pixels: int = field(default=MAX_PIXELS, repr=False)


def image_format(config: Config, options: ImageOptions) -> ImageFormat:
    """Returns what a configuration and the options of its dataset bring images to."""
    data = config.DATA
    return ImageFormat(
        data.img_size, options.channels, options.resize, options.crop, data.max_pixels
    )


def decode(data: bytes, form: ImageFormat) -> Bytes:
    """Decodes the content of an image file, turns it upright (EXIF), and crops and resizes it.

    Transparency is dropped, 16-bit grey is scaled to 8 bits, of an animation the first frame is
    taken.

    Returns:
        uint8 [C, H, W].

    Raises:
        UnreadableImageError: The file is damaged, no image, too large, or of a kind that has no
            8-bit form.
        UserError: It, or what it is to become, does not fit into the memory.
    """
    try:
        with Image.open(io.BytesIO(data), formats=readable_formats()) as opened:
            width, height = opened.size
            if width * height > form.max_pixels:
                raise UnreadableImageError(
                    f"{width}×{height} px are more than DATA.max_pixels, {form.max_pixels:,}"
                )
            opened.load()
            image = _to_eight_bits(ImageOps.exif_transpose(opened))
        channels = form.channels or (1 if image.mode in _GREY else 3)
        if image.mode == "P" and "transparency" in image.info:
            image = image.convert("RGBA")  # else Pillow warns that it ignores transparency
        image = image.convert("L" if channels == 1 else "RGB")
        pixels = np.asarray(_to_square(image, form))
    except UnreadableImageError:
        raise
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise UnreadableImageError("it has more pixels than Pillow decodes") from error
    except UnidentifiedImageError as error:  # whose text is an address in memory
        raise UnreadableImageError("no image of a known kind") from error
    except MemoryError as error:
        size = "" if form.size is None else f" for {form.size}×{form.size} px"
        raise UserError(f"There is not enough memory{size} to decode an image.") from error
    except Exception as error:  # what Pillow raises depends on how the file is broken
        raise UnreadableImageError(str(error) or type(error).__name__) from error
    return pixels[None] if channels == 1 else np.ascontiguousarray(pixels.transpose(2, 0, 1))


@lru_cache(maxsize=1)
def readable_formats() -> tuple[str, ...]:
    """Returns those formats that the installed Pillow reads."""
    # Its warning of large images says less than the limit here.
    warnings.filterwarnings("ignore", category=Image.DecompressionBombWarning)
    Image.init()
    return tuple(name for name in _FORMATS if name in Image.OPEN)


def resize_images(images: Bytes, size: int, resize: Filter = "lanczos") -> Bytes:
    """Resizes square images in memory, uint8 [N, C, H, H], to `size` pixels.

    Returns:
        uint8 [N, C, size, size]; the very same array if it has that size.
    """
    if images.shape[-1] == size:
        return images
    resized = np.empty((*images.shape[:2], size, size), np.uint8)
    method = Image.Resampling[resize.upper()]
    for n, c in np.ndindex(*images.shape[:2]):
        resized[n, c] = Image.fromarray(images[n, c]).resize((size, size), method)
    return resized


def _to_square(image: Image.Image, form: ImageFormat) -> Image.Image:
    if form.size is None:
        return image
    width, height = image.size
    side = min(width, height, form.crop or min(width, height))
    left, top = round((width - side) / 2), round((height - side) / 2)
    # Cropped first: a filter would otherwise mix in what lies beyond the border.
    image = image.crop((left, top, left + side, top + side))
    if side == form.size:
        return image
    return image.resize((form.size, form.size), Image.Resampling[form.resize.upper()])


def _to_eight_bits(image: Image.Image) -> Image.Image:
    """Scales 16-bit grey, which Pillow's own conversion would clip to white."""
    if image.mode == "F":
        raise UnreadableImageError("floating-point pixels; save it with 8 or 16 bits")
    if not image.mode.startswith("I"):
        return image
    values = np.asarray(image).astype(np.int64)
    if values.min() < 0 or values.max() > 65535:
        raise UnreadableImageError("pixels of more than 16 bits; save it with 8 or 16 bits")
    return Image.fromarray(((values + 128) // 257).astype(np.uint8))
