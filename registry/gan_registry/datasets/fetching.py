"""Reads samples of any map-style dataset as one batch, and moves them to the device."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import default_collate


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


def to_device(tensor: Tensor, device: torch.device | str) -> Tensor:
    """Moves a tensor, to CUDA through pinned memory and without waiting for the copy."""
    device = torch.device(device)
    if device.type == "cuda" and tensor.device.type == "cpu":
        return tensor.pin_memory().to(device, non_blocking=True)
    return tensor.to(device)
