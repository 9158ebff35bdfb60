"""A mixture of high-dimensional Gaussians with centres on the axes (Tang, 2020).

"Lessons Learned from the Training of GANs on Artificial Datasets": components of equal weight in
1,024 dimensions, component i centred on the unit vector e_i, covariance 0.09·1, infinitely many
samples. Here samples are computed when asked for: their number is a choice and costs no memory.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
from pydantic import Field
from scipy.stats import chi2
from torch import Tensor

from gan_registry.datasets.base import OTHER, Ints, as_array
from gan_registry.datasets.computed import ComputedPoints, Floats
from gan_registry.datasets.mixtures import mixture_metrics, mode_counts
from gan_registry.datasets.options import Options, read_options
from gan_registry.errors import UserError

if TYPE_CHECKING:
    from pathlib import Path

    from gan_registry.config.schema import Config

NAME = "gaussian_mixture"
# Share of real samples that lie in no mode: that beyond 4 std in the plane.
_OUTSIDE = float(np.exp(-8.0))


class GaussianMixtureOptions(Options):
    """Options of `gaussian_mixture`."""

    components: int = Field(3, ge=1, description="an integer from 1 on")
    dim: int = Field(1024, ge=1, description="an integer from 1 on")
    std: float = Field(0.3, gt=0.0, description="a number above 0")
    num_samples: int = Field(50_000, ge=1, description="an integer from 1 on")


class GaussianMixture(ComputedPoints):
    """Samples of N(e_i, std²·1) for i = 0 … M−1; label and group are the component i.

    Args:
        components: M.
        dim: Dimension D ≥ M.
        std: Standard deviation of each coordinate.
        num_samples: N; components differ by at most one sample.
        seed: Seed of the samples.
    """

    can_classify = True

    def __init__(self, components: int, dim: int, std: float, num_samples: int, seed: int) -> None:
        counts = mode_counts(num_samples, np.ones(components))
        rng = np.random.Generator(np.random.PCG64(np.random.SeedSequence([seed, 0])))
        modes = rng.permutation(np.repeat(np.arange(components, dtype=np.int64), counts))
        recipe = f"{NAME} {components} {dim} {std!r}"
        super().__init__(NAME, recipe, num_samples, dim, dim, seed, modes, components)
        self.groups = modes
        self.group_names = tuple(f"component {i}" for i in range(components))
        self.std = std
        self.in_plane = project if dim >= 3 else None  # how reports draw points

    def transform(self, noise: Floats, rows: Ints) -> Floats:
        """Returns e_i + std·noise, [B, D]."""
        x = self.std * noise
        x[np.arange(len(rows)), self.labels[rows]] += 1.0
        return x

    def classify(self, x: Tensor | npt.ArrayLike) -> Ints:
        """Returns the component with the nearest centre, or -1 if it is too far away.

        Too far is what only exp(-8) of a component's samples are, in any dimension; in the plane
        that is 4 std. Components overlap: with std 0.3 a sample is nearer to a given other centre
        with probability Φ(−1/(√2·std)) = 0.9 %.
        """
        points = as_array(x)
        if points.ndim != 2 or points.shape[1] != self.sample_shape[0]:
            raise ValueError(
                f"Argument `x` must be [n, {self.sample_shape[0]}], but got {list(points.shape)}."
            )
        finite = np.isfinite(points).all(axis=1)
        points = np.where(finite[:, None], points, 0.0)
        squares = np.square(points).sum(axis=1)
        # |x − e_i|² = |x|² − 2·x_i + 1
        nearest: Ints = points[:, : self.num_classes].argmax(axis=1).astype(np.int64)
        distance = squares - 2.0 * points[np.arange(len(points)), nearest] + 1.0
        radius = self.std**2 * chi2.isf(_OUTSIDE, self.sample_shape[0])
        nearest[(distance > radius) | ~finite] = OTHER
        return nearest

    def evaluate_generated(self, x: Tensor | npt.ArrayLike) -> dict[str, float]:
        """Returns `modes_covered` and `high_quality`; see `mixtures.mixture_metrics`."""
        return mixture_metrics(self.classify(x), self.num_classes)

    def moments(self) -> tuple[Floats, Floats]:
        """Returns mean [D] and covariance [D, D] of the distribution, not of the samples."""
        weights = np.zeros(self.sample_shape[0])
        weights[: self.num_classes] = 1.0 / self.num_classes
        between = np.diag(weights) - np.outer(weights, weights)
        return weights, self.std**2 * np.eye(len(weights)) + between


def project(x: Tensor | npt.ArrayLike) -> Floats:
    """Projects points [n, D], D ≥ 3, onto the plane of the first three centres (source, figure 1).

    Returns:
        [n, 2]; e_0 is the origin, e_1 lies on the first axis at √2.
    """
    points = as_array(x)[:, :3]
    first = np.array([-1.0, 1.0, 0.0]) / np.sqrt(2.0)
    second = np.array([-0.5, -0.5, 1.0]) / np.sqrt(1.5)
    offsets = points - np.array([1.0, 0.0, 0.0])
    return np.stack([offsets @ first, offsets @ second], axis=1)


def build_gaussian_mixture(config: Config, data_dir: Path | None) -> GaussianMixture:
    """Builds the dataset `gaussian_mixture`.

    Options: `components` (3), `dim` (1,024), `std` (0.3), `num_samples` (50,000; the
    source computes Fréchet distances on as many), `seed` of the data (0). `DATA.img_size` does not
    apply.

    Raises:
        UserError: Options are not as they must be, or there are more components than dimensions or
            samples.
    """
    options = read_options(GaussianMixtureOptions, NAME, config.DATA.options)
    for limit in ("dim", "num_samples"):
        if options.components > getattr(options, limit):
            raise UserError(
                f"The dataset {NAME!r} has DATA.options.components={options.components}, more than "
                f"{limit}={getattr(options, limit)}; lower the one or raise the other."
            )
    return GaussianMixture(
        options.components, options.dim, options.std, options.num_samples, options.seed
    )
