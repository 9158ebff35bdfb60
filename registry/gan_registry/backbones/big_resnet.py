"""StudioGAN's `big_resnet` (BigGAN; Brock et al., 2019): hierarchical latents, shared embedding.

Supported: square images of 32, 64, 128 or 256 px. Keys read: those of
`gan_registry.backbones.resnet`, and `MODEL.g_shared_dim` (None: 128). `MODEL.z_dim` is split
evenly between the first layer and the blocks (4, 5, 6 or 7 parts), so it must be divisible. The
moving average of G is the host's (`MODEL.apply_g_ema`).
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from gan_registry.backbones.attention import SelfAttention
from gan_registry.backbones.base import finish
from gan_registry.backbones.conditioning import ConditionalBackbone, labels
from gan_registry.backbones.images import image_shape
from gan_registry.backbones.init import Initialiser
from gan_registry.backbones.residual import GeneratorBlock, activation
from gan_registry.backbones.resnet import PLANS, SUPPORTED_SIZES, ResNetDiscriminator, blocks
from gan_registry.backbones.studiogan import EPS, GRID, studiogan_backbone
from gan_registry.errors import UserError

if TYPE_CHECKING:
    from gan_registry.config.schema import Config


class BigResNetGenerator(nn.Module):
    """Maps z [B, z_dim] and labels [B] to images [B, out_channels, image_size, image_size].

    The latent is cut into equal chunks. The first makes the smallest feature map; each block's
    batch norm is conditioned on a chunk of its own and on an embedding of the label that all
    blocks share. An unconditional G is conditioned on the chunks alone. Arguments are named as
    those of `StudioGANGenerator` and, beside them or different:

    Args:
        z_dim: Dimension of the latent, a multiple of the number of blocks + 1.
        image_size: One of `SUPPORTED_SIZES`.
        num_classes: Number of classes; 0 for an unconditional G.
        shared_dim: Dimension of the shared embedding, which has no spectral norm.

    Raises:
        ValueError: `z_dim` can't be cut evenly.
    """

    def __init__(
        self,
        z_dim: int,
        image_size: int,
        out_channels: int = 3,
        width: int = 96,
        num_classes: int = 0,
        shared_dim: int = 128,
        attention: tuple[int, ...] = (),
        act: str = "ReLU",
        spectral: bool = False,
        init: str | Initialiser = "ortho",
    ) -> None:
        super().__init__()
        plan = PLANS[image_size]
        parts = chunks(image_size)
        if z_dim % parts:
            raise ValueError(
                f"Argument `z_dim` must be a multiple of {parts} at {image_size} px, but got "
                f"{z_dim}."
            )
        self.chunk = z_dim // parts
        self.shared = nn.Embedding(num_classes, shared_dim) if num_classes else None
        condition_dim = self.chunk + (shared_dim if num_classes else 0)
        channels = width * plan.first
        self.project = nn.Linear(self.chunk, channels * GRID * GRID)
        self.unflatten = nn.Unflatten(1, (channels, GRID, GRID))
        self.blocks = nn.ModuleList()
        self.attentions = nn.ModuleList()
        for number, factor in enumerate(plan.generator, 1):
            wide = width * factor
            self.blocks.append(GeneratorBlock(channels, wide, condition_dim, act))
            attends = number in attention
            self.attentions.append(SelfAttention(wide) if attends else nn.Identity())
            channels = wide
        self.to_image = nn.Sequential(
            nn.BatchNorm2d(channels, 1e-4),
            activation(act),
            nn.Conv2d(channels, out_channels, 3, padding=1),
            nn.Tanh(),
        )
        finish(self, init, spectral, EPS, exclude=() if self.shared is None else (self.shared,))

    def forward(self, z: Tensor, y: Tensor | None = None) -> Tensor:
        """Returns images [B, C, H, W] in [-1, 1]; `y` is needed by a conditional G only."""
        first, *rest = torch.split(z, self.chunk, 1)
        if self.shared is not None:
            embedded = self.shared(labels(y, "generator"))
            rest = [torch.cat([embedded, part], 1) for part in rest]
        h = self.unflatten(self.project(first))
        for block, attend, condition in zip(self.blocks, self.attentions, rest, strict=True):
            h = attend(block(h, condition))
        images: Tensor = self.to_image(h)
        return images


def chunks(image_size: int) -> int:
    """Returns into how many chunks the latent is cut."""
    return len(PLANS[image_size].generator) + 1


def build_big_resnet(
    config: Config, sample_shape: tuple[int, ...], num_classes: int, seed: int
) -> ConditionalBackbone:
    """Builds the backbone `big_resnet`.

    Raises:
        UserError: The samples are no images of a supported size, the conditioning is not
            supported, or MODEL.z_dim can't be cut evenly.
    """
    channels, size = image_shape("big_resnet", sample_shape, SUPPORTED_SIZES)
    model = config.MODEL
    parts = chunks(size)
    if model.z_dim % parts:
        raise UserError(
            f"MODEL.backbone big_resnet at {size} px cuts the latent into {parts} parts, but "
            f"MODEL.z_dim is {model.z_dim}; set it to a multiple of {parts}, e.g. {20 * parts}."
        )
    return studiogan_backbone(
        "big_resnet",
        partial(BigResNetGenerator, image_size=size, shared_dim=model.g_shared_dim or 128),
        partial(ResNetDiscriminator, image_size=size),
        config,
        channels,
        num_classes,
        seed,
        blocks(size),
    )
