"""An exponential moving average of the generator, which often samples better than the last step."""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn


class MovingAverage:
    """Keeps θ̄ ← d·θ̄ + (1−d)·θ of a network's parameters; buffers are copied.

    Args:
        network: The network to follow.
        decay: d, in [0, 1).
        start: The step from which the average is taken; before it, θ̄ = θ.
    """

    def __init__(self, network: nn.Module, decay: float, start: int) -> None:
        self.decay = decay
        self.start = start
        self.average = copy.deepcopy(network).eval().requires_grad_(False)

    @torch.no_grad()
    def update(self, network: nn.Module, step: int) -> None:
        """Follows the network after step number `step` (from 1)."""
        weight = 1.0 - (self.decay if step > self.start else 0.0)
        averaged: list[Tensor] = list(self.average.parameters())
        current: list[Tensor] = list(network.parameters())
        torch._foreach_lerp_(averaged, current, weight)
        for kept, buffer in zip(self.average.buffers(), network.buffers(), strict=True):
            kept.copy_(buffer)
