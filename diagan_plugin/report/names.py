"""The names of all training samples, packed for a file: paths share most of their letters."""

from __future__ import annotations

import json
import zlib
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from gan_registry.datasets.base import Dataset

_SEPARATOR = "\0"  # what no path can hold
_LONGEST = 8192  # bytes of a name, on average: beyond any path, and a bound on what is unpacked


def row_name(index: int) -> str:
    """Returns what a sample is called that has no other name."""
    return f"row {index}"


def names_of(dataset: Dataset) -> tuple[str, ...]:
    """Returns the name of every sample of a dataset; nothing where they are the rows in order."""
    names = dataset.sample_names(np.arange(len(dataset), dtype=np.int64))
    if all(name == row_name(index) for index, name in enumerate(names)):
        return ()
    return tuple(name.replace(_SEPARATOR, r"\x00") for name in names)


def described(dataset: Dataset) -> tuple[dict[str, Any], dict[str, str]]:
    """Returns what a diagnosis keeps of a dataset, so that it can be read without it.

    Returns:
        Its fields `label` and `names`, and entries of its metadata, `group_names` and
        `label_names`; each only where it is known and tells something.
    """
    fields: dict[str, Any] = {"names": names_of(dataset)}
    texts: dict[str, str] = {}
    if dataset.groups is not None and dataset.group_names:
        texts["group_names"] = json.dumps(list(dataset.group_names))
    if dataset.labels is not None and dataset.num_classes > 1:
        fields["label"] = dataset.labels
        if names := getattr(dataset, "class_names", ()):
            texts["label_names"] = json.dumps(list(names))
    return fields, texts


def pack_names(names: Sequence[str]) -> NDArray[np.uint8]:
    r"""Packs names: zlib's compression of them in UTF-8, a zero byte between any two.

    1,281,000 paths as those of ImageNet take 4.5 MB of their 47. Bytes of names that are no UTF-8
    are kept as they are.
    """
    text = _SEPARATOR.join(names).encode("utf-8", "surrogateescape")
    return np.frombuffer(zlib.compress(text), np.uint8)


def unpack_names(packed: NDArray[np.uint8], count: int) -> tuple[str, ...]:
    """Returns what :func:`pack_names` packed.

    Raises:
        ValueError: It is damaged, or does not hold `count` names.
    """
    unpacking = zlib.decompressobj()
    try:
        text = unpacking.decompress(packed.tobytes(), max(count, 1) * _LONGEST)
    except zlib.error as error:
        raise ValueError(f"`names` cannot be unpacked ({error}).") from None
    if not unpacking.eof:
        raise ValueError("`names` is cut off, or larger than names can be.")
    names = text.decode("utf-8", "surrogateescape").split(_SEPARATOR)
    if len(names) != count:
        raise ValueError(f"`names` holds {len(names):,} names for {count:,} samples.")
    return tuple(names)
