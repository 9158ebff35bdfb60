"""Exact counts of the points that lie in balls around other points.

As for nearest neighbours (:mod:`~gan_registry.metrics.neighbours`), tiles of float32 products bound
all squared distances, and only the pairs that these leave open are computed in float64 by their
coordinates; where they are many, the products are taken in float64 first.

It takes a centred float32 copy of both sets and, on top, at most about 0.7 GB whatever their sizes.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor

from gan_registry.metrics.distances import Frame, lower_bounds, squared_distances
from gan_registry.metrics.neighbours import Advance, nobody

_TILE = 2**24  # float32 bounds held at a time (64 MB)
_SHEET = 2**22  # bounds judged at a time


class BallCounts(NamedTuple):
    """Which points of a set x and a set y lie in balls around the other's.

    Attributes:
        y_in_x: int64 [M, A], how many of the x have y in their a-th ball.
        x_holds: int64 [N, A], how many of the y lie in the a-th ball of x.
        x_in_y: int64 [N, B], how many of the y have x in their b-th ball.
    """

    y_in_x: Tensor
    x_holds: Tensor
    x_in_y: Tensor


def ball_counts(
    x: Tensor, y: Tensor, x_radii: Tensor, y_radii: Tensor, *, advance: Advance = nobody
) -> BallCounts:
    """Counts the pairs whose distance is less than a radius of one of the two.

    Less, not equal, as in the `prdc` package: a copy of a point's k-th neighbour lies outside.

    Args:
        x: Points [N, D] of :func:`~gan_registry.metrics.distances.as_points`.
        y: Points [M, D] on the same device.
        x_radii: *Squared* radii of A balls around each x, float64 [N, A]; A may be 0.
        y_radii: Squared radii of B balls around each y, float64 [M, B]; B may be 0.
        advance: Told of N·M pairs in all.

    Raises:
        ValueError: The sets differ in their number of columns.
    """
    if x.shape[1] != y.shape[1]:
        raise ValueError(
            f"Both sets must have the same number of columns, but got {x.shape[1]} and "
            f"{y.shape[1]}."
        )
    counts = BallCounts(
        torch.zeros(len(y), x_radii.shape[1], dtype=torch.int64, device=x.device),
        torch.zeros(len(x), x_radii.shape[1], dtype=torch.int64, device=x.device),
        torch.zeros(len(x), y_radii.shape[1], dtype=torch.int64, device=x.device),
    )
    if len(x) and len(y):
        for pairs in _Search(x, y, x_radii, y_radii).run(advance):
            for column, inside in enumerate(pairs.in_x.unbind(1)):
                counts.y_in_x[:, column] += pairs.j[inside].bincount(minlength=len(y))
                counts.x_holds[:, column] += pairs.i[inside].bincount(minlength=len(x))
            for column, inside in enumerate(pairs.in_y.unbind(1)):
                counts.x_in_y[:, column] += pairs.i[inside].bincount(minlength=len(x))
    return counts


class _Pairs(NamedTuple):
    """Pairs x[i], y[j]: int64 [P]; whether y is in balls of x, bool [P, A], and x in balls of y."""

    i: Tensor
    j: Tensor
    in_x: Tensor
    in_y: Tensor


class _Search:
    """Looks for all pairs that are in balls, some rows of x at a time."""

    def __init__(self, x: Tensor, y: Tensor, x_radii: Tensor, y_radii: Tensor) -> None:
        self.frame = Frame(x, y)
        self.x, self.y = x, y
        self.x_radii, self.y_radii = x_radii, y_radii
        self.x_largest, self.y_largest = self._largest(x_radii), self._largest(y_radii)

    def run(self, advance: Advance) -> Iterator[_Pairs]:
        """Yields each pair that is in a ball once, and some that are in none."""
        n, m = len(self.x), len(self.y)
        sheet = max(1, _SHEET // m)
        if not self.frame.quick:
            for start in range(0, n, sheet):
                stop = min(start + sheet, n)
                yield self._thoroughly(slice(start, stop))
                advance((stop - start) * m)
            return
        view, other = self.frame.view(self.x), self.frame.view(self.y)
        step = min(n, max(1, _TILE // m))
        memory = view.low.new_empty(step * m)
        for start in range(0, n, step):
            stop = min(start + step, n)
            tile = memory[: (stop - start) * m].view(-1, m)
            lower_bounds(view[start:stop], other, tile)
            for first in range(start, stop, sheet):
                rows = slice(first, min(first + sheet, stop))
                bounds = tile[first - start : rows.stop - start]
                # Beyond some number of open pairs, better bounds cost less than all those pairs.
                pairs = self._judge(
                    rows, bounds, view.slack[rows], other.slack, bounds.numel() // 32
                )
                yield self._thoroughly(rows) if pairs is None else pairs
            advance((stop - start) * m)

    def _thoroughly(self, rows: slice) -> _Pairs:
        bounds, slack, other = self.frame.float64_bounds(self.x[rows], self.y)
        pairs = self._judge(rows, bounds, slack, other, patience=bounds.numel())
        assert pairs is not None
        return pairs

    def _judge(
        self, rows: slice, bounds: Tensor, x_slack: Tensor, y_slack: Tensor, patience: int
    ) -> _Pairs | None:
        """Decides about rows of x and all y; None if more than `patience` pairs stay open."""
        near = bounds < _up(self.x_largest[rows], bounds.dtype)[:, None]
        if self.y_radii.shape[1]:
            near |= bounds < _up(self.y_largest, bounds.dtype)
        i, j = near.nonzero().unbind(1)
        lower = bounds[i, j].to(torch.float64)[:, None]
        upper = lower + (x_slack[i] + y_slack[j])[:, None]
        i = i + rows.start
        radii = torch.cat([self.x_radii[i], self.y_radii[j]], 1)
        scaled = self.frame.scaled(radii)
        inside = upper < scaled
        # Nothing is closer than a radius of 0, whatever the lower bound.
        unsure = ((lower < scaled) & ~inside & (radii > 0)).any(1).nonzero()[:, 0]
        if len(unsure) > patience:
            return None
        distances = squared_distances(self.x, i[unsure], self.y, j[unsure])
        inside[unsure] = distances[:, None] < radii[unsure]
        columns = self.x_radii.shape[1]
        return _Pairs(i, j, inside[:, :columns], inside[:, columns:])

    def _largest(self, radii: Tensor) -> Tensor:
        """Returns each point's largest radius, scaled; −inf if it has none above 0."""
        if not radii.shape[1]:
            return radii.new_full((len(radii),), -math.inf)
        largest = self.frame.scaled(radii.amax(1))
        return largest.masked_fill(largest <= 0, -math.inf)


def _up(values: Tensor, dtype: torch.dtype) -> Tensor:
    """Rounds up, so that a comparison in `dtype` errs on the side of looking closer."""
    rounded = values.to(dtype)
    return torch.nextafter(rounded, torch.full_like(rounded, math.inf))
