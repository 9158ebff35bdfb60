"""A single Gaussian in the plane, whose far points are the minor group.

σ = 3 is that of Lee et al. (2021, section 3.2 and table 1, majority rate 90 %); 10,000 points that
of the replication of that experiment.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
from pydantic import Field
from torch import Tensor

from gan_registry.datasets.base import OTHER, ArrayDataset, Ints, as_array
from gan_registry.datasets.options import Options, read_options

if TYPE_CHECKING:
    from pathlib import Path

    from gan_registry.config.schema import Config

MAJOR, MINOR = 0, 1
# Beyond this a sample is no far point of the data but none at all: one in 7e7 is real.
_FAR_STDS = 6.0


class GaussianOptions(Options):
    """Options of `gaussian`."""

    num_samples: int = Field(10_000, ge=1, description="an integer from 1 on")
    std: float = Field(3.0, gt=0.0, description="a number above 0")
    major_ratio: float = Field(0.9, ge=0.0, le=1.0, description="a number in [0, 1]")


class Gaussian(ArrayDataset):
    """Points of N(0, std²·1), the farthest of which are the minor group.

    Args:
        x: Points, float32 [N, 2].
        std: Standard deviation they were drawn with.
        major_ratio: Share of the points, nearest first, that are major.

    Attributes:
        threshold: Radius beyond which a point is minor; halfway between the two points that it
            separates.
    """

    can_classify = True

    def __init__(self, x: npt.NDArray[np.float32], std: float, major_ratio: float) -> None:
        radii = np.sort(np.linalg.norm(x.astype(np.float64), axis=1))
        minors = round(len(x) * (1.0 - major_ratio))
        padded = np.concatenate([[-np.inf], radii, [np.inf]])
        split = len(radii) - minors
        self.threshold = float(padded[split : split + 2].mean())
        self._limit = max(_FAR_STDS * std, float(radii[-1]))
        super().__init__("gaussian", x, group_names=("major", "minor"))
        self.groups = self.classify(x)

    def classify(self, x: Tensor | npt.ArrayLike) -> Ints:
        """Returns 1 (minor) beyond the threshold radius, else 0.

        Points that no real one comes near, beyond 6 std or not finite, are -1.
        """
        points = as_array(x)
        if points.ndim != 2 or points.shape[1] != 2:
            raise ValueError(f"Argument `x` must be [n, 2], but got {list(points.shape)}.")
        radii = np.linalg.norm(points, axis=1)
        groups = np.where(radii > self.threshold, MINOR, MAJOR).astype(np.int64)
        groups[~(radii <= self._limit)] = OTHER  # written so that NaN is other
        return groups


def build_gaussian(config: Config, data_dir: Path | None) -> Gaussian:
    """Builds the dataset `gaussian`.

    Options: `num_samples` (10,000), `std` (3.0), `major_ratio` (0.9), `seed` of the data (0).
    `DATA.img_size` does not apply.
    """
    options = read_options(GaussianOptions, "gaussian", config.DATA.options)
    rng = np.random.Generator(np.random.PCG64(np.random.SeedSequence([options.seed])))
    points = (options.std * rng.standard_normal((options.num_samples, 2))).astype(np.float32)
    return Gaussian(points, options.std, options.major_ratio)
