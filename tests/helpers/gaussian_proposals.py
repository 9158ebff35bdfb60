"""A generator that makes N(0, 1) of data that are N(0.4, 0.7²), with the exact log-ratios."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from diagan_plugin.postprocessing.streaming import SampleStream

# Narrower than what is generated, so that the ratio has a maximum.
MEAN, STD = 0.4, 0.7


def log_ratio(x: Tensor) -> Tensor:
    """Computes log p_data/p_g."""
    return x**2 / 2 - ((x - MEAN) / STD) ** 2 / 2 - math.log(STD)


def gaussians(seed: int) -> Callable[[int], tuple[Tensor, Tensor]]:
    """Returns what proposes samples, float64 [n], and their log-ratios."""
    noise = torch.Generator().manual_seed(seed)

    def propose(n: int) -> tuple[Tensor, Tensor]:
        x = torch.randn(n, generator=noise, dtype=torch.float64)
        return x, log_ratio(x)

    return propose


def collect(sampler: SampleStream, n: int) -> Tensor:
    """Gathers n accepted samples."""
    return torch.cat([torch.empty(0), *(batch.x for batch in sampler.sample(n))])
