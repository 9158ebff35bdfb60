"""Latent interpolation: samples from between two latents instead of from one.

For each sample two latents are drawn and mixed (replication of f-GANs on MNIST, §5.2 there),

    z = α·z₁ + (1 − α)·z₂,        α uniform on [0, 1], another for each sample.

For latents with mean 0 and variance σ² the mixture has E[α² + (1 − α)²]·σ² = 2/3·σ²: it lies nearer
to the centre of the latent space. In effect this is a soft truncation. It tends to give more
typical samples at the expense of rare ones, although that source hopes for more diversity.
"""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["interpolate_latents", "random_interpolation"]


def interpolate_latents(z1: Tensor, z2: Tensor, alpha: Tensor) -> Tensor:
    """Computes α·z₁ + (1 − α)·z₂ for latents [B, ...] of equal shape and shares [B] in [0, 1].

    The result has the dtype of `z1`.

    Raises:
        ValueError: The shapes do not fit.
    """
    if z1.shape != z2.shape or alpha.shape != z1.shape[:1]:
        raise ValueError(
            "Arguments `z1`, `z2` and `alpha` must be [B, ...], [B, ...] and [B], "
            f"but got {tuple(z1.shape)}, {tuple(z2.shape)} and {tuple(alpha.shape)}."
        )
    share = alpha.to(z1).reshape(-1, *[1] * (z1.dim() - 1))
    # Not torch.lerp, which takes another path for shares above 0.5 and is no symmetric function.
    return share * z1 + (1 - share) * z2


def random_interpolation(z1: Tensor, z2: Tensor, rng: torch.Generator) -> Tensor:
    """Mixes latents [B, ...] pairwise, with a share of its own for each pair, drawn by `rng`."""
    return interpolate_latents(z1, z2, torch.rand(len(z1), generator=rng, device=rng.device))
