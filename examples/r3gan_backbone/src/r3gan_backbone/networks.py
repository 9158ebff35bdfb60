"""R3GAN's generator and discriminator.

Huang, Gokaslan, Kuleshov and Tompkin, *The GAN is dead; long live the GAN! A Modern GAN Baseline*,
NeurIPS 2024, section 4 (config E): residual blocks without normalisation, inverted bottlenecks with
grouped convolutions, leaky ReLU, Fix-up initialisation, bilinear resampling; G and D mirror each
other. Written from the paper, for small images: a stage doubles its channels up to 4 times `width`.
"""

import math

import torch
from torch import nn
from torch.nn.functional import interpolate, leaky_relu

SLOPE = 0.2
EXPANSION = 2  # of the inverted bottleneck
_GAIN = math.sqrt(2 / (1 + SLOPE**2))


def convolution(inputs, outputs, kernel, groups=1, gain=1.0, bias=False):
    """A convolution that leaves the size; its weights keep the variance, times the gain²."""
    made = nn.Conv2d(inputs, outputs, kernel, padding=kernel // 2, groups=groups, bias=bias)
    nn.init.normal_(made.weight, std=gain / math.sqrt(inputs // groups * kernel**2))
    if bias:
        nn.init.zeros_(made.bias)
    return made


class Block(nn.Module):
    """x + f(x) with f three convolutions, the last of them zero at first.

    The others are scaled by L^(-1/4), with L blocks in the network (Fix-up: Zhang et al., 2019, for
    branches of three layers), so that an update changes the output by as much whatever L is.
    """

    def __init__(self, channels, group_size, blocks_in_all):
        super().__init__()
        wide, gain = EXPANSION * channels, _GAIN * blocks_in_all**-0.25
        self.expand = convolution(channels, wide, 1, gain=gain, bias=True)
        self.mix = convolution(wide, wide, 3, groups=wide // group_size, gain=gain, bias=True)
        self.project = convolution(wide, channels, 1, gain=0.0)

    def forward(self, x):
        hidden = leaky_relu(self.expand(x), SLOPE)
        return x + self.project(leaky_relu(self.mix(hidden), SLOPE))


class Transition(nn.Module):
    """Bilinear resampling by a factor of 2 or 1/2, on the side that has fewer channels."""

    def __init__(self, inputs, outputs, factor):
        super().__init__()
        self.factor = factor
        self.match = nn.Identity() if inputs == outputs else convolution(inputs, outputs, 1)

    def forward(self, x):
        if self.factor > 1:
            return resample(self.match(x), self.factor)
        return self.match(resample(x, self.factor))


def resample(x, factor):
    return interpolate(x, scale_factor=factor, mode="bilinear", antialias=factor < 1)


def widths(size, width):
    """Channels at 4, 8, … `size` px."""
    stages = int(math.log2(size)) - 1
    return [width * min(2 ** (stages - 1 - stage), 4) for stage in range(stages)]


class Generator(nn.Module):
    def __init__(self, z_dim, width, out_channels, size, blocks, group_size):
        super().__init__()
        channels = widths(size, width)
        total = blocks * len(channels)
        self.basis = nn.Parameter(torch.randn(channels[0], 4, 4))
        self.modulate = nn.Linear(z_dim, channels[0], bias=False)
        nn.init.normal_(self.modulate.weight, std=1 / math.sqrt(z_dim))
        layers = []
        for before, here in zip([None, *channels], channels, strict=False):
            if before is not None:
                layers.append(Transition(before, here, 2))
            layers += [Block(here, group_size, total) for _ in range(blocks)]
        self.body = nn.Sequential(*layers)
        self.image = convolution(channels[-1], out_channels, 1)

    def forward(self, z, y=None):
        return self.image(self.body(self.modulate(z)[:, :, None, None] * self.basis))


class Discriminator(nn.Module):
    def __init__(self, width, in_channels, size, blocks, group_size, out_features=1):
        super().__init__()
        channels = widths(size, width)[::-1]
        total = blocks * len(channels)
        layers = [convolution(in_channels, channels[0], 1)]
        for here, after in zip(channels, [*channels[1:], None], strict=True):
            layers += [Block(here, group_size, total) for _ in range(blocks)]
            if after is not None:
                layers.append(Transition(here, after, 0.5))
        last = channels[-1]
        summary = nn.Conv2d(last, last, 4, groups=last, bias=False)  # of the 4 × 4 that are left
        nn.init.normal_(summary.weight, std=1 / 4)
        self.body = nn.Sequential(*layers, summary, nn.Flatten())
        self.head = nn.Linear(last, out_features)
        nn.init.normal_(self.head.weight, std=1 / math.sqrt(last))
        nn.init.zeros_(self.head.bias)

    def features(self, x):
        return self.body(x)

    def forward(self, x, y=None):
        return self.head(self.features(x))
