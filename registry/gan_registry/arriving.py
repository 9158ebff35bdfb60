"""Values on their way from a device to the host: copied without waiting, read when they are due."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor


class Arriving:
    """A tensor's values, of which the copy begins at once and is waited for only when it is read.

    Reading a tensor of a GPU stops the host until all that it has queued is done, and then the GPU
    has nothing to do until the host has queued more. What was queued after this copy goes on.

    Args:
        tensor: Any tensor. Only from CUDA does it travel; elsewhere reading it is the copy.
    """

    def __init__(self, tensor: Tensor) -> None:
        self._values = tensor.detach()
        self._event: Any = None
        if tensor.is_cuda:
            there = torch.empty(tensor.shape, dtype=tensor.dtype, pin_memory=True)
            self._values = there.copy_(self._values, non_blocking=True)
            self._event = torch.cuda.Event()  # type: ignore[no-untyped-call]
            # The copy is on the stream of the tensor's device, which need not be the current one.
            self._event.record(torch.cuda.current_stream(tensor.device))

    @property
    def travels(self) -> bool:
        """Whether the copy goes on beside other work."""
        return self._event is not None

    @property
    def has_arrived(self) -> bool:
        """Whether a copy that travels is done; never waits."""
        return self._event is not None and bool(self._event.query())

    def read(self) -> Tensor:
        """Returns the values on the CPU; waits for this copy, and for nothing queued after it."""
        if self._event is not None:
            self._event.synchronize()
        return self._values.cpu()


def read_scalars(values: Mapping[str, Any]) -> dict[str, Any]:
    """Returns values with each tensor of one element as a plain number.

    Those of one device and type are read together, so that a log line waits once.
    """
    groups: dict[tuple[torch.device, torch.dtype], list[str]] = {}
    for name, value in values.items():
        if isinstance(value, Tensor):
            groups.setdefault((value.device, value.dtype), []).append(name)
    read = dict(values)
    for names in groups.values():
        numbers = torch.stack([values[name].detach().reshape(()) for name in names]).tolist()
        read.update(zip(names, numbers, strict=True))
    return read
