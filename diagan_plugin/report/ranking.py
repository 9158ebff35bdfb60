"""The training samples with the highest and the lowest score, and the group they come from."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

SHOWN = 50
_MIN_SHARE = 0.1  # of the samples shown, for a group to be named
_MIN_LIFT = 1.5  # against the share of the data


@dataclass(frozen=True)
class FrequentGroup:
    """The group that is most frequent among the samples shown, compared with the data.

    Attributes:
        group: Its number.
        count: How many of the samples shown belong to it.
        share: Their share of the samples shown.
        share_data: Its share of the training data.
    """

    group: int
    count: int
    share: float
    share_data: float


def extreme_samples(
    score: NDArray[np.float64], count: int = SHOWN
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Returns the samples with the highest and with the lowest finite score of [N].

    There are `count` of each; fewer if there are not 2·count, so that none is in both.

    Returns:
        Indices, highest first; and indices, lowest first. Equal scores keep the dataset's order.
    """
    usable = np.flatnonzero(np.isfinite(score))
    count = min(count, usable.size // 2)
    highest = usable[np.argsort(-score[usable], kind="stable")][:count]
    lowest = usable[np.argsort(score[usable], kind="stable")]
    return highest, lowest[~np.isin(lowest, highest)][:count]


def frequent_group(
    group: NDArray[np.int64], most: NDArray[np.int64], num_groups: int
) -> FrequentGroup | None:
    """Finds the group that is most over-represented among the samples `most` (indices).

    Groups [N] are those of all training samples, -1 unknown; `num_groups` have a name.

    Returns:
        The group; None if fewer than two are known, or none is frequent enough to be named.
    """
    known = group[most][group[most] >= 0]
    if known.size == 0 or num_groups < 2:
        return None
    counts = np.bincount(known, minlength=int(group.max()) + 1)
    sizes = np.bincount(group[group >= 0], minlength=counts.size)
    lift = np.where(counts >= _MIN_SHARE * most.size, counts / np.maximum(sizes, 1), 0.0)
    top = int(lift.argmax())
    found = FrequentGroup(
        top, int(counts[top]), float(counts[top] / most.size), float(sizes[top] / group.size)
    )
    return found if lift[top] > 0.0 and found.share >= _MIN_LIFT * found.share_data else None
