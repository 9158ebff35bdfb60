"""An exponential moving average of the generator, which often samples better than the last step."""

from __future__ import annotations

import copy
from collections.abc import Callable

import torch
from torch import Tensor, nn


def ema_decay(images_seen: float, batch_size: int, kimg: float, rampup: float | None) -> float:
    """Returns the decay of one step from a half-life in images, as StyleGAN2 gives it.

    Args:
        images_seen: Real images that D saw before this step.
        batch_size: Images of a step.
        kimg: The half-life, in thousands of images (`STYLEGAN.g_ema_kimg`).
        rampup: The half-life is at most this share of the images seen (`STYLEGAN.g_ema_rampup`).

    Returns:
        0.5 ** (batch_size / half-life), in [0, 1).
    """
    images = 1000.0 * kimg
    if rampup is not None:
        images = min(images, rampup * images_seen)
    return float(0.5 ** (batch_size / max(images, 1e-8)))


class MovingAverage:
    """Keeps θ̄ ← d·θ̄ + (1−d)·θ of a network's parameters; buffers are copied.

    Args:
        network: The network to follow.
        decay: d, in [0, 1); or a function that gives it for a step, from 1.
        start: The step from which the average is taken; before it, θ̄ = θ.
    """

    def __init__(
        self, network: nn.Module, decay: float | Callable[[int], float], start: int
    ) -> None:
        self.decay = decay
        self.start = start
        self.average = copy.deepcopy(network).eval().requires_grad_(False)

    @torch.no_grad()
    def update(self, network: nn.Module, step: int) -> None:
        """Follows the network after step number `step` (from 1)."""
        decay = self.decay(step) if callable(self.decay) else self.decay
        weight = 1.0 - (decay if step > self.start else 0.0)
        averaged: list[Tensor] = list(self.average.parameters())
        current: list[Tensor] = list(network.parameters())
        torch._foreach_lerp_(averaged, current, weight)
        for kept, buffer in zip(self.average.buffers(), network.buffers(), strict=True):
            kept.copy_(buffer)
