"""Opens a folder of images or a NumPy file as a dataset, with no configuration at all."""

from __future__ import annotations

import os
from pathlib import Path

from gan_registry.datasets.arrays_file import read_arrays
from gan_registry.datasets.base import Dataset
from gan_registry.datasets.decoding import ImageFormat
from gan_registry.datasets.image_folder import EXTENSIONS, Folder, find_images
from gan_registry.datasets.lazy_images import LazyImages
from gan_registry.errors import UserError


def open_images(
    path: str | Path,
    img_size: int | None = None,
    *,
    channels: int | None = None,
    skip_corrupt: bool = False,
) -> Dataset:
    """Opens images, e.g. real and generated ones to compare.

    Args:
        path: A folder, whose images at any depth are taken in the order of their names, or a .npz
            or .npy file (see `arrays_file.read_arrays`).
        img_size: Side in pixels that images of a folder are cropped and resized to; None keeps
            theirs, which must be the same for all.
        channels: 1 or 3 for a folder; None goes by its first image.
        skip_corrupt: Leave out images of a folder that cannot be read.

    Returns:
        A dataset of unlabelled images (or, from a file, of what it holds).

    Raises:
        UserError: There is nothing at the path, or no image, or what is there cannot be read.
    """
    path = Path(os.path.expanduser(path))
    if path.is_file() and path.suffix.lower() in (".npz", ".npy"):
        dataset: Dataset = read_arrays(path)
        return dataset
    if not path.is_dir():
        what = "neither a folder nor a .npz or .npy file" if path.exists() else "not there"
        raise UserError(f"{path} is {what}.")
    files = find_images(path)
    if not files:
        raise UserError(
            f"There is no image in {path} or its folders; it takes {', '.join(sorted(EXTENSIONS))}."
        )
    form = ImageFormat(img_size, channels)
    return LazyImages("image_folder", Folder(path), files, form, skip_corrupt=skip_corrupt)
