"""The backbone `stylegan2`: the networks of lucidrains' package `stylegan2-pytorch`.

Supported: square images of 8 to 1024 px, a power of two, of any number of channels; no labels. Keys
read: `MODEL.z_dim` (of z and w alike), `g_conv_dim` and `d_conv_dim` (four times the package's
`network_capacity`: 64 gives its default, and the width of D's first block), and
`STYLEGAN.mapping_network`, `style_mixing_p`, `apply_pl_reg`, `pl_weight`, `g_reg_interval`.
`g_init` and `d_init` are not: weights start as in the package. Against the paper, D's blocks are
residual (`d_architecture` "resnet"), and D has no minibatch standard deviation. Its vector
quantisation is off, as it is there by default.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from gan_registry.backbones.conditioning import require_unconditional
from gan_registry.backbones.images import image_shape
from gan_registry.backbones.stylegan2.lucidrains_package import lucidrains_networks
from gan_registry.backbones.stylegan2.styles import (
    StyleBackbone,
    StyleGenerator,
    inputs_of,
    require_plain_keys,
    style_keys,
)
from gan_registry.errors import UserError

if TYPE_CHECKING:
    from gan_registry.config.schema import Config

SUPPORTED_SIZES = tuple(2**power for power in range(3, 11))
RGB = 3
WIDTH_PER_CAPACITY = 4


class LucidrainsGenerator(StyleGenerator):
    """Maps z [B, z_dim] to images [B, out_channels, image_size, image_size].

    Args:
        z_dim: Dimension of z and of w.
        image_size: One of `SUPPORTED_SIZES`.
        out_channels: Channels of an image.
        capacity: The package's `network_capacity`.
        depth: Layers of the mapping network.
        style_mixing_p: See `StyleGenerator`.

    Attributes:
        noise: The noise image of evaluation mode, [1, image_size, image_size, 1], in [0, 1].
    """

    noise: Tensor

    def __init__(
        self,
        z_dim: int,
        image_size: int,
        out_channels: int = RGB,
        capacity: int = 16,
        depth: int = 8,
        style_mixing_p: float = 0.0,
    ) -> None:
        super().__init__(style_mixing_p)
        package = lucidrains_networks()
        self.mapping = package.StyleVectorizer(z_dim, depth)
        self.synthesis = package.Generator(image_size, z_dim, capacity)
        if out_channels != RGB:
            for block in self.synthesis.blocks:
                to_image = block.to_rgb
                to_image.conv = package.Conv2DMod(
                    to_image.input_channel, out_channels, 1, demod=False
                )
        _initialise(self)
        for block in self.synthesis.blocks:
            for layer in (block.to_noise1, block.to_noise2):
                nn.init.zeros_(layer.weight)
                nn.init.zeros_(layer.bias)
        self.register_buffer("noise", torch.rand(1, image_size, image_size, 1))

    def styles(self, z: Tensor, y: Tensor | None = None, *, track: bool = False) -> Tensor:
        """Returns one style a block, [B, L, z_dim]; `y` is not used."""
        w: Tensor = self.mapping(z)
        return w[:, None].expand(-1, self.synthesis.num_layers, -1)

    def images(self, w: Tensor, *, track: bool = False) -> Tensor:
        """Returns images; their noise is drawn in training mode, and `noise` in evaluation mode."""
        noise = self.noise.expand(len(w), -1, -1, -1)
        x: Tensor = self.synthesis(w, torch.rand_like(noise) if self.training else noise)
        return x


class LucidrainsDiscriminator(nn.Module):
    """Maps images [B, in_channels, image_size, image_size] to logits [B].

    Arguments are named as those of `LucidrainsGenerator`; `in_channels` are those of m images
    stacked for a D that packs them.
    """

    def __init__(self, image_size: int, in_channels: int = RGB, capacity: int = 16) -> None:
        super().__init__()
        package = lucidrains_networks()
        self.network = package.Discriminator(image_size, capacity)
        if in_channels != RGB:
            width = self.network.blocks[0].conv_res.out_channels
            self.network.blocks[0] = package.DiscriminatorBlock(in_channels, width)
        _initialise(self)

    def features(self, x: Tensor) -> Tensor:
        """Returns the penultimate activations, [B, F]."""
        return inputs_of(self.network.to_logit, lambda: self.network(x))

    def forward(self, x: Tensor, y: Tensor | None = None) -> Tensor:
        """Returns logits [B]; `y` is not used."""
        # The second of the pair is the loss of the quantised layers, of which there are none. The
        # package squeezes: a batch of one would lose its dimension.
        logits, _ = self.network(x)
        flat: Tensor = logits.reshape(len(x))
        return flat


def _initialise(network: nn.Module) -> None:
    """Draws the weights as the package's `StyleGAN2` does; modulated layers keep theirs."""
    for module in network.modules():
        if isinstance(module, (nn.Conv2d, nn.Linear)):
            nn.init.kaiming_normal_(module.weight, a=0, mode="fan_in", nonlinearity="leaky_relu")


def build_stylegan2(
    config: Config, sample_shape: tuple[int, ...], num_classes: int, seed: int
) -> StyleBackbone:
    """Builds the backbone `stylegan2`; the section STYLEGAN is read, too.

    Raises:
        UserError: The package is missing, the samples are no images of a supported size, or a key
            asks for what its networks don't have.
    """
    channels, size = image_shape("stylegan2", sample_shape, SUPPORTED_SIZES)
    require_unconditional("stylegan2", config)
    require_plain_keys("stylegan2", config)
    model, style = config.MODEL, config.STYLEGAN
    if model.w_dim not in (None, model.z_dim):
        raise UserError(
            f"MODEL.backbone stylegan2 has w of the dimension of z: MODEL.w_dim={model.w_dim} must "
            f"be left out, or be MODEL.z_dim={model.z_dim}."
        )
    if style.d_architecture != "resnet":
        raise UserError(
            "MODEL.backbone stylegan2 has residual blocks in D, not STYLEGAN.d_architecture="
            f"{style.d_architecture}; set it to resnet, or use MODEL.backbone=nvlabs."
        )
    generator = partial(
        LucidrainsGenerator,
        z_dim=model.z_dim,
        image_size=size,
        out_channels=channels,
        capacity=_capacity("g_conv_dim", model.g_conv_dim),
        depth=style.mapping_network,
        style_mixing_p=style.style_mixing_p,
    )
    discriminator = partial(
        LucidrainsDiscriminator,
        image_size=size,
        in_channels=channels,
        capacity=_capacity("d_conv_dim", model.d_conv_dim),
    )
    return StyleBackbone(
        generator, discriminator, num_classes=num_classes, **style_keys(config, seed)
    )


def _capacity(key: str, width: int) -> int:
    if width % WIDTH_PER_CAPACITY:
        raise UserError(
            f"MODEL.{key}={width} must be a multiple of {WIDTH_PER_CAPACITY} for MODEL.backbone "
            "stylegan2."
        )
    return width // WIDTH_PER_CAPACITY
