"""Writes samples to an .npz file or to a folder of PNG files."""

from __future__ import annotations

import math
import shutil
from pathlib import Path

import numpy as np

from gan_registry.datasets.base import Dataset
from gan_registry.errors import UserError
from gan_registry.evaluation.sources import SampleSource, collect
from gan_registry.files import atomic_write, existing_folder

_SMALLEST_PNG = 67  # bytes


def write_samples(source: SampleSource, num: int, out: Path, dataset: Dataset) -> None:
    """Draws samples and writes them.

    Args:
        source: Where they come from.
        num: How many.
        out: A file ending in .npz, which gets the array `x` float32 [num, ...] in the dataset's
            value range; or a folder, which gets `000000.png` and so on.
        dataset: Says whether samples are images, and their value range.

    Raises:
        UserError: Samples were to be written as PNG files that are none of 1 or 3 channels, the
            folder is a file or not empty, or so many samples do not fit on the disk.
    """
    if out.suffix == ".npz":
        _check_room(num, 4 * math.prod(dataset.sample_shape), out)
        x = collect(source, num).numpy()
        with atomic_write(out) as temporary, temporary.open("wb") as file:
            np.savez_compressed(file, x=x)
        return
    if dataset.kind != "image":
        raise UserError(f"--out {out} is no .npz file; samples that are no images need one.")
    if (channels := dataset.sample_shape[0]) not in (1, 3):
        raise UserError(f"--out {out} is no .npz file; images of {channels} channels need one.")
    if out.suffix[1:].isalpha() and not out.exists():  # "run.2" may well be a folder
        raise UserError(f"--out {out} names a file; give a folder, or a name ending in .npz.")
    if out.exists() and not out.is_dir():
        raise UserError(f"--out {out} is a file; give a folder, or a name ending in .npz.")
    if out.exists() and any(out.iterdir()):  # what lies there would pass for samples of this run
        raise UserError(f"--out {out} is not empty; give a new or an empty folder.")
    _check_room(num, _SMALLEST_PNG, out)
    from gan_registry.images import to_pngs

    number = 0
    for batch in source.batches(num):
        for png in to_pngs(batch.cpu(), dataset.value_range):
            with atomic_write(out / f"{number:06d}.png", sync=False) as temporary:
                temporary.write_bytes(png)
            number += 1


def _check_room(num: int, size: int, out: Path) -> None:
    """Refuses more samples, of so many bytes each at the least, than the disk can take."""
    folder = existing_folder(out)
    free = shutil.disk_usage(folder).free
    if num * size > free:
        raise UserError(
            f"{num:,} samples take {num * size / 1e9:,.0f} GB, and {free / 1e9:,.0f} GB are free "
            f"in {folder}; draw fewer."
        )
