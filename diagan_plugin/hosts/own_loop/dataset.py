"""A user's dataset: its items with their index, for the loader, and as `(x, y)`, for sweeps."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from diagan_plugin.hosts.kit.dataset import HostDataset, names_in
from diagan_plugin.hosts.own_loop.keys import StreamKeys
from gan_registry.datasets.base import Dataset, Ints

IMAGE_KEYS = ("image", "images", "img", "pixel_values", "x", "data", "input")
LABEL_KEYS = ("label", "labels", "fine_label", "y", "target", "class")
"""Where the sample and its label are looked for in items that are mappings, in this order."""

INDEX_KEY = "index"
"""The key under which an item that is a mapping gets its index."""


class IndexedDataset(torch.utils.data.Dataset[Any]):
    """A dataset whose items carry their index: `(x, y)` becomes `(x, y, index)`.

    An item that is a mapping gets it under the key :data:`INDEX_KEY`.
    """

    def __init__(self, dataset: Any) -> None:
        self._dataset = dataset

    def __len__(self) -> int:
        return len(self._dataset)

    def __getitem__(self, index: int) -> Any:
        item = self._dataset[index]
        if isinstance(item, Mapping):
            return {**item, INDEX_KEY: index}
        parts = tuple(item) if isinstance(item, (tuple, list)) else (item,)
        return (*parts, index)


class Samples(torch.utils.data.Dataset[Any]):
    """A dataset whose items are `(x, y)`, or `(x,)` where there is no label, whatever they were.

    Args:
        dataset: The user's, map-style.
        item: `item -> x` or `(x, y)`, where the items have another form.

    Raises:
        TypeError: The dataset has no indices, or its first item holds no tensor.
        ValueError: An item that is a mapping has the key :data:`INDEX_KEY` already.
    """

    def __init__(self, dataset: Any, item: Callable[[Any], Any] | None = None) -> None:
        check_map_style(dataset)
        self._dataset = dataset
        self._item = item
        if len(dataset) == 0:
            raise ValueError("Argument `dataset` must hold at least one sample, but got none.")
        first = dataset[0]
        if isinstance(first, Mapping) and INDEX_KEY in first:
            raise ValueError(
                f"The items of `dataset` have a key {INDEX_KEY!r} already, which Dia adds: rename "
                "that column."
            )
        _check_sample(self._parts(first)[0])
        self.targets = _listed_labels(dataset)

    def __len__(self) -> int:
        return len(self._dataset)

    def __getitem__(self, index: int) -> tuple[Any, ...]:
        return self._parts(self._dataset[index])

    def __getitems__(self, indices: Sequence[int]) -> Any:
        """Returns a list of items, or a finished batch where the dataset makes such."""
        if getattr(self._dataset, "__getitems__", None) is None:
            return [self[index] for index in indices]
        items = self._dataset.__getitems__(indices)
        return [self._parts(item) for item in items] if isinstance(items, list) else items

    def sample_names(self, rows: Ints) -> list[str] | None:
        """Returns the names [B] of samples; None if the user's dataset tells none."""
        return names_in(self._dataset, rows)

    @property
    def num_classes(self) -> int:
        """The number of classes that the dataset's list of labels shows; 1 where it has none."""
        return 1 if self.targets is None else int(self.targets.max()) + 1

    def _parts(self, item: Any) -> tuple[Any, ...]:
        if self._item is not None:
            item = self._item(item)
        if isinstance(item, Mapping):
            found = [key for key in IMAGE_KEYS if key in item]
            if not found:
                raise TypeError(
                    f"The items of `dataset` are mappings with the keys {sorted(map(str, item))}: "
                    "say which is the sample, e.g. Dia(…, item=lambda i: (i['photo'], i['kind']))."
                )
            labels = [item[key] for key in LABEL_KEYS if key in item]
            item = (item[found[0]], *labels[:1])
        parts = tuple(item) if isinstance(item, (tuple, list)) else (item,)
        has_label = len(parts) > 1 and isinstance(parts[1], (int, float, np.number, Tensor))
        return parts[:2] if has_label else parts[:1]


def check_map_style(dataset: Any) -> None:
    """Refuses a dataset that cannot be asked for the sample at an index.

    Raises:
        TypeError: It is one.
    """
    iterable = isinstance(dataset, torch.utils.data.IterableDataset)
    if iterable or not (hasattr(dataset, "__len__") and hasattr(dataset, "__getitem__")):
        raise TypeError(
            f"Argument `dataset` is a stream ({type(dataset).__name__}), whose samples have no "
            "index: give Dia its keys instead, Dia(StreamKeys(number of samples), …), and weight "
            "the loss by dia.weights (docs/hosts/own-loop.md, Streams)."
        )


def _check_sample(x: Any) -> None:
    if isinstance(x, (Tensor, np.ndarray)):
        return
    if any(kind.__module__.startswith("PIL.") for kind in type(x).__mro__):
        raise TypeError(
            "The items of `dataset` hold a PIL image, where Dia needs the tensor that D gets: give "
            "the dataset a transform, e.g. torchvision.transforms.ToTensor()."
        )
    raise TypeError(
        "The items of `dataset` must be `x`, or a tuple, list or mapping with x, a tensor or array "
        f"as D gets it, but the first holds {type(x).__name__}; say how to take it out, "
        "Dia(…, item=lambda item: …)."
    )


def _listed_labels(dataset: Any) -> npt.NDArray[np.int64] | None:
    """Returns the labels [N] that a dataset lists, as torchvision's do."""
    for name in ("targets", "labels"):
        try:
            labels = np.asarray(getattr(dataset, name, None))
        except (TypeError, ValueError, RuntimeError):  # ragged, or a tensor that is elsewhere
            continue
        if labels.shape == (len(dataset),) and np.issubdtype(labels.dtype, np.integer):
            return None if labels.min() < 0 else labels.astype(np.int64)
    return None


def describe(
    dataset: Any,
    item: Callable[[Any], Any] | None,
    groups: npt.ArrayLike | None,
    group_names: Sequence[str],
    value_range: tuple[float, float] | None,
) -> Dataset:
    """Returns a user's dataset as plugins see it.

    Raises:
        TypeError: The dataset has no indices, or its items hold no tensor.
        ValueError: There is no sample, or not one group for each; or a stream has groups, whose
            samples get their indices only while they come.
    """
    if isinstance(dataset, StreamKeys):
        if groups is not None:
            raise ValueError("Argument `groups` must be None for a stream, but was given.")
        return dataset
    samples = Samples(dataset, item)
    return HostDataset(samples, groups, group_names, value_range, samples.num_classes)
