"""The output of a randomly initialised network on Gaussian noise (Tang, 2020).

"Lessons Learned from the Training of GANs on Artificial Datasets": a network R with the input and
architecture of a generator, Glorot-uniform weights, fixed; its simplest form has two layers, input
and output, which is one affine map, so that the data are one Gaussian in 1,024 dimensions. With
hidden layers, of as many neurons, LeakyReLU follows each. The source does not state how biases are
drawn, but calls the mean random: here they are Glorot-uniform as a vector, U(−√(3/n), √(3/n)). Nor
does it state LeakyReLU's slope: 0.2.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from pydantic import Field

from gan_registry.datasets.base import Ints
from gan_registry.datasets.computed import ComputedPoints, Floats
from gan_registry.datasets.options import Options, read_options

if TYPE_CHECKING:
    from pathlib import Path

    from gan_registry.config.schema import Config

NAME = "random_network"
SLOPE = 0.2


class RandomNetworkOptions(Options):
    """Options of `random_network`."""

    layers: int = Field(2, ge=2, description="an integer from 2 on")
    dim: int = Field(1024, ge=1, description="an integer from 1 on")
    num_samples: int = Field(50_000, ge=1, description="an integer from 1 on")


class RandomNetwork(ComputedPoints):
    """R(z) for z ~ N(0, 1) in as many dimensions as R(z) has.

    Args:
        layers: Number of layers as the source counts them, input and output included: `layers` − 1
            affine maps.
        dim: Dimension of noise, hidden layers and samples.
        num_samples: N.
        seed: Seed of the network and of the noise.

    Attributes:
        weights: Matrix [dim, dim] of each affine map, which acts as z @ weight + bias.
        biases: Vector [dim] of each affine map.
    """

    def __init__(self, layers: int, dim: int, num_samples: int, seed: int) -> None:
        recipe = f"{NAME} {layers} {dim} {SLOPE} {seed}"
        super().__init__(NAME, recipe, num_samples, dim, dim, seed)
        rng = np.random.Generator(np.random.PCG64(np.random.SeedSequence([seed, 0])))
        limit = np.sqrt(3.0 / dim)  # √(6 / (fan_in + fan_out)), for matrices and vectors alike
        self.weights = [rng.uniform(-limit, limit, (dim, dim)) for _ in range(layers - 1)]
        self.biases = [rng.uniform(-limit, limit, dim) for _ in range(layers - 1)]

    def transform(self, noise: Floats, rows: Ints) -> Floats:
        """Returns R(noise), [B, dim]."""
        x = noise
        for depth, (weight, bias) in enumerate(zip(self.weights, self.biases, strict=True)):
            if depth:
                x = np.where(x > 0.0, x, SLOPE * x)
            x = x @ weight + bias
        return x

    def moments(self) -> tuple[Floats, Floats]:
        """Returns mean [dim] and covariance [dim, dim] of the distribution.

        Raises:
            ValueError: The network has hidden layers, so that there is no closed form.
        """
        if len(self.weights) > 1:
            raise ValueError("Moments have a closed form for 2 layers only.")
        return self.biases[0], self.weights[0].T @ self.weights[0]


def build_random_network(config: Config, data_dir: Path | None) -> RandomNetwork:
    """Builds the dataset `random_network`.

    Options: `layers` (2: an affine map), `dim` (1,024), `num_samples` (50,000), `seed` of network
    and noise (0). `DATA.img_size` does not apply.
    """
    options = read_options(RandomNetworkOptions, NAME, config.DATA.options)
    return RandomNetwork(options.layers, options.dim, options.num_samples, options.seed)
