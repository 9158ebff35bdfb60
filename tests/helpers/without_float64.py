"""Tensors as on a device that has no float64, such as `mps`."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor


class WithoutFloat64(Tensor):
    """Refuses float64 until it is brought to the CPU by `cpu()`."""

    @classmethod
    def __torch_function__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func is Tensor.double or (func is Tensor.to and torch.float64 in args):
            raise TypeError("Cannot convert a MPS Tensor to float64 dtype")
        made: Any = super().__torch_function__(func, types, args, kwargs or {})  # type: ignore[no-untyped-call]
        return made.as_subclass(Tensor) if func is Tensor.cpu else made


def without_float64(values: Tensor) -> Tensor:
    """Returns a tensor with these values."""
    return values.as_subclass(WithoutFloat64)
