"""Dropout on a CPU: masks from random bits against torch's, a random number an element."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import nn

from benchmarks.speed.harness import Row, Settings, alternate, at_least
from gan_registry.backbones.dropout import Dropout

NAME = "dropout"
_P = 0.5
_AIM = at_least(4)


def run(settings: Settings) -> list[Row]:
    """Measures forward and backward of what follows a layer of D: 64 × 32 channels × 16 × 16."""
    x = torch.randn(2, 4, 4, 4) if settings.quick else torch.randn(64, 32, 16, 16)
    x.requires_grad_(True)

    def passes(module: nn.Module) -> Callable[[], None]:
        def work() -> None:
            for _ in range(10):
                torch.autograd.backward(module(x).sum())

        return work

    pair = alternate(passes(Dropout(_P)), passes(nn.Dropout(_P)), settings.pairs(5))
    label = f"{x.numel():,} elements, p = {_P}, forward and backward"
    return [pair.row(NAME, label, _AIM, unit="ms", scale=1e2)]
