"""How near is alike: θ and r from the features themselves, as nobody labels identities here.

The rule: **the distance within which a typical anchor has 1 % of the samples**, and at least 5 of
them, so that fewer than 500 samples are seen more coarsely. "Typical" is the
median over the anchors, so a dense mode, as long as it holds less than half of them, does not move
it; a quantile of all pairwise distances would shrink to the mode's own width as soon as its pairs
were more than the quantile. A typical sample then has, by construction, the same score for every
generator and every kind of features, and what stands out is what is denser than typical.

θ belongs to the features (paper, §3): to compare two generators, give both the same θ and r.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

SHARE = 0.01
NUM = 10_000
"""Samples and anchors: from so many on the scores are stable (paper, §4.2.1)."""
MIN_NEIGHBORS = 5  # fewer make the rule's distance a matter of luck
RESOLUTION = 1e-3  # below, float32 does not tell angles apart
_ANCHORS = 1000  # a median needs no more
_TILE = 2**22


def share_of(num: int) -> float:
    """Returns the rule's share for so many samples: of few, a typical anchor has 5 of them."""
    return max(SHARE, MIN_NEIGHBORS / num)


def min_samples(share: float = SHARE) -> int:
    """Returns how many samples :func:`typical_radius` asks for."""
    return math.ceil(MIN_NEIGHBORS / share - 1e-9)  # which is rounding's


def typical_radius(anchors: Tensor, samples: Tensor, share: float = SHARE) -> float:
    """Computes the distance within which the median anchor has a share of the samples.

    Args:
        anchors: float32 [M, D], rows of length 1; at most the first 1,000 are asked.
        samples: float32 [N, D], likewise, and none of them an anchor.
        share: The share, in (0, ½].

    Returns:
        The distance, between 0.001 and 1.

    Raises:
        ValueError: The share is out of its range, there is no anchor, or `share` of the samples are
            fewer than 5.
    """
    # Not above: the command line shows these numbers, and is to start without torch.
    import numpy as np
    import torch

    from diagan_plugin.blackbox.mccs import angular_distances

    if not 0.0 < share <= 0.5:
        raise ValueError(f"Argument `share` must be in (0, 0.5], but got {share}.")
    if len(anchors) == 0:
        raise ValueError("Argument `anchors` must hold at least one row, but got none.")
    if len(samples) < min_samples(share):
        raise ValueError(
            f"Argument `samples` must have at least {min_samples(share)} rows for a share of "
            f"{share:g}, but got {len(samples)}."
        )
    rank = max(1, round(share * len(samples)))
    some = anchors[:_ANCHORS]
    step = max(1, _TILE // len(samples))
    nearest = [
        angular_distances(some[start : start + step], samples).kthvalue(rank, 1).values
        for start in range(0, len(some), step)
    ]
    middle = float(np.median(torch.cat(nearest).cpu().numpy()))
    return min(max(middle, RESOLUTION), 1.0)
