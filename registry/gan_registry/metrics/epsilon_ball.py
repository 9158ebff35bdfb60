"""ε-ball precision and recall: one radius for all, instead of distances to neighbours.

A replication of Lee et al. (2021) on small data (§3.4) computes "precision and recall using
k-nearest neighbors in the normalized feature space", with "sample membership based on a fixed
distance threshold ε", ε = 0.4 and k = 3, on the features of a classifier. The text leaves open what
normalises, and what part k plays beside ε. Here

- each feature vector is divided by its length, which makes distances 0 to 2 for every extractor;
- a generated sample is precise if its k-th nearest real sample is closer than ε, that is, if at
  least k real samples are; a real sample is recalled if at least k generated ones are closer.

Unlike manifolds of k-th neighbours, that depends on the scale of the features and on the number of
samples: compare values of one extractor and one number only.
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
from gan_registry.metrics.neighbours import count_pairs


def epsilon_ball(
    real: object,
    fake: object,
    *,
    epsilon: float = 0.4,
    k: int = 3,
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
    if min(len(real), len(fake)) < k:
        raise ValueError(
            f"Arguments `real` and `fake` must have at least k = {k} rows, "
            f"but got {len(real)} and {len(fake)}."
        )
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


def unit_length(points: Tensor) -> Tensor:
    """Divides each row of [N, D] by its Euclidean length; a row of zeros stays as it is."""
    # By the largest value first: squares of large or tiny values leave the range.
    largest = points.abs().amax(1, keepdim=True)
    points = points / torch.where(largest > 0, largest, 1)
    lengths = points.norm(dim=1, keepdim=True)
    return points.div_(torch.where(lengths > 0, lengths, 1))


class EpsilonBall(CollectedFeatures):
    """ε-ball precision and recall with ε = 0.4 and k = 3 on features of unit length.

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
    k: ClassVar[int] = 3
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
