"""Class labels of a whole dataset, and classes as groups."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from pydantic import Field

from gan_registry.datasets.base import ArrayDataset, Ints
from gan_registry.datasets.options import Options
from gan_registry.errors import UserError
from gan_registry.formatting import printable

_CHUNK = 1024


class ClassOptions(Options):
    """Options of datasets whose classes may serve as groups."""

    groups: Literal["class", "none"] = Field("class", description="'class' or 'none'")


class LabelledImages(ArrayDataset):
    """Labelled images in memory, uint8 [N, C, H, W], whose classes may be their groups.

    Arguments are those of `ArrayDataset`, the name of each class, and in `groups` whether they are
    groups, "class" or "none".
    """

    def __init__(
        self,
        name: str,
        x: npt.NDArray[np.uint8],
        y: npt.ArrayLike,
        class_names: Sequence[str],
        groups: str = "class",
    ) -> None:
        labels = np.asarray(y, np.int64)
        found, names = class_groups(labels, class_names, groups)
        super().__init__(
            name, x, labels, num_classes=len(class_names), groups=found, group_names=names
        )
        self.class_names = tuple(class_names)


def class_groups(
    labels: Ints, class_names: Sequence[str], choice: str
) -> tuple[Ints | None, tuple[str, ...]]:
    """Returns groups [N] and their names: the classes, or nothing by the choice "none".

    A single class divides nothing, and makes no group.
    """
    if choice == "none" or len(class_names) < 2:
        return None, ()
    return labels, tuple(class_names)


def shown_names(names: Sequence[str], where: object) -> tuple[str, ...]:
    """Returns names of classes or groups as they can be shown and written: escaped if need be.

    Raises:
        UserError: Two of them cannot be told apart then; `where` says whose they are.
    """
    shown = tuple(map(printable, names))
    if len(set(shown)) < len(set(names)):
        double = next(name for name in shown if shown.count(name) > 1)
        raise UserError(f"{where} has two names that are both shown as {double!r}; rename one.")
    return shown


def labels_of(dataset: Any) -> Ints:
    """Returns the label of every sample, int64 [N]; without `labels`, the samples are read."""
    labels = getattr(dataset, "labels", None)
    if labels is not None:
        return np.asarray(labels, np.int64)
    count = len(dataset)
    parts = [
        dataset.__getitems__(np.arange(start, min(start + _CHUNK, count)))[1].numpy()
        for start in range(0, count, _CHUNK)
    ]
    return np.concatenate(parts).astype(np.int64) if parts else np.empty(0, np.int64)


def class_names_of(dataset: Any) -> tuple[str, ...]:
    """Returns the name of each class: its own where it has one, else "class 0" and so on."""
    names = getattr(dataset, "class_names", None)
    return tuple(names) if names else tuple(f"class {i}" for i in range(dataset.num_classes))
