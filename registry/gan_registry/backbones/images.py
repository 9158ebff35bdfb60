"""Which images a backbone takes."""

from __future__ import annotations

from collections.abc import Collection

from gan_registry.errors import UserError


def image_shape(
    backbone: str, sample_shape: tuple[int, ...], sizes: Collection[int]
) -> tuple[int, int]:
    """Returns (channels, size) of square images of one of the `sizes` that a backbone supports.

    Raises:
        UserError: The samples are no images, or have a size that is not supported.
    """
    if len(sample_shape) != 3:
        raise UserError(
            f"MODEL.backbone {backbone} takes images of shape (channels, height, width), but the "
            f"samples of this dataset have shape {tuple(sample_shape)}; use MODEL.backbone=mlp for "
            "points."
        )
    channels, height, width = sample_shape
    if height != width or height not in sizes:
        supported = ", ".join(map(str, sizes))
        raise UserError(
            f"MODEL.backbone {backbone} supports square images of {supported} px, but got "
            f"{height}×{width}; set DATA.img_size to one of these."
        )
    return channels, height
