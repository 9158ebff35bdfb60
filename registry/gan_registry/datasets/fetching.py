"""Reads samples of any map-style dataset as one batch, and moves them to the device.

Images that a dataset keeps as bytes travel as bytes, a quarter of what floats take, and become
floats where they arrive.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import default_collate

_AHEAD = 2  # batches that are read while the one before them is worked on


class Batch(NamedTuple):
    """Samples as their dataset keeps them.

    Attributes:
        x: Samples [B, ...].
        y: Labels [B], or None.
        as_bytes: Whether x are bytes, uint8, that stand for images in [-1, 1].
    """

    x: Tensor
    y: Tensor | None
    as_bytes: bool

    def to(self, device: torch.device | str) -> tuple[Tensor, Tensor | None]:
        """Returns samples and labels on a device: bytes as float32, others as they are."""
        x = to_device(self.x, device)
        y = None if self.y is None else to_device(self.y, device)
        return as_floats(x) if self.as_bytes else x, y


def as_floats(x: Tensor) -> Tensor:
    """Turns bytes of images, uint8, into float32 in [-1, 1], of the same bits on every device."""
    # By a number CUDA does not divide: it multiplies with the rounded reciprocal.
    divisor = torch.full((), 127.5, device=x.device)
    return x.to(torch.float32).div_(divisor).sub_(1.0)


def fetch(dataset: Any, indices: NDArray[np.int64]) -> tuple[Tensor, Tensor | None]:
    """Reads samples of a map-style dataset as one batch.

    Args:
        dataset: Anything with `__getitem__`. Where it has `__getitems__` that is called once: it
            may return the batch as a tuple `(x, y)` of stacked tensors, or, as torch's own datasets
            do, a list of items. An item is `x` or a tuple or list that begins with `x` or `x, y`.
        indices: Dataset indices, int64 [B].

    Returns:
        `(x [B, ...], y [B] or None)` on the CPU, or wherever the dataset keeps them.

    Raises:
        TypeError: The items are not tensors, arrays, or tuples of such.
    """
    keys = indices.tolist()
    if getattr(dataset, "__getitems__", None) is not None:
        items = dataset.__getitems__(keys)
    else:
        items = [dataset[key] for key in keys]
    # A list is a list of samples (torch's protocol); a tuple is the finished batch.
    batch = default_collate(items) if isinstance(items, list) else items
    parts = [batch] if isinstance(batch, Tensor) else batch
    if isinstance(parts, Mapping) or not len(parts) or not isinstance(parts[0], Tensor):
        raise TypeError(
            "Argument `dataset` must give items `x` or `(x, y)` of tensors or arrays, "
            f"but got {type(items[0] if isinstance(items, list) else items).__name__}."
        )
    y = parts[1] if len(parts) > 1 else None
    return parts[0], y if isinstance(y, Tensor) else None


def fetch_batch(dataset: Any, indices: NDArray[np.int64]) -> Batch:
    """Reads samples as :func:`fetch` does, but bytes where the dataset keeps and gives such."""
    if gives_bytes(dataset) and (found := dataset.bytes_at(indices)) is not None:
        x, y = found
        return Batch(x, y, as_bytes=True)
    x, y = fetch(dataset, indices)
    return Batch(x, y, as_bytes=False)


def fetch_to(
    dataset: Any, indices: NDArray[np.int64], device: torch.device | str
) -> tuple[Tensor, Tensor | None]:
    """Reads samples to a device; what :func:`fetch` returns, to the bit."""
    return fetch_batch(dataset, indices).to(device)


def read_ahead(
    dataset: Any, batches: Iterable[NDArray[np.int64]], device: torch.device | str
) -> Iterator[tuple[Tensor, Tensor | None]]:
    """Reads one batch after the other to a device, each as :func:`fetch_to` does.

    Where the dataset decodes files, a thread reads the next two while one is worked on. Other
    datasets may draw at random, and are read when it is their turn.

    Args:
        dataset: As for :func:`fetch`.
        batches: The dataset indices of each batch.
        device: Where they go.
    """
    if not (getattr(dataset, "decodes", False) and gives_bytes(dataset)):
        yield from (fetch_to(dataset, indices, device) for indices in batches)
        return
    waiting = deque[Future[Batch]]()
    with ThreadPoolExecutor(1, "read ahead") as reader:
        try:
            for indices in batches:
                waiting.append(reader.submit(fetch_batch, dataset, indices))
                if len(waiting) > _AHEAD:
                    yield waiting.popleft().result().to(device)
            while waiting:
                yield waiting.popleft().result().to(device)
        finally:
            for batch in waiting:
                batch.cancel()


def gives_bytes(dataset: Any) -> bool:
    """Whether `bytes_at` tells what `__getitems__` gives: a subclass may have changed that alone.

    See :meth:`gan_registry.datasets.base.Dataset.bytes_at`.
    """
    for kind in (dataset, *type(dataset).__mro__):
        own = getattr(kind, "__dict__", {})
        if "bytes_at" in own:
            return True
        if "__getitems__" in own:
            return False
    return False


def to_device(tensor: Tensor, device: torch.device | str) -> Tensor:
    """Moves a tensor, to CUDA through pinned memory and without waiting for the copy."""
    device = torch.device(device)
    if device.type == "cuda" and tensor.device.type == "cpu":
        return tensor.pin_memory().to(device, non_blocking=True)
    return tensor.to(device)
