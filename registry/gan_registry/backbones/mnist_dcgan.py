"""The DCGAN of Self-Diagnosing GAN (Lee et al., 2021) on Colored MNIST and MNIST-FMNIST.

The paper does not spell the networks out; these are `mnist_dcgan` of its published code
(MNIST_DCGAN_Generator and MNIST_DCGAN_Discriminator in models/mnist.py of
github.com/grayhong/self-diagnosing-gan, commit 48b1719), which has dropout 0.5 after each layer of
D (`MODEL.d_dropout: 0.5`) and a latent of dimension 100 (`MODEL.z_dim: 100`), and trains images of
32 px with Adam, lr 1e-4 and betas (0.5, 0.9).

Supported: square images of 32 px, or of 28 px (ours: one 4×4 kernel of G becomes 3×3). Keys read:
`MODEL.z_dim`, `z_prior`, `g_conv_dim`, `d_conv_dim`, `apply_g_sn`, `apply_d_sn`, `d_dropout`,
`g_init`, `d_init`. The default widths of 64 give the published ones and scale with the keys; batch
norm is always there. Initialisation "default" is torch's, as in the published runs: the function
there that draws from N(0, 0.02) is handed the whole network, whose class it does not recognise, and
changes nothing.
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

SUPPORTED_SIZES = (28, 32)
_BASE = 64  # the base width at which the widths below are the published ones
_GENERATOR = (384, 192, 96, 48)
_DISCRIMINATOR = (16, 32, 64, 128, 256, 512)
_STRIDES = (2, 1, 2, 1, 2, 1)
_GRID = 4  # size of D's last feature map: both 28 and 32 px end there


class MNISTDCGANGenerator(PlainGenerator):
    """Maps z [B, z_dim] to images [B, out_channels, image_size, image_size] in [-1, 1].

    Args:
        width: Base width; 64 gives the published widths.
    """

    def __init__(
        self,
        z_dim: int,
        image_size: int = 32,
        out_channels: int = 3,
        width: int = 64,
        spectral: bool = False,
        init: str | Initialiser = "default",
    ) -> None:
        super().__init__()
        widths = _scaled(_GENERATOR, width)
        kernels = (4, 4 if image_size == 32 else 3, 4, 4)
        modules: list[nn.Module] = [
            nn.Linear(z_dim, widths[0]),
            nn.Unflatten(1, (widths[0], 1, 1)),
        ]
        for number, (wide, narrow) in enumerate(pairwise(widths)):
            stride, padding = (1, 0) if number == 0 else (2, 1)
            up = nn.ConvTranspose2d(wide, narrow, kernels[number], stride, padding, bias=False)
            modules += [up, nn.BatchNorm2d(narrow), nn.ReLU(inplace=True)]
        last = nn.ConvTranspose2d(widths[-1], out_channels, kernels[-1], 2, 1, bias=False)
        self.layers = nn.Sequential(*modules, last, nn.Tanh())
        finish(self, init, spectral)


class MNISTDCGANDiscriminator(LinearHead):
    """Maps images [B, in_channels, 28 or 32, same] to logits [B, out_features].

    Args:
        width: Base width; 64 gives the published widths.
        dropout: Published: 0.5.
    """

    def __init__(
        self,
        in_channels: int = 3,
        width: int = 64,
        spectral: bool = False,
        dropout: float = 0.5,
        init: str | Initialiser = "default",
        out_features: int = 1,
    ) -> None:
        super().__init__()
        modules: list[nn.Module] = []
        channels = in_channels
        for number, wide in enumerate(_scaled(_DISCRIMINATOR, width)):
            conv = nn.Conv2d(channels, wide, 3, _STRIDES[number], padding=1, bias=False)
            norm = nn.BatchNorm2d(wide) if number else None
            modules += hidden_layer(conv, norm, partial(nn.LeakyReLU, 0.2, inplace=True), dropout)
            channels = wide
        self.body = nn.Sequential(*modules, nn.Flatten())
        self.head = nn.Linear(channels * _GRID * _GRID, out_features)
        finish(self, init, spectral)


def _scaled(widths: tuple[int, ...], base: int) -> list[int]:
    """Returns the published widths × base/64, at least 1."""
    return [max(round(wide * base / _BASE), 1) for wide in widths]


def build_mnist_dcgan(
    config: Config, sample_shape: tuple[int, ...], num_classes: int, seed: int
) -> Backbone:
    """Builds the backbone `mnist_dcgan`.

    Raises:
        UserError: The samples are no images of a supported size, or conditioning is asked for.
    """
    channels, size = image_shape("mnist_dcgan", sample_shape, SUPPORTED_SIZES)
    require_unconditional("mnist_dcgan", config)
    model = config.MODEL
    return assemble(
        Backbone,
        partial(MNISTDCGANGenerator, image_size=size, spectral=model.apply_g_sn),
        partial(MNISTDCGANDiscriminator, spectral=model.apply_d_sn, dropout=model.d_dropout),
        config,
        channels,
        seed,
        num_classes=num_classes,
    )
