"""Weight clipping, the first way to a Lipschitz D (Arjovsky et al., 2017, algorithm 1)."""

from __future__ import annotations

import torch
from torch import nn


@torch.no_grad()
def clip_weights(network: nn.Module, bound: float) -> None:
    """Clips all parameters of a network to [-bound, bound], in place, after its optimiser's step.

    All of them: biases and batch norm's scales too, and the parameter *behind* a normalised weight
    (spectral norm), as in StudioGAN's `LOSS.apply_wc`. Buffers stay.

    Args:
        network: D.
        bound: `LOSS.wc_bound`, 0.01 as published.

    Raises:
        ValueError: `bound` isn't positive.
    """
    if not bound > 0.0:
        raise ValueError(f"Argument `bound` must be positive, but got {bound}.")
    for parameter in network.parameters():
        parameter.clamp_(-bound, bound)
