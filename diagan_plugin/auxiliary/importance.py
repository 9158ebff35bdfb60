"""The weights that undo score-weighted sampling."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = ["importance_weights"]


def importance_weights(probabilities: ArrayLike) -> NDArray[np.float64]:
    """Returns the weights 1/(N·P_s(i)) that undo score-weighted sampling.

    The mean over draws of P_s is 1, and the expectation of a weighted mean is exactly the uniform
    mean over the data. They are not normalised within a batch, as that would bias it.

    Args:
        probabilities: Sampling probabilities P_s, [N]; positive, with sum 1.

    Returns:
        Weights, float64 [N].

    Raises:
        ValueError: The probabilities are not positive, finite and of sum 1. A sample that is never
            drawn can't be made up for by any weight.
    """
    p = np.asarray(probabilities, np.float64)
    if p.ndim != 1 or not p.size or not np.all(np.isfinite(p)) or not np.all(p > 0):
        raise ValueError(
            "Argument `probabilities` must be one-dimensional, positive and finite "
            "(a sample that is never drawn cannot be weighted back)."
        )
    if abs(p.sum() - 1) > 1e-6:
        raise ValueError(f"Argument `probabilities` must sum to 1, but got {p.sum():.8g}.")
    return 1 / (p.size * p)
