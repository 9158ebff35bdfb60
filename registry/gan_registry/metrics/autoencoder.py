"""An autoencoder that learns generated samples, so that it fails on what they leave out.

For images it is the convolutional autoencoder of the code published with Lee et al. (2021) (its
`models/auto_encoder.py`; the paper itself gives no architecture): 3×3 convolutions of stride 2 with
batch norm and ReLU that double the channels and halve the size, a linear layer with tanh to the
code, and the same way back to a tanh. There it works at 32 and 64 px; here a feature map is halved
until its shorter side is at most 4, so any size of image will do. For other samples it is a
perceptron whose code has half as many dimensions as a sample.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor, nn

from gan_registry.backbones.base import seeded_weights
from gan_registry.metrics.base import Progress, no_progress
from gan_registry.metrics.fitting import gradients, minibatches
from gan_registry.seeding import derive_seed, generator_for

_SMALLEST_SIDE = 4
_MAX_FACTOR = 8  # the widest layer has 8 × the base width, as at 64 px in the published code
_MAX_POINT_CODE = 32
_HIDDEN = 64  # units of a hidden layer of the perceptron
_EVALUATION_BATCH = 512
_REPORT_EVERY = 25


@dataclass(frozen=True)
class AutoencoderSettings:
    """How large an autoencoder is and how long it learns.

    The defaults take seconds on a CPU, for 32-px images; see :data:`PUBLISHED` for the others.

    Attributes:
        width: Channels of the first convolution (images only).
        code: Dimension of the code (images only).
        steps: Optimiser steps.
        batch_size: Generated samples a step.
        learning_rate: Adam's; it falls linearly to 0 over the steps if `decay`.
        weight_decay: Adam's L2 penalty.
        decay: Whether the learning rate falls. It makes a short training settle.
    """

    width: int = 16
    code: int = 64
    steps: int = 1000
    batch_size: int = 32
    learning_rate: float = 5e-3
    weight_decay: float = 5e-4
    decay: bool = True


#: Those of the published code: 50 epochs over 50,000 generated images, hours on a CPU.
PUBLISHED = AutoencoderSettings(
    width=64, code=256, steps=19_550, batch_size=128, learning_rate=1e-3, decay=False
)


class ConvolutionalAutoencoder(nn.Module):
    """Maps images [B, C, H, W] in [-1, 1] to reconstructions of the same shape.

    `width` are the channels of the first convolution, `code` the dimension of the code.
    """

    def __init__(self, image_shape: Sequence[int], width: int, code: int) -> None:
        super().__init__()
        channels, *size = image_shape
        sizes = [tuple(size)]
        widths = [channels]
        while min(sizes[-1]) > _SMALLEST_SIDE:
            sizes.append(tuple((side + 1) // 2 for side in sizes[-1]))
            widths.append(width * min(1 << (len(widths) - 1), _MAX_FACTOR))
        encoder: list[nn.Module] = []
        for narrow, wide in pairwise(widths):
            encoder += [nn.Conv2d(narrow, wide, 3, 2, 1), nn.BatchNorm2d(wide), nn.ReLU()]
        grid = (widths[-1], *sizes[-1])
        units = grid[0] * grid[1] * grid[2]
        encoder += [nn.Flatten(), nn.Linear(units, code), nn.Tanh()]
        decoder: list[nn.Module] = [nn.Linear(code, units)]
        if len(widths) > 1:
            decoder += [nn.BatchNorm1d(units), nn.ReLU()]
        decoder.append(nn.Unflatten(1, grid))
        for i in range(len(widths) - 1, 0, -1):
            # A side of 2n − 1 or 2n was halved to n; the padding tells which it becomes again.
            pad = [
                large - (2 * small - 1) for small, large in zip(sizes[i], sizes[i - 1], strict=True)
            ]
            decoder.append(
                nn.ConvTranspose2d(
                    widths[i], widths[i - 1], 3, 2, 1, output_padding=(pad[0], pad[1])
                )
            )
            if i > 1:
                decoder += [nn.BatchNorm2d(widths[i - 1]), nn.ReLU()]
        self.encoder = nn.Sequential(*encoder)
        self.decoder = nn.Sequential(*decoder, nn.Tanh())

    def forward(self, x: Tensor) -> Tensor:
        """Returns the reconstructions, [B, C, H, W] in (-1, 1)."""
        images: Tensor = self.decoder(self.encoder(x))
        return images


class PointAutoencoder(nn.Module):
    """Maps points [B, D] to reconstructions [B, D] through a code of half the dimension.

    In the plane the code is thus one number, and what is learnt is a curve through the points.
    """

    def __init__(self, features: int) -> None:
        super().__init__()
        code = min(max(features // 2, 1), _MAX_POINT_CODE)

        def half(inputs: int, outputs: int) -> nn.Sequential:
            return nn.Sequential(
                nn.Linear(inputs, _HIDDEN),
                nn.ReLU(),
                nn.Linear(_HIDDEN, _HIDDEN),
                nn.ReLU(),
                nn.Linear(_HIDDEN, outputs),
            )

        self.layers = nn.Sequential(half(features, code), nn.Tanh(), half(code, features))

    def forward(self, x: Tensor) -> Tensor:
        """Returns the reconstructions, [B, D]."""
        points: Tensor = self.layers(x)
        return points


class Reconstructor:
    """A trained autoencoder, in the units of the samples that it learnt.

    Args:
        network: Maps scaled samples to scaled reconstructions.
        centre: What is subtracted from samples, [*sample_shape] or a single number.
        scale: What they are divided by then.
        device: Where the network is.
    """

    def __init__(
        self, network: nn.Module, centre: Tensor, scale: float, device: torch.device
    ) -> None:
        self._network = network.eval()
        self._centre = centre
        self._scale = scale
        self._device = device

    def distances(self, samples: Tensor) -> Tensor:
        """Returns the Euclidean distance of each sample from its reconstruction.

        Args:
            samples: [n, *sample_shape] on any device, in any floating type.

        Returns:
            Float64 [n] on the CPU, in the units of the samples.
        """
        distances = torch.empty(len(samples), dtype=torch.float64)
        centre = self._centre.to(self._device)
        with torch.no_grad():
            for start in range(0, len(samples), _EVALUATION_BATCH):
                batch = samples[start : start + _EVALUATION_BATCH].to(self._device).float()
                scaled = (batch - centre) / self._scale
                rest = (self._network(scaled) - scaled).flatten(1)
                norms = torch.linalg.vector_norm(rest, dim=1).cpu().double()
                distances[start : start + len(norms)] = norms * self._scale
        return distances


def train_autoencoder(
    samples: Tensor,
    *,
    value_range: tuple[float, float] | None = None,
    seed: int = 0,
    device: torch.device | str = "cpu",
    settings: AutoencoderSettings | None = None,
    progress: Progress = no_progress,
) -> Reconstructor:
    """Trains an autoencoder on (generated) samples with the mean squared error.

    Equal arguments give an equal autoencoder on the same machine and number of threads; torch's
    global random state is neither read nor changed.

    Args:
        samples: [n, C, H, W] images, or [n, ...] points, n ≥ 2, finite; on any device.
        value_range: Smallest and largest value of an image; None takes those of `samples`. Points
            are centred and scaled by one number instead, which keeps distances.
        seed: Seed of the weights and of the order of the samples.
        device: Where to compute.
        settings: Size and length; None takes the defaults.
        progress: Told of the steps.

    Raises:
        ValueError: There are fewer than 2 samples, which batch norm needs.
    """
    if len(samples) < 2:
        raise ValueError(f"Argument `samples` must hold at least 2, but got {len(samples)}.")
    device = torch.device(device)
    settings = settings or AutoencoderSettings()
    with gradients():
        shape = tuple(samples.shape[1:])
        is_image = len(shape) == 3
        centre, scale = _normalisation(samples, value_range if is_image else None, is_image)
        network = _build(shape, is_image, settings, seed).to(device)
        optimizer = torch.optim.Adam(
            network.parameters(),
            lr=settings.learning_rate,
            eps=1e-7,  # as the published code
            weight_decay=settings.weight_decay,
        )
        order = generator_for(seed, "autoencoder", "batches")
        batches = minibatches(len(samples), settings.batch_size, settings.steps, order)
        centre_there = centre.to(device)
        for step, rows in enumerate(batches):
            if step % _REPORT_EVERY == 0:
                progress("Training the autoencoder", step, settings.steps)
            if settings.decay:
                for group in optimizer.param_groups:
                    group["lr"] = settings.learning_rate * (1.0 - step / settings.steps)
            batch = samples[rows.to(samples.device)].to(device).float()
            scaled = (batch - centre_there) / scale
            loss = nn.functional.mse_loss(network(scaled), scaled)
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
        progress("Training the autoencoder", settings.steps, settings.steps)
    return Reconstructor(network, centre, scale, device)


def _build(
    shape: tuple[int, ...], is_image: bool, settings: AutoencoderSettings, seed: int
) -> nn.Module:
    with seeded_weights(derive_seed(seed, "autoencoder", "weights")):
        if is_image:
            return ConvolutionalAutoencoder(shape, settings.width, settings.code)
        return nn.Sequential(
            nn.Flatten(), PointAutoencoder(math.prod(shape)), nn.Unflatten(1, shape)
        )


def _normalisation(
    samples: Tensor, value_range: tuple[float, float] | None, is_image: bool
) -> tuple[Tensor, float]:
    """Returns what to subtract from samples and what to divide them by."""
    if is_image:
        low, high = value_range or (float(samples.min()), float(samples.max()))
        return torch.tensor((low + high) / 2.0), (high - low) / 2.0 or 1.0
    points = samples.detach().cpu().double()
    centre = points.mean(dim=0)
    # A collapsed generator has no spread, and any scale will do.
    return centre.float(), float((points - centre).square().mean().sqrt()) or 1.0
