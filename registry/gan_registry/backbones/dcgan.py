"""A small DCGAN (Radford et al., 2016) for images from 8 to 64 pixels.

Supported: square images of 8, 16, 28, 32 or 64 px with 1 or 3 channels and values in [-1, 1].
Keys read: `MODEL.z_dim`, `z_prior`, `g_conv_dim`, `d_conv_dim`, `apply_g_sn`, `apply_d_sn`, `g_bn`,
`d_bn`, `d_dropout`, `g_init`, `d_init`. At 32 px the generator has the widths of StudioGAN's
`deep_conv`.
"""

from __future__ import annotations

from functools import partial
from itertools import pairwise
from typing import TYPE_CHECKING

from torch import nn

from gan_registry.backbones.assembly import PlainGenerator, assemble
from gan_registry.backbones.base import Backbone, LinearHead, finish, hidden_layer
from gan_registry.backbones.images import image_shape
from gan_registry.errors import UserError

if TYPE_CHECKING:
    from gan_registry.config.schema import Config

# Image size → (size of the smallest feature map, number of times that it is doubled).
_GRIDS = {8: (4, 1), 16: (4, 2), 28: (7, 2), 32: (4, 3), 64: (4, 4)}
SUPPORTED_SIZES = tuple(_GRIDS)
SUPPORTED_CHANNELS = (1, 3)
_MAX_FACTOR = 8  # the widest layer has 8 × the base width, as in the original


def _grid(image_size: int) -> tuple[int, int]:
    """Returns the size of the smallest feature map and how often it is doubled."""
    if image_size not in _GRIDS:
        raise ValueError(
            f"Argument `image_size` must be one of {SUPPORTED_SIZES}, but got {image_size!r}."
        )
    return _GRIDS[image_size]


def _width(base: int, doublings: int) -> int:
    """Returns the number of channels after doubling `base`, up to the widest layer."""
    return base * min(1 << doublings, _MAX_FACTOR)


class DCGANGenerator(PlainGenerator):
    """Maps z [B, z_dim] to images [B, out_channels, image_size, image_size] in [-1, 1].

    A linear layer, transposed convolutions (4×4, stride 2) with ReLU that double the size and
    halve the channels down to `width`, and a 3×3 convolution with tanh.

    Args:
        width: Channels of the last hidden layer (`g_conv_dim`).
        batch_norm: Batch norm in each hidden layer.
    """

    def __init__(
        self,
        z_dim: int,
        image_size: int,
        out_channels: int = 3,
        width: int = 64,
        batch_norm: bool = True,
        spectral: bool = False,
        init: str = "default",
    ) -> None:
        super().__init__()
        grid, doublings = _grid(image_size)
        widths = [_width(width, i) for i in range(doublings, -1, -1)]

        def norm(channels: int) -> nn.Module | None:
            return nn.BatchNorm2d(channels) if batch_norm else None

        bias = not batch_norm
        unflatten = nn.Unflatten(1, (widths[0], grid, grid))
        project = nn.Linear(z_dim, widths[0] * grid * grid, bias=bias)
        modules = [
            project,
            *hidden_layer(unflatten, norm(widths[0]), nn.ReLU, 0.0),
        ]
        for wide, narrow in pairwise(widths):
            up = nn.ConvTranspose2d(wide, narrow, 4, stride=2, padding=1, bias=bias)
            modules += hidden_layer(up, norm(narrow), nn.ReLU, 0.0)
        modules += [nn.Conv2d(widths[-1], out_channels, 3, padding=1), nn.Tanh()]
        self.layers = nn.Sequential(*modules)
        finish(self, init, spectral)


class DCGANDiscriminator(LinearHead):
    """Maps images [B, in_channels, image_size, image_size] to logits [B, 1].

    Convolutions (4×4, stride 2) with LeakyReLU(0.2) that halve the size and double the channels
    from `width` on, one 3×3 convolution on the smallest map, and a linear layer.

    Args:
        image_size: One of `SUPPORTED_SIZES`.
        width: Channels of the first layer (`d_conv_dim`).
        batch_norm: Batch norm in each hidden layer but the first, as in the original.
    """

    def __init__(
        self,
        image_size: int,
        in_channels: int = 3,
        width: int = 64,
        batch_norm: bool = False,
        spectral: bool = False,
        dropout: float = 0.0,
        init: str = "default",
        out_features: int = 1,
    ) -> None:
        super().__init__()
        grid, halvings = _grid(image_size)
        modules: list[nn.Module] = []
        channels = in_channels
        for i in range(halvings + 1):
            wide = _width(width, i)
            norm = nn.BatchNorm2d(wide) if batch_norm and i > 0 else None
            kernel, stride = (4, 2) if i < halvings else (3, 1)
            conv = nn.Conv2d(channels, wide, kernel, stride, padding=1, bias=norm is None)
            modules += hidden_layer(conv, norm, partial(nn.LeakyReLU, 0.2), dropout)
            channels = wide
        self.body = nn.Sequential(*modules, nn.Flatten())
        self.head = nn.Linear(channels * grid * grid, out_features)
        finish(self, init, spectral)


def build_dcgan(
    config: Config, sample_shape: tuple[int, ...], num_classes: int, seed: int
) -> Backbone:
    """Builds the backbone `dcgan`.

    Raises:
        UserError: The samples are no images of a supported size and number of channels.
    """
    channels, size = image_shape("dcgan", sample_shape, SUPPORTED_SIZES)
    if channels not in SUPPORTED_CHANNELS:
        raise UserError(
            f"MODEL.backbone dcgan supports images of 1 or 3 channels, but got {channels}."
        )
    model = config.MODEL
    generator = partial(
        DCGANGenerator, image_size=size, batch_norm=model.g_bn, spectral=model.apply_g_sn
    )
    discriminator = partial(
        DCGANDiscriminator,
        image_size=size,
        batch_norm=model.d_bn,
        spectral=model.apply_d_sn,
        dropout=model.d_dropout,
    )
    return assemble(Backbone, generator, discriminator, config, channels, seed)
