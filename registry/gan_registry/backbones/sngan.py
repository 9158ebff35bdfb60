"""The SNGAN of mimicry (Lee and Town, 2020), which the code of Self-Diagnosing GAN trains.

It differs from `resnet` with spectral norm, StudioGAN's version of the same paper (Miyato et al.,
2018), in details: G upsamples bilinearly and its batch norm has eps 1e-5; the hidden layer of a
block of D has the incoming width; at 64 px all five blocks of D halve the size.

Supported: square images of 32, 64 or 128 px. Keys read: `MODEL.z_dim`, `z_prior`, `g_conv_dim`,
`d_conv_dim`, `g_init`, `d_init`. The default width of 64 gives mimicry's (`ngf` of 256 at 32 px,
1024 above; `ndf` of 128 and 1024). D always has spectral norm, G never. Initialisation "default" is
mimicry's: Glorot-uniform, with gain √2 for the 3×3 convolutions of the blocks.
"""

from __future__ import annotations

import math
from functools import partial
from typing import TYPE_CHECKING

from torch import nn

from gan_registry.backbones.assembly import AnyBackbone, assemble
from gan_registry.backbones.base import Backbone
from gan_registry.backbones.conditioning import require_unconditional
from gan_registry.backbones.images import image_shape
from gan_registry.backbones.init import WEIGHTED
from gan_registry.backbones.residual import DiscriminatorBlock, FirstBlock, GeneratorBlock
from gan_registry.backbones.resnet import ResNetDiscriminator, ResNetGenerator

if TYPE_CHECKING:
    from gan_registry.config.schema import Config

HALVINGS = {32: 2, 64: 5, 128: 5}  # blocks of D that halve the size
SUPPORTED_SIZES = tuple(HALVINGS)


def mimicry_init(network: nn.Module) -> None:
    """Initialises weights as mimicry does, in place; biases keep torch's start."""
    blocks = (GeneratorBlock, DiscriminatorBlock, FirstBlock)
    inner = {
        conv
        for block in network.modules()
        if isinstance(block, blocks)
        for conv in (block.conv1, block.conv2)
    }
    for layer in network.modules():
        if isinstance(layer, WEIGHTED):
            nn.init.xavier_uniform_(layer.weight, math.sqrt(2.0) if layer in inner else 1.0)


def mimicry_backbone(
    name: str,
    config: Config,
    sample_shape: tuple[int, ...],
    num_classes: int,
    seed: int,
    kind: type[AnyBackbone],
    discriminator: type[ResNetDiscriminator] = ResNetDiscriminator,
) -> AnyBackbone:
    """Builds a backbone of mimicry's residual networks, which its SNGAN and SSGAN share.

    Beside what a builder takes: the backbone's name, for messages, its class and that of D.

    Raises:
        UserError: The samples are no images of a supported size, or conditioning is asked for.
    """
    channels, size = image_shape(name, sample_shape, SUPPORTED_SIZES)
    require_unconditional(name, config)
    return assemble(
        kind,
        partial(ResNetGenerator, image_size=size, mode="bilinear", eps=1e-5),
        partial(
            discriminator,
            image_size=size,
            spectral=True,
            narrow=True,
            halvings=HALVINGS[size],
            eps=1e-12,
        ),
        config,
        channels,
        seed,
        own_init=mimicry_init,
        num_classes=num_classes,
    )


def build_sngan(
    config: Config, sample_shape: tuple[int, ...], num_classes: int, seed: int
) -> Backbone:
    """Builds the backbone `sngan`; arguments and errors are those of `mimicry_backbone`."""
    return mimicry_backbone("sngan", config, sample_shape, num_classes, seed, Backbone)
