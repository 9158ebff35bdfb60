"""The worst-case dense mode, and the ones after it.

The worst case is the anchor with the most neighbours within r (paper, eq. 9). The anchors next in
that order are mostly the same mode once more (paper, fig. 7), so each further mode is the densest
anchor that lies farther than `separation` from all modes found before.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from diagan_plugin.blackbox.mccs import angular_distances


def find_modes(
    anchors: Tensor,
    neighbors: npt.ArrayLike,
    count: int,
    separation: float,
    *,
    ties: npt.ArrayLike | None = None,
) -> list[int]:
    """Finds the densest anchors that are not near each other.

    Args:
        anchors: float32 [M, D], rows of length 1.
        neighbors: [M], how many neighbours each has.
        count: How many modes to find, at most.
        separation: Distance that two modes must exceed.
        ties: [M], what decides among equally many neighbours (more first), e.g. the mean
            similarity; then the lower index does.

    Returns:
        Rows of `anchors`, the densest first; fewer than `count` where no anchor is left, or none
        that has a neighbour at all (the first is returned in any case).

    Raises:
        ValueError: Lengths do not fit, there is no anchor, or `count` is below 1.
    """
    density = np.asarray(neighbors, np.float64)
    second = np.zeros(len(anchors)) if ties is None else np.asarray(ties, np.float64)
    if not len(anchors) or density.shape != (len(anchors),) or second.shape != density.shape:
        raise ValueError(
            f"Arguments `neighbors` and `ties` must be [{len(anchors)}] with an anchor each, but "
            f"got {list(density.shape)} and {list(second.shape)}."
        )
    if count < 1:
        raise ValueError(f"Argument `count` must be at least 1, but got {count}.")
    order = np.lexsort((-second, -density))
    free = np.ones(len(anchors), bool)
    found: list[int] = []
    for row in order:
        if len(found) == count or (found and density[row] == 0):
            break
        if not free[row]:
            continue
        found.append(int(row))
        distances = angular_distances(anchors[row : row + 1], anchors)[0].cpu().numpy()
        free &= distances > separation
        free[row] = False
    return found


def nearest_samples(anchor: Tensor, samples: Tensor, count: int) -> tuple[list[int], list[float]]:
    """Finds the `count` samples [N, D] nearest to an anchor [D], all float32 and of length 1.

    Returns:
        Rows of `samples`, the nearest first, and their distances.
    """
    distances = angular_distances(anchor[None], samples)[0]
    nearest = torch.topk(distances, min(count, len(samples)), largest=False)
    return nearest.indices.tolist(), nearest.values.tolist()
