"""Any folder of images: one folder a class, or all together."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
from pydantic import Field

from gan_registry.datasets.decoding import ImageFormat, ImageOptions, image_format
from gan_registry.datasets.image_cache import CacheSettings, cache_settings
from gan_registry.datasets.labels import ClassOptions, class_groups, shown_names
from gan_registry.datasets.lazy_images import LazyImages
from gan_registry.datasets.options import read_options
from gan_registry.errors import UserError
from gan_registry.formatting import printable
from gan_registry.regular_files import read_regular

if TYPE_CHECKING:
    from gan_registry.config.schema import Config

EXTENSIONS = frozenset(
    {".bmp", ".gif", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp"}
)
MAX_FILE = 2**30  # bytes of one image file
Split = Literal["train", "valid", "test"]
# Folders that may hold a split, the likeliest first. StudioGAN's layout is train/ and valid/.
_SPLIT_FOLDERS: dict[str, tuple[str, ...]] = {
    "train": ("train", "training"),
    "valid": ("valid", "val", "validation", "test"),
    "test": ("test", "valid", "val", "validation"),
}


class FolderOptions(ImageOptions, ClassOptions):
    """Options of `image_folder` and of the datasets that lie in such a folder."""

    split: Split = Field("train", description="'train', 'valid' or 'test'")
    labels: Literal["folder", "none"] = Field("folder", description="'folder' or 'none'")


class UnlabelledFolderOptions(FolderOptions):
    """Options of datasets whose folders are no classes."""

    labels: Literal["folder", "none"] = Field("none", description="'folder' or 'none'")


@dataclass(frozen=True)
class Folder:
    """Files of a folder.

    Attributes:
        root: The folder; names are relative to it, with forward slashes.
    """

    root: Path

    def read(self, name: str) -> bytes:
        """Returns the content of a file.

        Raises:
            UserError: The system does not let it be read, or it is no regular file.
        """
        return read_regular(self.root / name, MAX_FILE, "image")

    def locate(self, name: str) -> str:
        """Returns the path of a file, as it can be shown."""
        return printable(self.root / name)

    def stamp(self, name: str) -> str:
        """Returns size and time of a file; nothing of one that is not there."""
        try:
            facts = os.stat(self.root / name)
        except OSError:
            return ""
        return f"{facts.st_size} {facts.st_mtime_ns} "


def build_image_folder(config: Config, data_dir: Path | None) -> LazyImages:
    """Builds the dataset `image_folder`, or one of StudioGAN's names for such a folder.

    The folder holds `train` and `valid` (or one of them), or images right away. In either, a folder
    is a class, numbered in the order of names, or images lie there directly and have no classes.
    Hidden files and files that are no images are passed over.

    Options: `split` (train); `labels`, "folder" or "none", which takes all images at any depth as
    one class; `groups`, "class" (the default: each class is a group) or "none"; `channels`, 3 or 1;
    `resize` (lanczos); `crop`, the side of the centred square to cut out (the largest);
    `skip_corrupt` (false).

    Raises:
        UserError: Options are not as they must be; or the folder is missing, has no image, or has
            images beside its classes.
    """
    name = config.DATA.name
    options = read_options(FolderOptions, name, config.DATA.options)
    cache = cache_settings(config, data_dir)
    return open_folder(name, data_dir, image_format(config, options), options, cache)


def build_unlabelled_folder(config: Config, data_dir: Path | None) -> LazyImages:
    """Builds a dataset like `FFHQ`: its folders (00000, 01000, …) are no classes.

    The same as :func:`build_image_folder`, but `labels` is "none" unless the options say otherwise.
    """
    name = config.DATA.name
    options = read_options(UnlabelledFolderOptions, name, config.DATA.options)
    cache = cache_settings(config, data_dir)
    return open_folder(name, data_dir, image_format(config, options), options, cache)


def open_folder(
    name: str,
    data_dir: Path | None,
    form: ImageFormat,
    options: FolderOptions,
    cache: CacheSettings | None = None,
) -> LazyImages:
    """Opens a folder of images; arguments and errors are as for :func:`build_image_folder`.

    Where the format has no size images keep theirs, which must then all be the same.
    """
    top = require_folder(name, data_dir)
    root = split_folder(name, top, options.split)
    files = find_images(root)
    if not files:
        raise UserError(
            f"The dataset {name!r} finds no image in {root} or its folders; it takes "
            f"{', '.join(sorted(EXTENSIONS))}."
        )
    labels, class_names = None, list[str]()
    if options.labels == "folder" and any("/" in file for file in files):
        class_names, labels = _classes(root, files)
    groups, group_names = (
        (None, ()) if labels is None else class_groups(labels, class_names, options.groups)
    )
    return LazyImages(
        name,
        Folder(root),
        files,
        form,
        labels=labels,
        class_names=class_names,
        groups=groups,
        group_names=group_names,
        skip_corrupt=options.skip_corrupt,
        cache=cache,
        folder="" if root == top else f"{root.name}/",
    )


def require_folder(name: str, data_dir: Path | None) -> Path:
    """Checks that the data's folder is given and exists.

    Raises:
        UserError: It is not, or does not.
    """
    if data_dir is None:
        raise UserError(f"The dataset {name!r} needs a folder: set DATA.path (or --data).")
    if not data_dir.is_dir():
        what = "is no folder" if data_dir.exists() else "does not exist"
        raise UserError(f"DATA.path (--data) of the dataset {name!r} is {data_dir}, which {what}.")
    return data_dir


def split_folder(name: str, folder: Path, split: str) -> Path:
    """Returns the folder of a split; a folder without any is a "train" of its own.

    Raises:
        UserError: There is no such split.
    """
    for candidate in _SPLIT_FOLDERS[split]:
        if (folder / candidate).is_dir():
            return folder / candidate
    every = {candidate for names in _SPLIT_FOLDERS.values() for candidate in names}
    present = sorted(candidate for candidate in every if (folder / candidate).is_dir())
    if split == "train" and not present:
        return folder
    raise UserError(
        f"The dataset {name!r} has no folder for the split {split!r} in {folder}; "
        f"there is: {', '.join(present) or '(none)'}."
    )


def find_images(root: Path) -> list[str]:
    """Finds the images of a folder at any depth; links are followed, each folder once.

    Returns:
        Paths relative to `root` with forward slashes, ordered by folder and then by name, which for
        one level of folders is the order of torchvision's `ImageFolder`.
    """
    found: list[tuple[tuple[str, ...], str]] = []
    seen = set[str]()
    for folder, folders, files in os.walk(root, followlinks=True):
        real = os.path.realpath(folder)
        if real in seen:  # a link back into the tree would never end
            folders.clear()
            continue
        seen.add(real)
        folders[:] = sorted(f for f in folders if not f.startswith((".", "__MACOSX")))
        parts = Path(folder).relative_to(root).parts
        found.extend(
            (parts, file)
            for file in files
            if not file.startswith(".") and os.path.splitext(file)[1].lower() in EXTENSIONS
        )
    return ["/".join((*parts, file)) for parts, file in sorted(found)]


def _classes(root: Path, files: Sequence[str]) -> tuple[list[str], np.ndarray]:
    tops = [file.partition("/")[0] if "/" in file else "" for file in files]
    names = sorted(set(tops))
    if "" in names:
        stray = files[tops.index("")]
        raise UserError(
            f"{root} has images in folders, which would be classes, and others beside them, e.g. "
            f"{printable(stray)}; move these, or read all as one class with "
            "DATA.options.labels=none."
        )
    numbers = {name: number for number, name in enumerate(names)}
    return list(shown_names(names, root)), np.array([numbers[top] for top in tops], np.int64)
