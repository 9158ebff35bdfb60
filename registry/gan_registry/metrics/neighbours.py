"""Exact distances to the k-th nearest neighbour, without ever holding a distance matrix.

Tiles of the matrix, products in float32, bound each squared distance from both sides
(:mod:`~gan_registry.metrics.distances`), and of each point the few candidates that the bounds leave
are compared in float64 by their coordinates. Where points lie so close together, compared with the
whole set, that float32 decides too little, the products are taken in float64.

It takes a centred float32 copy of the points and, on top, a few hundred MB whatever their number.
All work is done on the points' device.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from gan_registry.metrics.base import Progress
from gan_registry.metrics.distances import Frame, as_points, lower_bounds, squared_distances

Advance = Callable[[int], None]
"""Called with the number of pairs compared since the last call."""

_TILE = 2**24  # bounds held at a time (float32: 64 MB)
_SHEET = 2**22  # float64 bounds held at a time
_SPARE = 3  # candidates beyond the k-th, as bounds may order neighbours wrongly


def nobody(pairs: int) -> None:
    """Is told, and tells nobody."""


def count_pairs(progress: Progress, total: int) -> Advance:
    """Returns a function that adds up pairs and shows how many of `total` are compared."""
    done = 0

    def advance(pairs: int) -> None:
        nonlocal done
        done += pairs
        progress("comparing features", done, total)

    return advance


def squared_radii(
    features: object, ks: Sequence[int], *, advance: Advance = nobody, name: str = "features"
) -> Tensor:
    """Computes each point's squared distance to its k-th nearest neighbour, itself not counted.

    Args:
        features: [N, D] with N > k; see :func:`~gan_registry.metrics.distances.as_points`.
        ks: The values of k, each at least 1.
        advance: Told of N(N + 1)/2 pairs in all.
        name: What to call the features in an error.

    Returns:
        float64 [N, len(ks)].

    Raises:
        ValueError: A k is below 1, there are not more than k points, or some are not finite.
    """
    points = as_points(features, name)
    if not ks or min(ks) < 1:
        raise ValueError(f"Argument `ks` must hold numbers of at least 1, but got {list(ks)}.")
    if len(points) <= max(ks):
        raise ValueError(
            f"Argument `{name}` must have at least k + 1 = {max(ks) + 1} rows, "
            f"but got {len(points)}."
        )
    return _Radii(points, ks).run(advance)


class _Radii:
    """Looks for k-th neighbours: quickly for all points, then thoroughly for those left open."""

    def __init__(self, points: Tensor, ks: Sequence[int]) -> None:
        self.points = points
        self.columns = torch.tensor([k - 1 for k in ks], device=points.device)
        self.width = min(max(ks) + _SPARE, len(points) - 1)
        self.frame = Frame(points)
        self.radii = torch.empty(len(points), len(ks), dtype=torch.float64, device=points.device)

    def run(self, advance: Advance) -> Tensor:
        n = len(self.points)
        if self.frame.quick:
            left = self._by_tiles(advance)
        else:
            left = torch.arange(n, device=self.points.device)
        step = max(1, _SHEET // n)
        for start in range(0, len(left), step):
            rows = left[start : start + step]
            self._by_rows(rows)
            if not self.frame.quick:  # of pairs counted once: those with points that came before
                advance(int((rows + 1).sum()))
        return self.radii

    def _by_tiles(self, advance: Advance) -> Tensor:
        """Bounds each pair once, in float32; returns the rows where that decided too little."""
        n, view = len(self.points), self.frame.view(self.points)
        bounds = view.low.new_full((n, self.width), math.inf)
        who = torch.zeros(n, self.width, dtype=torch.int64, device=bounds.device)
        step = min(n, max(1, _TILE // n))
        # Two buffers for all tiles, since fresh memory costs as much as filling it.
        memory, turned = bounds.new_empty(step * n), bounds.new_empty(step * n)
        left = []
        for start in range(0, n, step):
            stop = min(start + step, n)
            size, rest = stop - start, n - stop
            tile = memory[: size * (n - start)].view(size, n - start)
            lower_bounds(view[start:stop], view[start:], tile).diagonal().fill_(math.inf)
            _merge(bounds[start:stop], who[start:stop], tile, start)
            if rest:
                # The same pairs, seen from the points that come later.
                below = turned[: rest * size].view(rest, size).copy_(tile[:, size:].T)
                _merge(bounds[stop:], who[stop:], below, start)
            rows = torch.arange(start, stop, device=who.device)
            left.append(rows[~self._settle(rows, bounds[start:stop], who[start:stop])])
            advance(size * (n - start) - math.comb(size, 2))
        return torch.cat(left)

    def _settle(self, rows: Tensor, bounds: Tensor, who: Tensor) -> Tensor:
        """Sets radii by the distances of the candidates; returns whether they are final, [b].

        They are if no other point's lower bound is smaller; else they are upper bounds.
        """
        of = rows.repeat_interleave(self.width)
        distances = squared_distances(self.points, of, self.points, who.reshape(-1))
        self.radii[rows] = distances.view(-1, self.width).sort(1).values[:, self.columns]
        if self.width == len(self.points) - 1:
            return torch.ones_like(rows, dtype=torch.bool)
        # Clamped, as copies of one point are at distance 0 whatever their bounds.
        others = bounds.amax(1).to(torch.float64).clamp(min=0)
        return others >= self.frame.scaled(self.radii[rows].amax(1))

    def _by_rows(self, rows: Tensor) -> None:
        """Bounds in float64; where that is too little as well, takes all possible neighbours."""
        bounds, _, _ = self.frame.float64_bounds(self.points[rows], self.points)
        bounds.scatter_(1, rows[:, None], math.inf)
        open_ = ~self._settle(rows, *bounds.topk(self.width, 1, largest=False))
        if not open_.any():
            return
        rows, bounds = rows[open_], bounds[open_]
        upper = self.frame.scaled(self.radii[rows].amax(1))
        of, who = (bounds <= upper[:, None]).nonzero().unbind(1)
        distances = squared_distances(self.points, rows[of], self.points, who)
        order = distances.argsort()
        order = order[of[order].argsort(stable=True)]  # by row, and within by distance
        sizes = of.bincount(minlength=len(rows))
        first = sizes.cumsum(0) - sizes
        self.radii[rows] = distances[order[first[:, None] + self.columns]]


def _merge(bounds: Tensor, who: Tensor, tile: Tensor, start: int) -> None:
    """Keeps, in place, the smallest of the bounds so far and those to points `start`, … of a tile.

    The bounds are [n, w], whose they are int64 [n, w], and the tile [n, m].
    """
    width = bounds.shape[1]
    nearest, where = tile.topk(min(width, tile.shape[1]), 1, largest=False, sorted=False)
    both = torch.cat([bounds, nearest], 1)
    of = torch.cat([who, where + start], 1)
    kept, chosen = both.topk(width, 1, largest=False, sorted=False)
    bounds.copy_(kept)
    who.copy_(of.gather(1, chosen))
