"""Mixed precision: networks in half precision, losses, penalties and weights in float32."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor

from gan_registry.errors import UserError

DTYPES = {"no": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


class Precision:
    """How a run computes its networks, and how gradients survive it.

    bfloat16 has float32's range and needs nothing more. In float16 small gradients vanish, so the
    loss is scaled up before `backward` and gradients are scaled down within the optimiser's step,
    which is left out where one of them overflowed. Neither waits for the device: fused optimisers
    read scale and overflow where they lie.

    Args:
        name: `RUN.mixed_precision`: "no", "bf16" or "fp16".
        device: Where the networks are.

    Raises:
        UserError: The device cannot compute in that precision.
    """

    def __init__(self, name: str, device: torch.device) -> None:
        if name == "fp16" and device.type == "mps":
            raise UserError(
                "RUN.mixed_precision = 'fp16' scales losses, which torch does not support on mps; "
                "use 'bf16' or 'no'."
            )
        if name == "bf16" and device.type == "cuda" and not torch.cuda.is_bf16_supported():
            raise UserError(
                "RUN.mixed_precision = 'bf16' is not supported by this GPU; use 'fp16' or 'no'."
            )
        self.name = name
        self._device = device
        self._scalers = {
            network: torch.amp.GradScaler(device.type, enabled=name == "fp16")
            for network in ("discriminator", "generator")
        }

    def autocast(self) -> AbstractContextManager[Any]:
        """Returns a context in which networks compute in half precision, if they are to.

        Otherwise it leaves things as they are: a host may have a mixed precision of its own.
        """
        if self.name == "no":
            return nullcontext()
        return torch.autocast(self._device.type, dtype=DTYPES[self.name])

    def backward(self, loss: Tensor, network: str) -> None:
        """Adds the gradients of a loss; they stay scaled until :meth:`step`."""
        torch.autograd.backward(self._scalers[network].scale(loss))

    def step(self, optimizer: torch.optim.Optimizer, network: str) -> None:
        """Lets an optimiser step, unless a gradient overflowed."""
        scaler = self._scalers[network]
        scaler.step(optimizer)
        scaler.update()

    def state_dict(self) -> dict[str, Any]:
        """Returns the scales, for a checkpoint; nothing where there are none."""
        return {name: dict(scaler.state_dict()) for name, scaler in self._scalers.items()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restores what :meth:`state_dict` returned."""
        for name, scaler in self._scalers.items():
            if scaler.is_enabled():
                scaler.load_state_dict(dict(state[name]))
