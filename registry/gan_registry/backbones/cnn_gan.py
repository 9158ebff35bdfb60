"""The small SNGAN of a replication of Self-Diagnosing GAN on MNIST and Colored MNIST (§3.1.1).

From that report: a latent of dimension 100 (`MODEL.z_dim: 100`); G projects it, reshapes it, and
upsamples by transposed convolutions with batch norm and ReLU, then tanh; D has three
convolutional blocks of 64, 128 and 256 channels with LeakyReLU, spectral norm on every layer, and
no sigmoid. Not given there, and ours: G mirrors D's widths, kernels are 4×4 with stride 2 (G's
last is 3×3), LeakyReLU has slope 0.2.

Supported: square images of 8, 16, 28 or 32 px. Keys read: `MODEL.z_dim`, `z_prior`, `g_conv_dim`,
`d_conv_dim` (64 gives the published widths), `apply_g_sn`, `d_dropout`, `g_init`, `d_init`.
"""

from __future__ import annotations

from functools import partial
from itertools import pairwise
from typing import TYPE_CHECKING

from torch import nn

from gan_registry.backbones.assembly import PlainGenerator, assemble
from gan_registry.backbones.base import Backbone, LinearHead, finish, hidden_layer
from gan_registry.backbones.conditioning import require_unconditional
from gan_registry.backbones.images import image_shape
from gan_registry.backbones.init import Initialiser

if TYPE_CHECKING:
    from gan_registry.config.schema import Config

SUPPORTED_SIZES = (8, 16, 28, 32)
_FACTORS = (1, 2, 4)  # widths of D's blocks, in multiples of the base width


class CNNGANGenerator(PlainGenerator):
    """Maps z [B, z_dim] to images [B, out_channels, image_size, image_size] in [-1, 1].

    Args:
        width: Channels of the last hidden layer.
    """

    def __init__(
        self,
        z_dim: int,
        image_size: int = 28,
        out_channels: int = 1,
        width: int = 64,
        spectral: bool = False,
        init: str | Initialiser = "default",
    ) -> None:
        super().__init__()
        grid = image_size // 4
        widths = [width * factor for factor in reversed(_FACTORS)]
        modules: list[nn.Module] = [
            nn.Linear(z_dim, widths[0] * grid * grid),
            nn.Unflatten(1, (widths[0], grid, grid)),
        ]
        for wide, narrow in pairwise(widths):
            up = nn.ConvTranspose2d(wide, narrow, 4, stride=2, padding=1, bias=False)
            modules += [up, nn.BatchNorm2d(narrow), nn.ReLU(inplace=True)]
        last = nn.ConvTranspose2d(widths[-1], out_channels, 3, padding=1)
        self.layers = nn.Sequential(*modules, last, nn.Tanh())
        finish(self, init, spectral)


class CNNGANDiscriminator(LinearHead):
    """Maps images [B, in_channels, image_size, image_size] to logits [B, out_features].

    Args:
        image_size: One of `SUPPORTED_SIZES`.
        width: Channels of the first block.
    """

    def __init__(
        self,
        image_size: int = 28,
        in_channels: int = 1,
        width: int = 64,
        dropout: float = 0.0,
        init: str | Initialiser = "default",
        out_features: int = 1,
    ) -> None:
        super().__init__()
        modules: list[nn.Module] = []
        channels = in_channels
        for factor in _FACTORS:
            conv = nn.Conv2d(channels, width * factor, 4, stride=2, padding=1)
            modules += hidden_layer(conv, None, partial(nn.LeakyReLU, 0.2, inplace=True), dropout)
            channels = width * factor
        grid = image_size >> len(_FACTORS)
        self.body = nn.Sequential(*modules, nn.Flatten())
        self.head = nn.Linear(channels * grid * grid, out_features)
        finish(self, init, spectral=True)


def build_cnn_gan(
    config: Config, sample_shape: tuple[int, ...], num_classes: int, seed: int
) -> Backbone:
    """Builds the backbone `cnn_gan`.

    Raises:
        UserError: The samples are no images of a supported size, or conditioning is asked for.
    """
    channels, size = image_shape("cnn_gan", sample_shape, SUPPORTED_SIZES)
    require_unconditional("cnn_gan", config)
    model = config.MODEL
    return assemble(
        Backbone,
        partial(CNNGANGenerator, image_size=size, spectral=model.apply_g_sn),
        partial(CNNGANDiscriminator, image_size=size, dropout=model.d_dropout),
        config,
        channels,
        seed,
        num_classes=num_classes,
    )
