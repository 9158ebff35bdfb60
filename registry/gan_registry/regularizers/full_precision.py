"""Penalties in float32, also where the networks train in half precision."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor


def full_precision(tensor: Tensor) -> AbstractContextManager[Any]:
    """Returns a context without autocast on a tensor's device.

    A gradient's norm squares small numbers, which float16 rounds to 0.
    """
    device = tensor.device.type
    if not torch.amp.is_autocast_available(device):
        return nullcontext()
    return torch.autocast(device, enabled=False)


def at_least_float32(tensor: Tensor) -> Tensor:
    """Returns float16 and bfloat16 as float32, other dtypes as they are."""
    return tensor.float() if tensor.dtype in (torch.float16, torch.bfloat16) else tensor
