"""CelebA (Liu et al., 2015): aligned faces with 40 attributes, any of which can make the groups."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
from pydantic import Field

from gan_registry.datasets.base import Ints
from gan_registry.datasets.celeba_tables import Attributes, read_attributes, read_partition
from gan_registry.datasets.decoding import ImageOptions, image_format
from gan_registry.datasets.image_cache import cache_settings
from gan_registry.datasets.image_folder import Folder, require_folder
from gan_registry.datasets.lazy_images import LazyImages
from gan_registry.datasets.options import read_options
from gan_registry.errors import UserError, unknown_name

if TYPE_CHECKING:
    from gan_registry.config.schema import Config

NAME = "CelebA"
SPLITS = {"train": 0, "valid": 1, "test": 2}
_HOW = (
    "Get img_align_celeba.zip (unpacked), list_attr_celeba.txt and list_eval_partition.txt from "
    "https://mmlab.ie.cuhk.edu.hk/projects/CelebA.html by hand (its licence asks for it)."
)


class CelebAOptions(ImageOptions):
    """Options of `CelebA`."""

    split: Literal["train", "valid", "test", "all"] = Field(
        "train", description="'train', 'valid', 'test' or 'all'"
    )
    attribute: str | None = Field(None, description="the name of one of the 40 attributes")
    labels: Literal["attribute", "none"] = Field("none", description="'attribute' or 'none'")


class CelebA(LazyImages):
    """Faces with attributes.

    Attributes:
        attributes: bool [N, 40], whether a face has an attribute.
        attribute_names: Their names.
    """

    attributes: np.ndarray
    attribute_names: tuple[str, ...]


def build_celeba(config: Config, data_dir: Path | None) -> CelebA:
    """Builds the dataset `CelebA`.

    The data's folder holds `img_align_celeba` and the lists, or a folder `celeba` that does, as
    torchvision lays it out. The largest centred square (178 px) is cut out and resized. Options:
    `split`, "train" (default), "valid", "test" or "all"; `attribute`, e.g. "Bald", which makes two
    groups, those without and those with it (without this option there are no groups); `labels`,
    "attribute" makes the same the label y, for conditional models ("none"); `channels`, `resize`
    (lanczos), `crop`, `skip_corrupt` as in `image_folder`.
    """
    options = read_options(CelebAOptions, NAME, config.DATA.options)
    root = top = require_folder(NAME, data_dir)
    if (root / "celeba").is_dir():
        root = root / "celeba"
    table = read_attributes(_list(root, "list_attr_celeba"))
    rows = np.arange(len(table.files))
    if options.split != "all":
        partition = read_partition(_list(root, "list_eval_partition"), table.files)
        rows = np.flatnonzero(partition == SPLITS[options.split])
    if not len(rows):
        raise UserError(f"The dataset {NAME!r} has no image in the split {options.split!r}.")
    groups, group_names = _groups(table, options, rows)
    labelled = options.labels == "attribute"
    if labelled and groups is None:
        raise UserError("DATA.options.labels=attribute needs DATA.options.attribute, its name.")
    folder = _image_folder(root)
    files = [table.files[row] for row in rows]
    _check_files(folder, files)
    dataset = CelebA(
        NAME,
        Folder(folder),
        files,
        image_format(config, options),
        labels=groups if labelled else None,
        class_names=group_names if labelled else (),
        groups=groups,
        group_names=group_names,
        skip_corrupt=options.skip_corrupt,
        cache=cache_settings(config, top),
        part=options.split,
        folder=f"{folder.relative_to(top).as_posix()}/",
    )
    dataset.attributes = table.values[rows][dataset.kept]
    dataset.attribute_names = table.names
    return dataset


def _groups(
    table: Attributes, options: CelebAOptions, rows: Ints
) -> tuple[Ints | None, tuple[str, ...]]:
    name = options.attribute
    if name is None:
        return None, ()
    if name not in table.names:
        where = f"DATA.options.attribute of the dataset {NAME!r}"
        raise unknown_name("attribute", name, table.names, where)
    column = table.values[rows, table.names.index(name)]
    return column.astype(np.int64), (f"not {name}", name)


def _list(root: Path, stem: str) -> Path:
    """Finds a list as published (.txt) or as Kaggle has it (.csv)."""
    for path in (root / f"{stem}.txt", root / f"{stem}.csv"):
        if path.is_file():
            return path
    raise UserError(f"The dataset {NAME!r} misses {root / stem}.txt. {_HOW}")


def _image_folder(root: Path) -> Path:
    # Kaggle's archive has the folder twice.
    for folder in (root / "img_align_celeba" / "img_align_celeba", root / "img_align_celeba"):
        if folder.is_dir():
            return folder
    raise UserError(f"The dataset {NAME!r} misses the folder {root / 'img_align_celeba'}. {_HOW}")


def _check_files(folder: Path, files: list[str]) -> None:
    present = {path.name for path in folder.iterdir()}
    missing = [file for file in files if file not in present]
    if missing:
        raise UserError(
            f"The dataset {NAME!r} misses {len(missing)} images in {folder}, first {missing[0]}. "
            f"{_HOW}"
        )
