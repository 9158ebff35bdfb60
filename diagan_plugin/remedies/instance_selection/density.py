"""How densely samples lie in a feature space: by a fitted Gaussian, or by their neighbours."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import ArrayLike, NDArray


_RIDGE = 1e-5
"""Is added to the variances, as in the published code."""


def gaussian_log_density(features: ArrayLike) -> NDArray[np.float64]:
    """Returns each sample's log-density under the Gaussian fitted to all [N, D], float64 [N]."""
    import numpy as np
    from scipy.linalg import solve_triangular

    x = np.asarray(features, np.float64)
    centred = x - x.mean(0)
    covariance = centred.T @ centred / len(x) + _RIDGE * np.eye(x.shape[1])
    factor = np.linalg.cholesky(covariance)
    whitened = solve_triangular(factor, centred.T, lower=True)
    constant = 0.5 * x.shape[1] * np.log(2 * np.pi) + np.log(np.diag(factor)).sum()
    result: NDArray[np.float64] = -0.5 * (whitened**2).sum(0) - constant
    return result


def neighbour_density(features: ArrayLike, k: int = 5) -> NDArray[np.float64]:
    """Returns the negative distance of each of [N, D] to its k-th nearest neighbour, float64 [N].

    The sample itself is not counted, and k is at most N − 1. A sample alone has density 0.
    """
    import numpy as np
    import torch

    from gan_registry.metrics.neighbours import squared_radii

    x = np.asarray(features, np.float32)
    if len(x) < 2:
        return np.zeros(len(x))
    radii = squared_radii(torch.from_numpy(x), [min(k, len(x) - 1)])[:, 0]
    result: NDArray[np.float64] = -np.sqrt(radii.cpu().numpy())
    return result
