"""StudioGAN's `deep_conv`: its DCGAN for images of 32 px.

Supported: square images of 32 px. Keys read: those of `gan_registry.backbones.resnet`. There the
widths are fixed; here they are those at the default `g_conv_dim` and `d_conv_dim` of 64, and
scale with them. D has batch norm exactly where it has no spectral norm. Beside Radford et al.
(2016), D has a 3×3 convolution before each strided one and sums its last map over the positions.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import Tensor, nn

from gan_registry.backbones.attention import SelfAttention
from gan_registry.backbones.base import finish
from gan_registry.backbones.conditioning import (
    ConditionalBackbone,
    ConditionalBatchNorm2d,
    ConditionalDiscriminator,
    ConditionalHead,
)
from gan_registry.backbones.images import image_shape
from gan_registry.backbones.init import Initialiser
from gan_registry.backbones.residual import SumPool, activation, plain_norm
from gan_registry.backbones.studiogan import EPS, GRID, StudioGANGenerator, studiogan_backbone

if TYPE_CHECKING:
    from gan_registry.config.schema import Config

SUPPORTED_SIZES = (32,)
_FIRST = 8  # width of G's smallest feature map, in multiples of the base width
_GENERATOR = (4, 2, 1)
_DISCRIMINATOR = (1, 2, 4)
_LAST = 8


class UpBlock(nn.Module):
    """A transposed convolution (4×4, stride 2), norm, activation.

    Arguments are those of `gan_registry.backbones.residual.GeneratorBlock`.
    """

    def __init__(
        self, in_channels: int, out_channels: int, condition_dim: int = 0, act: str = "ReLU"
    ) -> None:
        super().__init__()
        self.conditional = condition_dim > 0
        self.conv = nn.ConvTranspose2d(in_channels, out_channels, 4, stride=2, padding=1)
        self.norm = (
            ConditionalBatchNorm2d(condition_dim, out_channels)
            if condition_dim
            else plain_norm(out_channels, True)
        )
        self.activation = activation(act)

    def forward(self, x: Tensor, condition: Tensor | None = None) -> Tensor:
        """Maps [B, in_channels, H, W] to [B, out_channels, 2H, 2W]."""
        given = (condition,) if self.conditional else ()
        raised: Tensor = self.activation(self.norm(self.conv(x), *given))
        return raised


class DeepConvGenerator(StudioGANGenerator):
    """Maps z [B, z_dim] and labels [B] to images [B, out_channels, 32, 32].

    Its arguments are those of `StudioGANGenerator`; `width` are the channels of the last hidden
    layer.
    """

    def __init__(
        self,
        z_dim: int,
        out_channels: int = 3,
        width: int = 64,
        num_classes: int = 0,
        attention: tuple[int, ...] = (),
        act: str = "ReLU",
        spectral: bool = False,
        init: str | Initialiser = "ortho",
    ) -> None:
        super().__init__()
        self.num_classes = num_classes
        channels = width * _FIRST
        self.project = nn.Linear(z_dim, channels * GRID * GRID)
        self.unflatten = nn.Unflatten(1, (channels, GRID, GRID))
        self.blocks = nn.ModuleList()
        for number, factor in enumerate(_GENERATOR, 1):
            self.blocks.append(UpBlock(channels, width * factor, num_classes, act))
            channels = width * factor
            if number in attention:
                self.blocks.append(SelfAttention(channels))
        self.to_image = nn.Sequential(nn.Conv2d(channels, out_channels, 3, padding=1), nn.Tanh())
        finish(self, init, spectral, EPS)


class DeepConvDiscriminator(ConditionalDiscriminator):
    """Maps images [B, in_channels, 32, 32] to the output of a `ConditionalHead`.

    Its arguments are those of `ConditionalDiscriminator`; batch norm is after each convolution.
    """

    def __init__(
        self,
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
    ) -> None:
        super().__init__()

        def layer(inputs: int, outputs: int, kernel: int, stride: int) -> list[nn.Module]:
            conv = nn.Conv2d(inputs, outputs, kernel, stride, padding=1)
            return [conv, plain_norm(outputs, not spectral), activation(act)]

        modules: list[nn.Module] = []
        channels = in_channels
        for number, factor in enumerate(_DISCRIMINATOR, 1):
            wide = width * factor
            modules += layer(channels, wide, 3, 1) + layer(wide, wide, 4, 2)
            if number in attention:
                modules.append(SelfAttention(wide))
            channels = wide
        self.body = nn.Sequential(*modules, *layer(channels, width * _LAST, 3, 1), SumPool())
        self.head = ConditionalHead(width * _LAST, method, num_classes, normalize, out_features)
        finish(self, init, spectral, EPS)


def build_deep_conv(
    config: Config, sample_shape: tuple[int, ...], num_classes: int, seed: int
) -> ConditionalBackbone:
    """Builds the backbone `deep_conv`.

    Raises:
        UserError: The samples are no images of 32 px, or the conditioning is not supported.
    """
    channels, _ = image_shape("deep_conv", sample_shape, SUPPORTED_SIZES)
    return studiogan_backbone(
        "deep_conv",
        DeepConvGenerator,
        DeepConvDiscriminator,
        config,
        channels,
        num_classes,
        seed,
        (len(_GENERATOR), len(_DISCRIMINATOR)),
    )
