"""Squared Euclidean distances: exact for chosen pairs, bounded from both sides for all pairs.

Bounds come from one matrix product. With x and y centred points of D coordinates and u the unit
roundoff of the product,

    |computed(‖x‖² + ‖y‖² − 2⟨x, y⟩) − ‖x − y‖²|  ≤  (2D + 16) u (‖x‖² + ‖y‖²) / (1 − (2D + 16) u)

in whatever order the products are summed up; (2D + 1) u is the sum's, the rest centring's and
the last additions'. Integers are centred by integers, and where all sums stay below 1/u the bounds
are the distances themselves.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

_COORDINATES = 2**20  # handled at a time in float64 (8 MB)


def as_points(features: object, name: str = "features") -> Tensor:
    """Returns features as a float32 or float64 matrix, on a device that has float64.

    Args:
        features: [N, D], a tensor or an array. Half precision becomes float32, integers float64;
            what is on an MPS device moves to the CPU, as MPS has no float64.
        name: What to call them in an error.

    Raises:
        ValueError: They are no matrix with columns, or hold NaN or an infinite value.
    """
    points = torch.as_tensor(features).detach()
    if points.ndim != 2 or not points.shape[1]:
        raise ValueError(
            f"Argument `{name}` must be a matrix [N, D], but got the shape {list(points.shape)}."
        )
    if points.device.type == "mps":
        points = points.cpu()
    if points.dtype not in (torch.float32, torch.float64):
        points = points.to(torch.float32 if points.is_floating_point() else torch.float64)
    if invalid := count_not_finite(points):
        raise ValueError(
            f"Argument `{name}` must be finite, but got {invalid} of {len(points)} rows with NaN "
            "or an infinite value."
        )
    return points


def count_not_finite(points: Tensor) -> int:
    """Returns how many rows of [N, D] hold NaN or an infinite value."""
    return sum(int((~points[rows].isfinite()).any(1).sum()) for rows in blocks(points))


def blocks(points: Tensor) -> Iterator[slice]:
    """Yields slices of rows that are small enough for a float64 copy."""
    step = max(1, _COORDINATES // points.shape[1])
    return (slice(start, start + step) for start in range(0, len(points), step))


def squared_distances(x: Tensor, i: Tensor, y: Tensor, j: Tensor) -> Tensor:
    """Computes ‖x[i] − y[j]‖² from differences in float64.

    The result is symmetric, and a function of the two points alone, bit by bit: the sum is taken in
    a fixed order, which `torch.sum` does not promise. So ties are ties wherever they come up, also
    with generated samples that are copies of real ones.

    Args:
        x: Points [N, D].
        i: int64 [P], rows of `x`.
        y: Points [M, D].
        j: int64 [P], rows of `y`.

    Returns:
        float64 [P].
    """
    sums = torch.empty(len(i), dtype=torch.float64, device=x.device)
    step = max(1, _COORDINATES // x.shape[1])
    for start in range(0, len(i), step):
        pairs = slice(start, start + step)
        terms = x[i[pairs]].to(torch.float64).sub_(y[j[pairs]]).square_()
        width = terms.shape[1]
        while width > 1:
            half = (width + 1) // 2
            terms[:, : width - half] += terms[:, half:width]
            width = half
        sums[pairs] = terms[:, 0]
    return sums


@dataclass(frozen=True)
class View:
    """Points as a :class:`Frame` sees them.

    Attributes:
        rows: [N, D], centred and scaled.
        low: [N], squared norms minus half the slack; of the same dtype.
        slack: float64 [N]; a pair's upper bound is its lower bound plus the slack of both.
    """

    rows: Tensor
    low: Tensor
    slack: Tensor

    def __getitem__(self, rows: slice) -> View:
        return View(self.rows[rows], self.low[rows], self.slack[rows])


class Frame:
    """A centre and a scale for sets of points, in which distances between them can be bounded.

    Args:
        *sets: Matrices of :func:`as_points` with the same number of columns, at least one row.

    Attributes:
        quick: Whether float32 products bound the distances at all; they don't where torch is set
            to compute them with fewer bits (TF32, bfloat16).
    """

    def __init__(self, *sets: Tensor) -> None:
        self.width = sets[0].shape[1]
        count = sum(len(points) for points in sets)
        total = torch.stack([points.sum(0, dtype=torch.float64) for points in sets]).sum(0)
        centre = total / count
        pieces = [points[rows] for points in sets for rows in blocks(points)]
        integers = all(bool((piece == piece.round()).all()) for piece in pieces)
        self.centre = centre.round() if integers else centre
        self.scale = 1.0
        size = square = 0.0
        for piece in pieces:
            centred = piece.to(torch.float64) - self.centre
            size = max(size, float(centred.abs().max()))
            square = max(square, float(centred.square_().sum(1).max()))
        self._exact_below = 4 * square if integers else math.inf
        if size and self._exact_below > 2**24:
            # A power of two, which rounds nothing, so that no square overflows or vanishes.
            self.scale = 2.0 ** -min(math.frexp(size)[1], 1000)
        self.quick = _float32_is_float32() and self._relative(torch.float32) < 0.25

    def scaled(self, squared: Tensor) -> Tensor:
        """Brings squared distances to the scale of the bounds."""
        return squared * self.scale**2

    def view(self, points: Tensor, dtype: torch.dtype = torch.float32) -> View:
        """Centres and scales points [N, D] for products in `dtype`."""
        rows = torch.empty_like(points, dtype=dtype)
        norms = torch.empty(len(points), dtype=torch.float64, device=points.device)
        for block in blocks(points):
            rows[block] = (points[block].to(torch.float64) - self.centre).mul_(self.scale)
            norms[block] = rows[block].to(torch.float64).square().sum(1)
        error = self._relative(dtype) * norms
        if self._relative(dtype):
            error += self.width * torch.finfo(dtype).tiny * 64  # of products too small for digits
        return View(rows, (norms - error).to(dtype), 2 * error)

    def float64_bounds(self, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Bounds all distances between points [n, D] and [M, D] by products in float64.

        Returns:
            Lower bounds float64 [n, M], and the slacks of both sides, [n] and [M].
        """
        view = self.view(x, torch.float64)
        bounds = torch.empty(len(x), len(y), dtype=torch.float64, device=x.device)
        slack = torch.empty(len(y), dtype=torch.float64, device=x.device)
        for block in blocks(y):
            other = self.view(y[block], torch.float64)
            bounds[:, block] = lower_bounds(view, other)
            slack[block] = other.slack
        return bounds, view.slack, slack

    def _relative(self, dtype: torch.dtype) -> float:
        roundoff = torch.finfo(dtype).eps / 2
        if self._exact_below * roundoff <= 1:
            return 0.0
        share = (2 * self.width + 16) * roundoff
        return share / (1 - share) if share < 1 else math.inf


def lower_bounds(x: View, y: View, out: Tensor | None = None) -> Tensor:
    """Bounds the scaled squared distances of all pairs of n and m points from below.

    Returns:
        [n, m], of the views' dtype; in the memory of `out` if that is given.
    """
    with torch.autocast(x.rows.device.type, enabled=False):
        bounds = torch.addmm(y.low, x.rows, y.rows.T, alpha=-2, out=out)
    return bounds.add_(x.low[:, None])


def _float32_is_float32() -> bool:
    try:
        return torch.get_float32_matmul_precision() == "highest"
    except RuntimeError:  # torch ≥ 2.9, where a precision was set for one backend only
        return False
