"""StyleGAN2's path-length regulariser of G (Karras et al., 2020, section 3.2)."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from gan_registry.datasets.fetching import to_device
from gan_registry.regularizers.full_precision import at_least_float32, full_precision

_DECAY = 0.01  # the weight of new lengths in the running mean


def path_length_penalty(
    images: Tensor,
    w: Tensor,
    running_mean: Tensor,
    *,
    generator: torch.Generator | None = None,
) -> tuple[Tensor, Tensor]:
    """Computes mean (‖J_wᵀ y‖₂ - a)² (eq. 4), where y ~ N(0, 1) / sqrt(number of pixels).

    The running mean a takes in this batch's lengths before it is compared with them, and gradients
    flow through that, as in the authors' code. With a style for each layer the squared length is
    the mean over the layers. Times `STYLEGAN.pl_weight` (2 as published) and, taken lazily, the
    interval.

    Args:
        images: G's images [B, C, H, W] with a graph back to `w`, made without autocast.
        w: The styles they were made from, [B, w_dim] or [B, num_layers, w_dim].
        running_mean: a, a scalar: 0 at the start of a run, then what the last call returned.
        generator: Draws y; None falls back to torch's global generator.

    Returns:
        The penalty, a scalar, and the new running mean, detached.

    Raises:
        ValueError: A shape is wrong.
    """
    if images.dim() != 4 or w.dim() not in (2, 3) or len(images) != len(w) or not len(w):
        raise ValueError(
            "Arguments `images` and `w` must have the shapes [B, C, H, W] and [B, w_dim] or "
            f"[B, num_layers, w_dim], B ≥ 1, but got {tuple(images.shape)} and {tuple(w.shape)}."
        )
    device = torch.device("cpu") if generator is None else generator.device
    noise = to_device(torch.randn(images.shape, generator=generator, device=device), images.device)
    with full_precision(images):
        images = at_least_float32(images)
        noise = noise.to(images.dtype) / math.sqrt(images.shape[2] * images.shape[3])
        (gradients,) = torch.autograd.grad((images * noise).sum(), w, create_graph=True)
        gradients = at_least_float32(gradients)
        layers = w.shape[1] if w.dim() == 3 else 1
        # A norm, not the root of a sum: its derivative at 0 would be NaN.
        lengths = torch.linalg.vector_norm(gradients.flatten(1), dim=1) / math.sqrt(layers)
        mean = running_mean.detach().to(lengths).lerp(lengths.mean(), _DECAY)
        return (lengths - mean).square().mean(), mean.detach()
