"""`mnist_dcgan` and `cnn_gan`, the papers' networks for digits."""

from __future__ import annotations

import pytest
import torch
from small_backbones import backbone, count, counts, rng
from torch import nn

from gan_registry.errors import UserError

PAPER = {"z_dim": 100, "g_conv_dim": 64, "d_conv_dim": 64, "g_init": "default", "d_init": "default"}


@pytest.mark.parametrize(
    ("channels", "expected"),
    [
        # MNIST_DCGAN_Generator and MNIST_DCGAN_Discriminator of the Dia-GAN paper's code
        # (github.com/grayhong/self-diagnosing-gan, commit 48b1719), with nc = 3 and 1.
        (3, (1_590_048, 1_581_937)),
        (1, (1_588_512, 1_581_649)),
    ],
)
def test_mnist_dcgan_has_the_published_number_of_parameters(channels, expected):
    assert counts("mnist_dcgan", 32, channels=channels, **PAPER) == expected


def test_mnist_dcgan_layer_by_layer():
    built = backbone("mnist_dcgan", 32, d_dropout=0.5, **PAPER)
    ups = [m for m in built.generator.modules() if isinstance(m, nn.ConvTranspose2d)]
    assert [(up.in_channels, up.kernel_size[0], up.stride[0]) for up in ups] == [
        (384, 4, 1), (192, 4, 2), (96, 4, 2), (48, 4, 2),
    ]  # fmt: skip
    convs = [m for m in built.discriminator.modules() if isinstance(m, nn.Conv2d)]
    assert [(conv.out_channels, conv.stride[0]) for conv in convs] == [
        (16, 2), (32, 1), (64, 2), (128, 1), (256, 2), (512, 1),
    ]  # fmt: skip
    assert all(conv.bias is None for conv in (*ups, *convs))
    assert [m.p for m in built.discriminator.modules() if isinstance(m, nn.Dropout)] == [0.5] * 6
    assert sum(isinstance(m, nn.BatchNorm2d) for m in built.discriminator.modules()) == 5
    assert built.features(torch.zeros(2, 3, 32, 32)).shape == (2, 8192)
    without = backbone("mnist_dcgan", 32, d_dropout=0.0, **PAPER).discriminator
    assert not any(isinstance(m, nn.Dropout) for m in without.modules())


def test_mnist_dcgan_at_28_px_has_the_same_discriminator():
    small, large = (backbone("mnist_dcgan", size, channels=1, **PAPER) for size in (28, 32))
    small.discriminator.load_state_dict(large.discriminator.state_dict())
    assert small.generator(small.latent(2, rng())).shape == (2, 1, 28, 28)
    # The kernel from 192 to 96 channels shrinks from 4×4 to 3×3.
    assert count(large.generator) - count(small.generator) == 192 * 96 * 7


def test_widths_scale_with_the_keys():
    half = backbone("mnist_dcgan", 32, **{**PAPER, "g_conv_dim": 32, "d_conv_dim": 32})
    assert half.generator.layers[0].out_features == 192
    assert half.discriminator.head.in_features == 256 * 16


def test_cnn_gan_is_as_described():
    built = backbone("cnn_gan", 28, channels=1, **PAPER)
    convs = [m for m in built.discriminator.modules() if isinstance(m, nn.Conv2d)]
    assert [conv.out_channels for conv in convs] == [64, 128, 256]
    layers = [m for m in built.discriminator.modules() if isinstance(m, (nn.Conv2d, nn.Linear))]
    assert all(hasattr(layer, "parametrizations") for layer in layers)
    assert not any(isinstance(m, nn.BatchNorm2d) for m in built.discriminator.modules())
    kinds = [type(m) for m in built.generator.layers]
    block = [nn.ConvTranspose2d, nn.BatchNorm2d, nn.ReLU]
    assert kinds == [nn.Linear, nn.Unflatten, *block, *block, nn.ConvTranspose2d, nn.Tanh]
    assert built.generator.layers[0].in_features == 100
    assert not any("parametrizations" in key for key in built.generator.state_dict())


def test_unsupported_sizes():
    with pytest.raises(UserError, match="mnist_dcgan supports square images of 28, 32 px"):
        backbone("mnist_dcgan", 64)
    with pytest.raises(UserError, match="cnn_gan supports square images of 8, 16, 28, 32 px"):
        backbone("cnn_gan", 64)
