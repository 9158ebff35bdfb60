"""Networks of NVlabs' kind, as small as they can be: a module for `MODEL.module`."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn


class Part(nn.Module):
    """A layer under the arguments of NVlabs' mapping or synthesis."""

    def __init__(self, inputs: int, *shape: int) -> None:
        super().__init__()
        self.layer, self.shape = nn.Linear(inputs, math.prod(shape)), shape

    def forward(self, x: Tensor, *labels: object, **settings: object) -> Tensor:
        return torch.tanh(self.layer(x.flatten(1)).unflatten(1, self.shape))


class Generator(nn.Module):
    def __init__(
        self, z_dim: int, w_dim: int, img_resolution: int, img_channels: int, **keys: object
    ) -> None:
        super().__init__()
        self.mapping = Part(z_dim, 2, w_dim)
        self.synthesis = Part(2 * w_dim, img_channels, img_resolution, img_resolution)


class Discriminator(nn.Module):
    def __init__(self, img_resolution: int, img_channels: int, **keys: object) -> None:
        super().__init__()
        self.body = nn.Linear(img_channels * img_resolution**2, 1)

    def forward(self, img: Tensor, c: Tensor | None, **keys: object) -> Tensor:
        spread = img.std(0, correction=0).mean()  # of the batch, as the real one's last layers see
        logits: Tensor = self.body(img.flatten(1)) + spread
        return logits
