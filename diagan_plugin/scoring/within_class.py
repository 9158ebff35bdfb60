"""Weights that emphasise samples within their class and leave each class its share."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt


def within_classes(probabilities: npt.ArrayLike, labels: npt.ArrayLike) -> npt.NDArray[np.float64]:
    """Rescales sampling probabilities so that each class is drawn as often as in the data.

    A conditional model learns p(x | y): to draw one class more often would not help the rare
    samples of another. p'_i = p_i · (n_c / N) / Σ_{j in class c} p_j for i in class c.

    Args:
        probabilities: [N], positive.
        labels: Class of each sample, int [N].

    Returns:
        float64 [N] of sum 1.

    Raises:
        ValueError: The lengths differ, or a class has no probability at all.
    """
    p, y = np.asarray(probabilities, np.float64), np.asarray(labels)
    if p.ndim != 1 or p.shape != y.shape:
        raise ValueError(
            f"Argument `labels` must be of shape {p.shape} as `probabilities`, but got {y.shape}."
        )
    if not p.size:
        return p
    _, classes, counts = np.unique(y, return_inverse=True, return_counts=True)
    mass = np.bincount(classes, weights=p)
    if not np.all(np.isfinite(mass)) or not np.all(mass > 0):
        raise ValueError("Argument `probabilities` must be finite and positive in every class.")
    scaled: npt.NDArray[np.float64] = p * (counts / p.size / mass)[classes]
    return scaled
