"""MCCS, the Monte Carlo-based Collapse Score: how much of a generator's mass lies near an anchor.

With unit feature vectors u, the paper's distance of two samples is their angle over π (eq. 4),

    d(a, b) = arccos⟨u_a, u_b⟩ / π   in [0, 1],

their similarity is cut off at θ (eq. 3), and an anchor's score is that of its mean similarity with
n samples among which it is not (eq. 7):

    s(a, b) = (exp(max(0, θ − d)) − 1) / (exp θ − 1),     MCCS(a) = 1 / (1 − ln mean s).

It is 0 where nothing resembles the anchor and 1 where everything equals it. The published code
takes 1 / (−log₁₀ mean s) instead, whose values are larger and have no upper end; this is eq. 7.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from gan_registry.metrics.base import Progress, no_progress
from gan_registry.metrics.distances import as_points

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

_TILE = 2**22  # distances held at a time (float32: 16 MB)
_COLUMNS = 2**13


def unit_vectors(features: object, center: object | None = None, name: str = "features") -> Tensor:
    """Scales features to length 1.

    A row of zeros has no direction; it stays, and is at distance ½ from everything.

    Args:
        features: [N, D], a tensor or an array.
        center: [D], what is subtracted before; None subtracts nothing, as in the paper, whose
            features are those of networks that were trained for angles.
        name: What to call the features in an error.

    Returns:
        float32 [N, D].

    Raises:
        ValueError: They are no matrix, or not finite, or the centre does not fit.
    """
    points = as_points(features, name)
    if center is not None:
        middle = torch.as_tensor(center, device=points.device)
        if middle.shape != points.shape[1:]:
            raise ValueError(
                f"Argument `center` must be [{points.shape[1]}], but got {list(middle.shape)}."
            )
        points = points - middle.to(points.dtype)
    # By the largest entry first: squares of very large or small numbers would be lost.
    points = points / points.abs().amax(1, keepdim=True).clamp(min=torch.finfo(points.dtype).tiny)
    return torch.nn.functional.normalize(points, dim=1).to(torch.float32)


def angular_distances(anchors: Tensor, samples: Tensor) -> Tensor:
    """Computes the angles of unit vectors, float32 [M, D] and [N, D], over π (paper, eq. 4).

    In float32 they are off by up to about 1e-4 where vectors coincide.

    Returns:
        float32 [M, N] in [0, 1].
    """
    with torch.autocast(anchors.device.type, enabled=False):
        return (anchors @ samples.T).clamp_(-1.0, 1.0).arccos_().div_(math.pi)


def similarity(distances: Tensor, theta: float) -> Tensor:
    """Computes the similarity at distances in [0, 1] (paper, eq. 3): 1 at 0, 0 from `theta` on.

    The result has the shape and type of the distances, which may be any; θ is in (0, 1].
    """
    _check_theta(theta)
    return (theta - distances).clamp_(min=0.0).expm1_().div_(math.expm1(theta))


def collapse_score(mean_similarity: npt.ArrayLike) -> Floats:
    """Computes MCCS from the mean similarity of an anchor, or of many (paper, eq. 7).

    Both are in [0, 1] and of the same shape, the result in float64; it is 0 where the mean is 0.
    """
    with np.errstate(divide="ignore"):
        scores: Floats = 1.0 / (1.0 - np.log(np.asarray(mean_similarity, np.float64)))
    return scores


@dataclass(frozen=True)
class Comparison:
    """What anchors have in common with blocks of samples.

    Attributes:
        similarities: float64 [M, G], each anchor's sum of similarities over a block of samples.
        neighbors: int64 [M, G], how many of a block's samples lie within the radius of an anchor.
        sizes: int64 [G], samples in each block.
    """

    similarities: Floats
    neighbors: Ints
    sizes: Ints

    @property
    def scores(self) -> Floats:
        """MCCS of each anchor over all samples, float64 [M]."""
        return collapse_score(self.similarities.sum(1) / self.sizes.sum())


def compare(
    anchors: Tensor,
    samples: Tensor,
    theta: float,
    radius: float,
    *,
    blocks: int = 1,
    progress: Progress = no_progress,
) -> Comparison:
    """Compares all anchors with all samples; memory is bounded whatever their number.

    Args:
        anchors: float32 [M, D], rows of length 1 (see :func:`unit_vectors`).
        samples: float32 [N, D], likewise, and none of them an anchor.
        theta: θ, the distance from which on two samples have nothing in common.
        radius: r, within which a sample is an anchor's neighbour.
        blocks: Into how many nearly equal parts to cut the samples, in their order.
        progress: Told ("comparing features", done, M).

    Raises:
        ValueError: There is no anchor, fewer samples than blocks, θ or r is not in (0, 1], or
            widths differ.
    """
    _check_theta(theta)
    if not 0.0 < radius <= 1.0:
        raise ValueError(f"Argument `radius` must be in (0, 1], but got {radius}.")
    if len(anchors) == 0 or anchors.shape[1:] != samples.shape[1:]:
        raise ValueError(
            "Arguments `anchors` and `samples` must be [M, D] and [N, D] with M > 0, but got "
            f"{list(anchors.shape)} and {list(samples.shape)}."
        )
    if not 1 <= blocks <= len(samples):
        raise ValueError(
            f"Argument `blocks` must be from 1 to {len(samples)} samples, but got {blocks}."
        )
    edges = np.arange(blocks + 1) * len(samples) // blocks
    similarities = np.empty((len(anchors), blocks))
    neighbors = np.empty((len(anchors), blocks), np.int64)
    for rows in anchor_slices(len(anchors), len(samples)):
        for block in range(blocks):
            total = torch.zeros(rows.stop - rows.start, dtype=torch.float64, device=anchors.device)
            count = torch.zeros_like(total, dtype=torch.int64)
            for start in range(int(edges[block]), int(edges[block + 1]), _COLUMNS):
                stop = min(start + _COLUMNS, int(edges[block + 1]))
                distances = angular_distances(anchors[rows], samples[start:stop])
                count += (distances <= radius).sum(1)
                total += similarity(distances, theta).sum(1, dtype=torch.float64)
            similarities[rows, block] = total.cpu().numpy()
            neighbors[rows, block] = count.cpu().numpy()
        progress("comparing features", rows.stop, len(anchors))
    return Comparison(similarities, neighbors, np.diff(edges).astype(np.int64))


def mccs(anchors: object, samples: object, theta: float) -> Floats:
    """Computes the MCCS of each anchor (paper, eq. 7).

    Args:
        anchors: Features [M, D] of the anchors, of any length.
        samples: Features [N, D] of samples, N > 0, none of them an anchor.
        theta: θ in (0, 1].

    Returns:
        float64 [M] in [0, 1].

    Raises:
        ValueError: Shapes do not fit, values are not finite, or θ is out of its range.

    Example:
        >>> mccs([[1.0, 0.0]], [[2.0, 0.0], [0.0, 1.0]], theta=0.25).round(3)
        array([0.591])
    """
    return compare(
        unit_vectors(anchors, name="anchors"), unit_vectors(samples, name="samples"), theta, theta
    ).scores


def anchor_slices(num_anchors: int, num_samples: int) -> Iterator[slice]:
    """Yields slices of anchors whose distances to a stretch of samples may be held at once."""
    step = max(1, _TILE // min(max(num_samples, 1), _COLUMNS))
    for start in range(0, num_anchors, step):
        yield slice(start, min(start + step, num_anchors))


def _check_theta(theta: float) -> None:
    if not 0.0 < theta <= 1.0:
        raise ValueError(f"Argument `theta` must be in (0, 1], but got {theta}.")
