"""ε-ball precision and recall: one radius for all, instead of distances to neighbours.

A replication of Lee et al. (2021) on small data (Geçim and Yanık, 2025, §3.4) computes "precision
and recall using k-nearest neighbors in the normalized feature space", with "sample membership based
on a fixed distance threshold ε", ε = 0.4 and k = 3, on the features of a classifier. The text can
be read in two ways, and its code has a third definition for mixtures in the plane:

- **Its code for images** divides each vector by its length and counts a generated sample as precise
  if its *nearest* real sample is closer than ε, and a real sample as recalled if its nearest
  generated one is: k neighbours are looked up, of which only the first matters. That is k = 1
  here, the default (:class:`EpsilonBall`).
- **The k-th**: at least k = 3 samples of the other kind have to be closer than ε
  (:class:`EpsilonBallKth`), which is stricter: in high dimensions much.
- **Its code for points of the plane** has no ε: see :func:`nearest_balls`.

Unlike manifolds of k-th neighbours, ε-balls depend on the scale of the features and on the number
of samples: compare values of one extractor and one number only.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor

from gan_registry.metrics.balls import ball_counts
from gan_registry.metrics.base import Progress, no_progress
from gan_registry.metrics.collected_features import CollectedFeatures
from gan_registry.metrics.distances import as_points
from gan_registry.metrics.neighbours import Advance, count_pairs, squared_radii

_MARGIN = 1e-8  # by which a ball is larger in the replication's code
_TILE = 2**22  # distances held at a time


def epsilon_ball(
    real: object,
    fake: object,
    *,
    epsilon: float = 0.4,
    k: int = 1,
    normalise: bool = True,
    progress: Progress = no_progress,
) -> dict[str, float]:
    """Computes the ε-ball precision and recall.

    Args:
        real: Features of real samples, [N, D], N ≥ k.
        fake: Features of generated samples, [M, D], M ≥ k.
        epsilon: ε > 0; distances have to be less.
        k: How many samples of the other kind must be that close, at least 1.
        normalise: Whether to divide each feature vector by its length; zeros stay zeros.
        progress: Told how many pairs of samples have been compared.

    Returns:
        `epsilon_precision` and `epsilon_recall`, shares in [0, 1].

    Raises:
        ValueError: There are too few samples, features that are not finite or of different D, or
            arguments out of range.
    """
    if not epsilon > 0:
        raise ValueError(f"Argument `epsilon` must be positive, but got {epsilon}.")
    if k < 1:
        raise ValueError(f"Argument `k` must be at least 1, but got {k}.")
    real, fake = as_points(real, "real"), as_points(fake, "fake")
    _check_rows(real, fake, k)
    if normalise:
        real, fake = unit_length(real), unit_length(fake)

    def balls(points: Tensor) -> Tensor:
        return torch.full((len(points), 1), epsilon**2, dtype=torch.float64, device=points.device)

    counts = ball_counts(
        real, fake, balls(real), balls(fake)[:, :0],
        advance=count_pairs(progress, len(real) * len(fake)),
    )  # fmt: skip
    precise, recalled = counts.y_in_x >= k, counts.x_holds >= k
    return {
        "epsilon_precision": int(precise.sum()) / len(fake),
        "epsilon_recall": int(recalled.sum()) / len(real),
    }


def nearest_balls(
    real: object, fake: object, *, k: int = 5, progress: Progress = no_progress
) -> dict[str, float]:
    """Computes precision and recall by the ball around the nearest sample of the other kind.

    The replication's code for mixtures in the plane: a generated sample is precise if it lies in
    the ball around its nearest real sample, a real one is recalled if it lies in that around its
    nearest generated sample. A ball reaches to the k-th nearest sample of its own kind, *itself
    counted*, so k = 5 there is the fourth other one, and 1e-8 farther; its boundary belongs to it.
    With manifolds (:mod:`~gan_registry.metrics.prdc`) any sample's ball would do.

    Args:
        real: Real samples or their features, [N, D], N ≥ k.
        fake: Generated ones, [M, D], M ≥ k.
        k: At least 2.
        progress: Told how many pairs of samples have been compared.

    Returns:
        `nearest_precision` and `nearest_recall`, shares in [0, 1].

    Raises:
        ValueError: There are too few samples, features that are not finite or of different D, or
            `k` is out of range.
    """
    if k < 2:
        raise ValueError(f"Argument `k` must be at least 2, but got {k}.")
    real, fake = as_points(real, "real"), as_points(fake, "fake")
    if real.shape[1] != fake.shape[1]:
        raise ValueError(
            f"Arguments `real` and `fake` must have the same number of columns, but got "
            f"{real.shape[1]} and {fake.shape[1]}."
        )
    _check_rows(real, fake, k)
    advance = count_pairs(progress, 2 * len(real) * len(fake))
    return {
        "nearest_precision": _share_in_nearest_ball(fake, real, k, advance),
        "nearest_recall": _share_in_nearest_ball(real, fake, k, advance),
    }


def _share_in_nearest_ball(points: Tensor, centres: Tensor, k: int, advance: Advance) -> float:
    """Returns the share of the points that lie in the ball of their nearest centre."""
    radii = squared_radii(centres, [k - 1])[:, 0].sqrt() + _MARGIN
    centres, inside = centres.double(), 0
    for rows in torch.split(points, max(1, _TILE // len(centres))):
        # By differences: what is near the boundary must not depend on how products round.
        distances = torch.cdist(rows.double(), centres, compute_mode="donot_use_mm_for_euclid_dist")
        nearest = distances.min(1)
        inside += int((nearest.values <= radii[nearest.indices]).sum())
        advance(distances.numel())
    return inside / len(points)


def _check_rows(real: Tensor, fake: Tensor, k: int) -> None:
    if min(len(real), len(fake)) < k:
        raise ValueError(
            f"Arguments `real` and `fake` must have at least k = {k} rows, "
            f"but got {len(real)} and {len(fake)}."
        )


def unit_length(points: Tensor) -> Tensor:
    """Divides each row of [N, D] by its Euclidean length; a row of zeros stays as it is."""
    # By the largest value first: squares of large or tiny values leave the range.
    largest = points.abs().amax(1, keepdim=True)
    points = points / torch.where(largest > 0, largest, 1)
    lengths = points.norm(dim=1, keepdim=True)
    return points.div_(torch.where(lengths > 0, lengths, 1))


class EpsilonBall(CollectedFeatures):
    """ε-ball precision and recall with ε = 0.4 on features of unit length: the nearest counts.

    Args:
        context: See :class:`~gan_registry.metrics.base.Metric`.

    Attributes:
        epsilon: The radius.
        k: How many samples of the other kind must be closer.
        normalise: Whether feature vectors are divided by their length.
    """

    directions: ClassVar[Mapping[str, Literal["up", "down", "none"]]] = {
        "epsilon_precision": "up",
        "epsilon_recall": "up",
    }
    title: ClassVar[str] = "ε-ball precision and recall"
    epsilon: ClassVar[float] = 0.4
    k: ClassVar[int] = 1
    normalise: ClassVar[bool] = True

    def minimum(self, side: str) -> int:
        """Returns k for both sides."""
        return self.k

    def compute(self) -> dict[str, Any]:
        """Returns `epsilon_precision` and `epsilon_recall`.

        Raises:
            UserError: There are too few samples, or features that are NaN or infinite.
        """
        return epsilon_ball(
            self.features("real"),
            self.features("generated"),
            epsilon=self.epsilon,
            k=self.k,
            normalise=self.normalise,
            progress=self.context.progress,
        )


class EpsilonBallPlain(EpsilonBall):
    """The same without normalisation, for points of the plane: there lengths tell modes apart."""

    normalise = False


class EpsilonBallKth(EpsilonBall):
    """The same, but k = 3 samples of the other kind have to be that close."""

    directions: ClassVar[Mapping[str, Literal["up", "down", "none"]]] = {
        "epsilon_precision_kth": "up",
        "epsilon_recall_kth": "up",
    }
    k = 3

    def compute(self) -> dict[str, Any]:
        """Returns `epsilon_precision_kth` and `epsilon_recall_kth`.

        Raises:
            UserError: There are too few samples, or features that are NaN or infinite.
        """
        return {f"{name}_kth": value for name, value in super().compute().items()}


class NearestBalls(CollectedFeatures):
    """:func:`nearest_balls` with k = 5, in streaming form.

    Args:
        context: See :class:`~gan_registry.metrics.base.Metric`.

    Attributes:
        k: To which neighbour a ball reaches, its centre counted.
    """

    directions: ClassVar[Mapping[str, Literal["up", "down", "none"]]] = {
        "nearest_precision": "up",
        "nearest_recall": "up",
    }
    title: ClassVar[str] = "Precision and recall by the nearest ball"
    k: ClassVar[int] = 5

    def minimum(self, side: str) -> int:
        """Returns k for both sides."""
        return self.k

    def compute(self) -> dict[str, Any]:
        """Returns `nearest_precision` and `nearest_recall`.

        Raises:
            UserError: There are too few samples, or features that are NaN or infinite.
        """
        real, fake = self.features("real"), self.features("generated")
        return dict(nearest_balls(real, fake, k=self.k, progress=self.context.progress))
