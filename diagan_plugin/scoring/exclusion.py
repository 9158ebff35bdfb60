"""Keeps listed samples, such as broken ones, out of the emphasis."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt


def without_emphasis(
    probabilities: npt.ArrayLike, listed: npt.ArrayLike, classes: npt.ArrayLike | None = None
) -> npt.NDArray[np.float64]:
    """Lowers sampling probabilities of listed samples to the mean, 1/N, where they are above it.

    What they lose goes to the samples that are not listed, in proportion to what these have; so
    the largest ratio of two probabilities grows by as much. Where all are listed, all become equal.

    Args:
        probabilities: [N], not negative, of sum 1; positive for a sample that is not listed.
        listed: Indices of the listed samples.
        classes: Class of each sample, int [N], if each class is to keep its own sum, which then
            must be its share of the samples.

    Returns:
        float64 [N] of sum 1; that of a listed sample is at most 1/N, and never above what it was.
    """
    p = np.array(probabilities, np.float64)
    is_listed = np.zeros(p.size, np.bool_)
    is_listed[np.asarray(listed, np.int64)] = True
    if not is_listed.any():
        return p
    if classes is None:
        groups, sizes = np.zeros(p.size, np.int64), np.array([p.size])
    else:
        _, groups, sizes = np.unique(classes, return_inverse=True, return_counts=True)
    p[is_listed] = np.minimum(p[is_listed], 1.0 / p.size)
    kept, others = (
        np.bincount(groups, weights=np.where(chosen, p, 0.0), minlength=sizes.size)
        for chosen in (is_listed, ~is_listed)
    )
    alone = others <= 0.0  # nobody could take what the listed ones lose
    factor = (sizes / p.size - kept) / np.where(alone, 1.0, others)
    p = np.where(is_listed, p, p * factor[groups])
    p[alone[groups]] = 1.0 / p.size
    return p
