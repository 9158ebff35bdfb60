"""Mixtures of Gaussians in the plane, where it can be counted which modes a GAN covers.

`gmm25` is the 5×5 grid on {-2, …, 2}² of Lee et al. (2021, section 3.3), who number its modes
5x + y (figure 2). Standard deviation 0.05 and 1,000 samples a mode are those of the replication of
that experiment (the paper itself states neither).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
from pydantic import Field
from scipy.spatial.distance import cdist
from torch import Tensor

from gan_registry.datasets.base import OTHER, ArrayDataset, Ints, as_array
from gan_registry.datasets.options import Options, bad_option, read_options
from gan_registry.errors import UserError

if TYPE_CHECKING:
    from pathlib import Path

    from gan_registry.config.schema import Config

Floats = npt.NDArray[np.float64]
NUM_MODES = 25
HIGH_QUALITY_STDS = 4.0  # Lee et al. (2021), section 3.3
MIN_SAMPLES_OF_MODE = 10


class GMM25Options(Options):
    """Options of `gmm25`."""

    num_samples: int = Field(25_000, ge=1, description="an integer from 1 on")
    std: float = Field(0.05, gt=0.0, le=0.1, description="a number in (0, 0.1]")
    rare_modes: tuple[int, ...] = Field((), description="a list of different modes from 0 to 24")
    rare_share: float = Field(0.1, gt=0.0, le=1.0, description="a number in (0, 1]")


class Mixture(ArrayDataset):
    """Samples of an isotropic Gaussian mixture; label and group are the mode.

    Args:
        name: Name in the catalog.
        x: Points, float32 [N, D].
        modes: Mode of each point, [N].
        centres: Centre of each mode, [M, D].
        std: Standard deviation of every mode.
    """

    can_classify = True

    def __init__(
        self, name: str, x: npt.NDArray[np.float32], modes: Ints, centres: Floats, std: float
    ) -> None:
        super().__init__(
            name,
            x,
            modes,
            num_classes=len(centres),
            groups=modes,
            group_names=tuple(f"mode {mode}" for mode in range(len(centres))),
        )
        self.centres = centres
        self.std = std

    def classify(self, x: Tensor | npt.ArrayLike) -> Ints:
        """Returns the nearest mode of each sample if it is within 4 std of it, else -1.

        A real sample's group is the mode it was drawn from, so about 0.03 % of the real samples
        (exp(-8) in the plane) are classified as -1 too.
        """
        return nearest_modes(as_array(x), self.centres, HIGH_QUALITY_STDS * self.std)

    def evaluate_generated(self, x: Tensor | npt.ArrayLike) -> dict[str, float]:
        """Returns `modes_covered` and `high_quality`; see `mixture_metrics`."""
        return mixture_metrics(self.classify(x), len(self.centres))


def grid_centres() -> Floats:
    """Returns the centres of the 25 modes, [25, 2]; mode 5x + y lies at (x - 2, y - 2)."""
    x, y = np.divmod(np.arange(NUM_MODES), 5)
    return np.stack([x, y], axis=1).astype(np.float64) - 2.0


def mode_counts(num_samples: int, weights: npt.ArrayLike) -> Ints:
    """Shares samples out among modes in proportion to weights [M] > 0, by largest remainder.

    Returns:
        int64 [M]; sums to `num_samples`, each entry within 1 of its exact share.
    """
    relative = np.asarray(weights, np.float64)
    exact: Floats = num_samples * relative / relative.sum()
    counts: Ints = np.floor(exact + 1e-9).astype(np.int64)
    remainders = exact - counts
    first = np.argsort(-remainders, kind="stable")[: num_samples - int(counts.sum())]
    counts[first] += 1
    return counts


def nearest_modes(x: Floats, centres: Floats, radius: float) -> Ints:
    """Assigns points [n, D] to the nearest of the centres [M, D] within a radius.

    Returns:
        int64 [n]; -1 where no centre is within the radius, or where `x` is not finite.

    Raises:
        ValueError: `x` is not of shape [n, D].
    """
    if x.ndim != 2 or x.shape[1] != centres.shape[1]:
        raise ValueError(f"Argument `x` must be [n, {centres.shape[1]}], but got {list(x.shape)}.")
    finite = np.isfinite(x.sum(axis=1))
    points = np.where(finite[:, None], x, 0.0)
    distances = cdist(points, centres)
    nearest: Ints = distances.argmin(axis=1)
    nearest[(distances.min(axis=1) > radius) | ~finite] = OTHER
    return nearest


def mixture_metrics(modes: Ints, num_modes: int) -> dict[str, float]:
    """Counts what a generator covers of a mixture.

    Args:
        modes: Mode of each generated sample, [n], as from `nearest_modes` with 4 std. Meant for
            n = 10,000: the number that makes a mode covered does not scale with n.
        num_modes: Number of modes.

    Returns:
        `modes_covered`, the number of modes with at least 10 samples, and `high_quality`, the share
        of samples that lie in a mode (NaN if there is none at all).
    """
    inside = modes[modes >= 0]
    counts = np.bincount(inside, minlength=num_modes)
    return {
        "modes_covered": float((counts >= MIN_SAMPLES_OF_MODE).sum()),
        "high_quality": len(inside) / len(modes) if len(modes) else float("nan"),
    }


def build_gmm25(config: Config, data_dir: Path | None) -> Mixture:
    """Builds the dataset `gmm25`.

    Options: `num_samples` in all (25,000), `std` (0.05), `rare_modes` (none) with `rare_share`, the
    weight of a rare mode relative to another one (0.1), `seed` of the data (0). `DATA.img_size`
    does not apply.

    Raises:
        UserError: Options are not as they must be, or a mode would stay empty.
    """
    options = read_options(GMM25Options, "gmm25", config.DATA.options)
    rare = list(options.rare_modes)
    if len(set(rare)) < len(rare) or not set(rare) <= set(range(NUM_MODES)):
        raise bad_option(GMM25Options, "gmm25", "rare_modes", rare)
    weights = np.ones(NUM_MODES)
    weights[rare] = options.rare_share
    counts = mode_counts(options.num_samples, weights)
    if not counts.all():
        raise UserError(
            f"The dataset 'gmm25' has no sample left for mode {int(counts.argmin())} with "
            f"DATA.options.num_samples={options.num_samples} and rare_share={options.rare_share}; "
            "raise one of them."
        )
    rng = np.random.Generator(np.random.PCG64(np.random.SeedSequence([options.seed])))
    modes = rng.permutation(np.repeat(np.arange(NUM_MODES, dtype=np.int64), counts))
    centres = grid_centres()
    noise = rng.standard_normal((options.num_samples, 2))
    points = (centres[modes] + options.std * noise).astype(np.float32)
    return Mixture("gmm25", points, modes, centres, options.std)
