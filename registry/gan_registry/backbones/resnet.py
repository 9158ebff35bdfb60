"""The residual networks of StudioGAN's `resnet` (SNGAN, Miyato et al., 2018; SAGAN; ProjGAN).

Supported: square images of 32, 64, 128 or 256 px. Keys read: `MODEL.z_dim`, `z_prior`,
`g_conv_dim`, `d_conv_dim`, `g_cond_mtd`, `d_cond_mtd`, `normalize_d_embed`, `apply_g_sn`,
`apply_d_sn`, `apply_attn`, `attn_g_loc`, `attn_d_loc`, `g_act_fn`, `d_act_fn`, `g_init`, `d_init`,
and `LOSS.cond_lambda`. As there, D has batch norm exactly where it has no spectral norm, whose eps
is 1e-6, and `g_init` and `d_init` "default" mean "ortho". With the hinge loss this is HingeGAN.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, NamedTuple

from torch import nn

from gan_registry.backbones.attention import SelfAttention
from gan_registry.backbones.base import finish
from gan_registry.backbones.conditioning import (
    ConditionalBackbone,
    ConditionalDiscriminator,
    ConditionalHead,
)
from gan_registry.backbones.images import image_shape
from gan_registry.backbones.init import Initialiser
from gan_registry.backbones.residual import (
    DiscriminatorBlock,
    FirstBlock,
    GeneratorBlock,
    SumPool,
    activation,
)
from gan_registry.backbones.studiogan import EPS, GRID, StudioGANGenerator, studiogan_backbone

if TYPE_CHECKING:
    from gan_registry.config.schema import Config


class Plan(NamedTuple):
    """Widths of the networks for one image size, in multiples of the base width."""

    first: int  # of G's smallest feature map
    generator: tuple[int, ...]  # of G's blocks, each of which doubles the size
    discriminator: tuple[int, ...]  # of D's blocks
    halvings: int  # how many of D's blocks, from the first, halve the size


PLANS = {
    32: Plan(4, (4, 4, 4), (2, 2, 2, 2), 2),
    64: Plan(16, (8, 4, 2, 1), (1, 2, 4, 8, 16), 4),
    128: Plan(16, (16, 8, 4, 2, 1), (1, 2, 4, 8, 16, 16), 5),
    256: Plan(16, (16, 8, 8, 4, 2, 1), (1, 2, 4, 8, 8, 16, 16), 6),
}
SUPPORTED_SIZES = tuple(PLANS)


class ResNetGenerator(StudioGANGenerator):
    """Maps z [B, z_dim] and labels [B] to images [B, out_channels, image_size, image_size].

    Beside the arguments of `StudioGANGenerator`:

    Args:
        image_size: One of `SUPPORTED_SIZES`.
        mode: How blocks upsample, "nearest" or "bilinear".
        eps: Of plain batch norm.
    """

    def __init__(
        self,
        z_dim: int,
        image_size: int,
        out_channels: int = 3,
        width: int = 64,
        num_classes: int = 0,
        attention: tuple[int, ...] = (),
        act: str = "ReLU",
        spectral: bool = False,
        init: str | Initialiser = "ortho",
        mode: str = "nearest",
        eps: float = 1e-4,
    ) -> None:
        super().__init__()
        plan = PLANS[image_size]
        self.num_classes = num_classes
        channels = width * plan.first
        self.project = nn.Linear(z_dim, channels * GRID * GRID)
        self.unflatten = nn.Unflatten(1, (channels, GRID, GRID))
        self.blocks = nn.ModuleList()
        for number, factor in enumerate(plan.generator, 1):
            wide = width * factor
            self.blocks.append(GeneratorBlock(channels, wide, num_classes, act, mode, eps))
            if number in attention:
                self.blocks.append(SelfAttention(wide))
            channels = wide
        self.to_image = nn.Sequential(
            nn.BatchNorm2d(channels, eps),
            activation(act),
            nn.Conv2d(channels, out_channels, 3, padding=1),
            nn.Tanh(),
        )
        finish(self, init, spectral, EPS)


class ResNetDiscriminator(ConditionalDiscriminator):
    """Maps images [B, in_channels, image_size, image_size] to the output of a `ConditionalHead`.

    Beside the arguments of `ConditionalDiscriminator`, whose batch norm is in each block:

    Args:
        image_size: One of `SUPPORTED_SIZES`.
        narrow: Whether the hidden layer of a block has the incoming width, not the outgoing.
        halvings: How many blocks halve the size; None for StudioGAN's.
        eps: Of spectral norm.
    """

    def __init__(
        self,
        image_size: int,
        in_channels: int = 3,
        width: int = 64,
        method: str = "W/O",
        num_classes: int = 0,
        normalize: bool = False,
        attention: tuple[int, ...] = (),
        act: str = "ReLU",
        spectral: bool = False,
        init: str | Initialiser = "ortho",
        out_features: int = 1,
        narrow: bool = False,
        halvings: int | None = None,
        eps: float = EPS,
    ) -> None:
        super().__init__()
        plan = PLANS[image_size]
        halvings = plan.halvings if halvings is None else halvings
        batch_norm = not spectral
        blocks: list[nn.Module] = []
        channels = in_channels
        for number, factor in enumerate(plan.discriminator, 1):
            wide = width * factor
            if number == 1:
                blocks.append(FirstBlock(channels, wide, batch_norm, act))
            else:
                hidden = channels if narrow else wide
                down = number <= halvings
                blocks.append(DiscriminatorBlock(channels, wide, down, batch_norm, act, hidden))
            if number in attention:
                blocks.append(SelfAttention(wide))
            channels = wide
        self.body = nn.Sequential(*blocks, activation(act), SumPool())
        self.head = ConditionalHead(channels, method, num_classes, normalize, out_features)
        finish(self, init, spectral, eps)


def build_resnet(
    config: Config, sample_shape: tuple[int, ...], num_classes: int, seed: int
) -> ConditionalBackbone:
    """Builds the backbone `resnet`.

    Raises:
        UserError: The samples are no images of a supported size, or the conditioning is not
            supported.
    """
    channels, size = image_shape("resnet", sample_shape, SUPPORTED_SIZES)
    return studiogan_backbone(
        "resnet",
        partial(ResNetGenerator, image_size=size),
        partial(ResNetDiscriminator, image_size=size),
        config,
        channels,
        num_classes,
        seed,
        blocks(size),
    )


def blocks(size: int) -> tuple[int, int]:
    """Returns how many blocks G and D have for an image size."""
    plan = PLANS[size]
    return len(plan.generator), len(plan.discriminator)
