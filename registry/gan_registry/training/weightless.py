"""Networks without weights: on torch's "meta" device tensors have shapes, and nothing is computed.

So networks of any size are built, and the operations of their passes counted, within seconds and
without memory.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

META = torch.device("meta")

# Spectral norm normalises vectors time and again, which leaves shapes alone.
_LEFT_OUT = {
    torch.Tensor.normal_, torch.Tensor.uniform_, torch.Tensor.zero_, torch.Tensor.fill_,
    torch.nn.functional.normalize,
}  # fmt: skip


class _ShapesAlone(TorchFunctionMode):
    """Leaves out what changes values only: there are none, and each takes its time."""

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        """Hands back the tensor whose values would change; does everything else as it is."""
        kwargs = kwargs or {}
        if func in _LEFT_OUT or getattr(func, "__module__", None) == "torch.nn.init":
            tensor = args[0] if args else kwargs.get("tensor", kwargs.get("input"))
            if isinstance(tensor, torch.Tensor) and tensor.is_meta:
                return tensor
        return func(*args, **kwargs)


@contextmanager
def weightless() -> Iterator[None]:
    """Makes what is built inside weightless, where it names no device itself."""
    with META, _ShapesAlone():
        yield


class _Counter(TorchDispatchMode):
    """Adds up the operations; torch's own counter also follows modules, which not all bear."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.total = 0

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        """Does what is asked for, and counts it."""
        kwargs = kwargs or {}
        result = func(*args, **kwargs)
        if formula := flop_registry.get(func._overloadpacket):
            self.total += int(formula(*args, **kwargs, out_val=result))
        return result


def operations(network: nn.Module, *inputs: Any) -> int:
    """Counts the floating-point operations of a weightless network's forward pass."""
    with weightless(), _Counter() as counter, torch.no_grad():
        network(*inputs)
    return int(counter.total)


def parameters(network: nn.Module) -> int:
    """Counts a network's parameters."""
    return sum(parameter.numel() for parameter in network.parameters())
