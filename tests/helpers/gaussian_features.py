"""Gaussian features, and a metric's streaming form fed with them."""

from __future__ import annotations

import torch
from torch import Tensor

from gan_registry.metrics.base import Batch, Metric


def gaussian(n: int, seed: int, shift: float = 0.0, features: int = 2) -> Tensor:
    """Draws from N(0, 1) [n, features], its first dimension shifted."""
    x = torch.randn(n, features, generator=torch.Generator().manual_seed(seed))
    x[:, 0] += shift
    return x


def feed(metric: Metric, real: Tensor, fake: Tensor, size: int) -> None:
    """Shows features to a metric in batches, between them far ones that it is to forget."""
    for x in real.split(size):
        metric.update_real(Batch(features=x))
    metric.update_fake(Batch(features=gaussian(500, 9, 50.0, fake.shape[1])))
    metric.reset_fake()
    for x in fake.split(size):
        metric.update_fake(Batch(features=x))
