"""Fails on what would make a GPU wait, on a machine that has none."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from unittest import mock

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from gan_registry.arriving import Arriving


class ForbidSynchronisation(TorchDispatchMode):
    """Refuses scalar reads, results of a size that depends on data, and copies between devices."""

    forbidden = (
        "_local_scalar_dense", "nonzero", "is_nonzero", "equal", "unique", "item", "masked_select",
        "bincount", "_unique2", "unique_consecutive",
    )  # fmt: skip

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        name = func.overloadpacket.__name__
        assert name not in self.forbidden, f"{name} waits for the device"
        if name == "_to_copy" and kwargs.get("device") is not None:
            assert kwargs["device"] == args[0].device, "device copy"
        assert not (name == "index" and any(_is_mask(i) for i in args[1])), "boolean indexing"
        return func(*args, **kwargs)


def _is_mask(index: Any) -> bool:
    return isinstance(index, torch.Tensor) and index.dtype in (torch.bool, torch.uint8)


class OnDevice(Tensor):
    """A tensor that stands for one on a GPU: what is made of it does too, and none may be read.

    Other tensors stand for those of the host, which may. Unlike :class:`ForbidSynchronisation` it
    tells the two apart, and sees `tolist` and `numpy`.
    """

    forbidden = frozenset({
        "item", "tolist", "numpy", "cpu", "nonzero", "bincount", "unique", "masked_select", "equal",
        "__bool__", "__int__", "__float__", "__index__", "__array__",
    })  # fmt: skip

    @classmethod
    def __torch_function__(
        cls, func: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        name = getattr(func, "__name__", "")
        assert name not in cls.forbidden, f"{name} waits for the device"
        assert not (name == "to" and "cpu" in map(str, args[1:])), "device copy"
        if name in ("__getitem__", "__setitem__"):
            chosen = args[1] if isinstance(args[1], tuple) else (args[1],)
            assert not any(_is_mask(each) for each in chosen), "boolean indexing"
        return super().__torch_function__(func, types, args, kwargs or {})


@contextmanager
def travelling() -> Iterator[list[int]]:
    """Has values of :class:`OnDevice` arrive as they do from a GPU; counts what is read."""
    reads: list[int] = []

    def read(self: Arriving) -> Tensor:
        values = self._values.as_subclass(Tensor)
        reads.append(values.numel())
        return values

    with (
        mock.patch.object(Arriving, "travels", property(lambda self: True)),
        mock.patch.object(Arriving, "read", read),
    ):
        yield reads
