"""Which samples instance selection keeps: the densest share."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from diagan_plugin.remedies.instance_selection.density import (
    gaussian_log_density,
    neighbour_density,
)
from diagan_plugin.remedies.instance_selection.options import DENSITIES


def selected_counts(labels: ArrayLike, share: float) -> NDArray[np.int64]:
    """Returns how many samples of each class, labels [N], are kept: its share, and at least one.

    Returns:
        int64 [number of classes that occur], by ascending class.
    """
    sizes = np.unique(np.asarray(labels), return_counts=True)[1]
    counts: NDArray[np.int64] = np.maximum(np.rint(share * sizes), 1).astype(np.int64)
    return counts


def select_instances(
    features: ArrayLike,
    share: float,
    labels: ArrayLike | None = None,
    density: str = "gaussian",
    k: int = 5,
) -> NDArray[np.int64]:
    """Chooses the densest share of the samples, of each class for itself.

    Args:
        features: Finite numbers, [N, D]; a perceptual embedding, as density among pixels says
            little.
        share: Share to keep, in (0, 1].
        labels: Class of each sample, [N]; None takes all for one class.
        density: "gaussian" or "knn".
        k: Neighbours, for "knn".

    Returns:
        Indices of the samples kept, int64 and ascending; of equally dense ones the first.

    Raises:
        ValueError: An argument is out of range, or features are not finite.
    """
    x = np.asarray(features)
    if x.ndim != 2 or not len(x) or not np.isfinite(x).all():
        raise ValueError(
            f"Argument `features` must be finite numbers [N, D], but got {list(x.shape)}."
        )
    if not 0.0 < share <= 1.0:
        raise ValueError(f"Argument `share` must be in (0, 1], but got {share}.")
    if density not in DENSITIES:
        raise ValueError(f"Argument `density` must be one of {DENSITIES}, but got {density!r}.")
    if k < 1:
        raise ValueError(f"Argument `k` must be at least 1, but got {k}.")
    classes = np.zeros(len(x), np.int64) if labels is None else np.asarray(labels)
    if classes.shape != (len(x),):
        raise ValueError(f"Argument `labels` must be [{len(x)}], but got {list(classes.shape)}.")
    kept = []
    for label, count in zip(np.unique(classes), selected_counts(classes, share), strict=True):
        members = np.flatnonzero(classes == label)
        part = x[members]
        score = gaussian_log_density(part) if density == "gaussian" else neighbour_density(part, k)
        kept.append(members[np.argsort(-score, kind="stable")[:count]])
    return np.sort(np.concatenate(kept))
