"""Whether points lie in the convex hull of others, by linear programming, in any dimension.

x is in the hull of p₁ … p_h if there is α ≥ 0 with Σ α = 1 and Σ αᵢ pᵢ = x: a feasibility problem
of h unknowns, also where a triangulation (Delaunay) of the hull would be out of reach, from 10
dimensions or so on. Most points outside are told cheaply beforehand, by a plane that has the point
on one side and the hull on the other (the search of Gilbert, 1966, for the hull's nearest point),
and most points inside by weights α that non-negative least squares happens to find; each is a
proof. The linear program decides the rest.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy.optimize import linprog, nnls

Floats = npt.NDArray[np.float64]

_STEPS = 30
_MARGIN = 1e-9  # relative: how clearly a plane must part a point from the hull
_RESIDUAL = 1e-9  # of weights that prove a point to be inside; the hull reaches as far as 1
_TILE = 2**22


def in_hull(points: npt.ArrayLike, vertices: npt.ArrayLike) -> npt.NDArray[np.bool_]:
    """Tells which points lie in the convex hull of others, its boundary (to about 1e-7) included.

    Args:
        points: [n, k].
        vertices: [h, k], h > 0; they need not be extreme.

    Returns:
        bool [n].

    Raises:
        ValueError: Shapes do not fit, or values are not finite.
    """
    x, hull = np.asarray(points, np.float64), np.asarray(vertices, np.float64)
    if x.ndim != 2 or hull.ndim != 2 or not len(hull) or x.shape[1] != hull.shape[1]:
        raise ValueError(
            "Arguments `points` and `vertices` must be [n, k] and [h, k] with h > 0, but got "
            f"{list(x.shape)} and {list(hull.shape)}."
        )
    if not (np.isfinite(x).all() and np.isfinite(hull).all()):
        raise ValueError("Arguments `points` and `vertices` must be finite.")
    inside = np.zeros(len(x), bool)
    if not len(x):
        return inside
    center = hull.mean(0)
    scale = float(np.abs(hull - center).max()) or 1.0
    x, hull = (x - center) / scale, (hull - center) / scale
    candidates = np.flatnonzero(((x >= hull.min(0)) & (x <= hull.max(0))).all(1))
    if hull.shape[1] == 1:
        inside[candidates] = True
        return inside
    step = max(1, _TILE // len(hull))
    for start in range(0, len(candidates), step):
        rows = candidates[start : start + step]
        rows = rows[~_parted(x[rows], hull)]
        inside[rows] = [_is_mixture(point, hull) for point in x[rows]]
    return inside


def _parted(x: Floats, hull: Floats) -> npt.NDArray[np.bool_]:
    """Tells for which points [n, k] a plane between them and the hull [h, k] was found."""
    parted = np.zeros(len(x), bool)
    nearest = np.zeros_like(x)  # in the hull, whose centre is 0
    for _ in range(_STEPS):
        rows = np.flatnonzero(~parted)
        if not len(rows):
            break
        way = x[rows] - nearest[rows]
        reach = way @ hull.T
        best = reach.argmax(1)
        beyond = (way * x[rows]).sum(1) - reach[np.arange(len(rows)), best]
        parted[rows] = beyond > _MARGIN * np.linalg.norm(way, axis=1)
        towards = hull[best] - nearest[rows]
        length = (towards**2).sum(1)
        share = np.divide(
            (way * towards).sum(1), length, out=np.zeros_like(length), where=length > 0
        )
        nearest[rows] += share.clip(0.0, 1.0)[:, None] * towards
    return parted


def _is_mixture(point: Floats, hull: Floats) -> bool:
    equations, wanted = np.vstack([hull.T, np.ones(len(hull))]), np.append(point, 1.0)
    try:
        if nnls(equations, wanted)[1] < _RESIDUAL:
            return True
    except RuntimeError:  # too many steps
        pass
    found = linprog(
        np.zeros(len(hull)), A_eq=equations, b_eq=wanted, bounds=(0.0, None), method="highs"
    )
    return bool(found.status == 0)
