"""Fails on what would make a GPU wait, on a machine that has none."""

from __future__ import annotations

from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode


class ForbidSynchronisation(TorchDispatchMode):
    """Refuses scalar reads, results of a size that depends on data, and copies between devices."""

    forbidden = ("_local_scalar_dense", "nonzero", "is_nonzero", "equal", "unique", "item")

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
