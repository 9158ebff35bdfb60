"""What extractors ask of the samples they are given."""

from __future__ import annotations

import torch
from torch import Tensor

from gan_registry.datasets.base import Dataset
from gan_registry.errors import UserError

CHANNELS = (1, 3)


def check_samples(samples: Tensor, shape: tuple[int, ...]) -> Tensor:
    """Returns samples [B, *shape] as float32, if they are what an extractor can take.

    Raises:
        ValueError: They have another shape.
        UserError: Some are not finite: their features would spoil those of all others.
    """
    if samples.dim() == 0 or tuple(samples.shape[1:]) != tuple(shape):
        expected = ", ".join(["B", *map(str, shape)])
        raise ValueError(
            f"Argument `samples` must be of shape [{expected}], but got {list(samples.shape)}."
        )
    samples = samples.detach().to(torch.float32)
    broken = int((~torch.isfinite(samples.flatten(1)).all(1)).sum())
    if broken:
        raise UserError(
            f"{broken} of {len(samples)} samples hold values that are not finite (NaN or infinite),"
            " which have no features; remove them, or evaluate a checkpoint from before the "
            "training diverged."
        )
    return samples


def image_range(name: str, dataset: Dataset) -> tuple[float, float]:
    """Returns the values of black and white, if the extractor `name` can take the images.

    Raises:
        UserError: They are no images, have neither 1 nor 3 channels, or no bounded range.
    """
    shape = tuple(dataset.sample_shape)
    if dataset.kind != "image" or len(shape) != 3 or dataset.value_range is None:
        raise UserError(
            f"The features {name!r} are of images, but the dataset {dataset.name!r} has samples of "
            f"shape {shape}; choose the features 'raw'."
        )
    if shape[0] not in CHANNELS:
        raise UserError(
            f"The features {name!r} are of images of 1 or 3 channels, but those of the dataset "
            f"{dataset.name!r} have {shape[0]}; choose the features 'raw' or a TorchScript file."
        )
    return dataset.value_range


def to_levels(images: Tensor, value_range: tuple[float, float]) -> Tensor:
    """Rounds images [B, C, H, W] to the 256 levels of a file; values beyond the range are clipped.

    Published numbers are of images read from files. Real images come from bytes and are not
    changed; generated ones are measured as they would be once saved.

    Returns:
        Whole numbers from 0 to 255, float32 of the same shape.
    """
    low, high = value_range
    return ((images - low) * (255.0 / (high - low))).round_().clamp_(0.0, 255.0)


def to_rgb(images: Tensor) -> Tensor:
    """Repeats the channel of grey images: [B, 1 or 3, H, W] → [B, 3, H, W]."""
    return images.expand(-1, 3, -1, -1)
