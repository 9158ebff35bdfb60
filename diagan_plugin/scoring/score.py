"""From LDR statistics to sampling probabilities: the discrepancy score (paper eq. 7, §4.1).

`score = LDRM + k·sqrt(LDRV)` is clipped below and above and normalised to the probabilities P_s(i)
with which phase 2 draws the training samples.

Tensors give float64 tensors on the same device, numpy arrays give float64 arrays.
"""

from __future__ import annotations

import math
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from diagan_plugin.arguments import as_real, check_data
from diagan_plugin.scoring.weights import MAX_RATIO, MIN_CLIP

__all__ = ["discrepancy_score", "paper_clip", "sampling_probabilities"]

ArrayT = TypeVar("ArrayT", Tensor, npt.NDArray[Any])


def discrepancy_score(mean: ArrayT, variance: ArrayT, k: float) -> ArrayT:
    """Returns the discrepancy score s = LDRM + k·sqrt(LDRV) of each sample (paper eq. 7).

    Args:
        mean: LDRM, [N].
        variance: LDRV, [N], not negative.
        k: How much the fluctuation counts, at least 0. The paper takes 0.3 (CIFAR-10) to 5
            (CelebA). With k = 0 the variance does not enter, so it may be NaN.

    Returns:
        [N] float64; NaN where a sample has too few records for the statistics used.

    Raises:
        ValueError: If shapes differ, k is negative or not finite, or a variance is negative.
    """
    k = as_real("k", k)
    m, v = _float64(mean, "mean"), _float64(variance, "variance")
    if m.shape != v.shape:
        raise ValueError(
            f"Argument `variance` must have the shape of `mean`, {list(m.shape)}, "
            f"but got {list(v.shape)}."
        )
    if not (math.isfinite(k) and k >= 0):
        raise ValueError(f"Argument `k` must be a finite number of at least 0, but got {k}.")
    if bool((v < 0).any()):
        raise ValueError(f"Argument `variance` must not be negative, but got {float(v.min())}.")
    return _like(m.clone() if k == 0 else v.sqrt().mul_(k).add_(m), mean)


def sampling_probabilities(
    score: ArrayT, min_clip: float = MIN_CLIP, max_ratio: float = MAX_RATIO
) -> ArrayT:
    """Returns the probability P_s(i) of drawing each training sample in phase 2 (paper §4.1).

    A sample without a score (NaN: not recorded often enough) gets the median of the others'
    clipped scores. Neither alternative is neutral: a fixed score such as 1 may lie anywhere in the
    range of the others, from the floor to beyond the cap, and the floor would starve samples of
    which nothing is known. With the median they are drawn like a typical sample.

    Args:
        score: [N], N ≥ 1; NaN where unknown.
        min_clip: Smallest clipped score ε, above 0.
        max_ratio: Largest ratio of two clipped scores, at least 1.

    Returns:
        [N] float64, positive, with sum 1.

    Raises:
        ValueError: If an argument is out of range, no sample has a score, or a score is infinite.
    """
    min_clip, max_ratio = as_real("min_clip", min_clip), as_real("max_ratio", max_ratio)
    if not (math.isfinite(min_clip) and min_clip > 0):
        raise ValueError(f"Argument `min_clip` must be above 0, but got {min_clip}.")
    if not (math.isfinite(max_ratio) and max_ratio >= 1):
        raise ValueError(f"Argument `max_ratio` must be at least 1, but got {max_ratio}.")
    s = _float64(score, "score")
    known = ~torch.isnan(s)
    scored = s[known]
    if scored.numel() == 0:
        raise ValueError(
            f"Argument `score` must have a number for at least one of its {s.numel()} samples, "
            "but got only NaN; record more often before scoring."
        )
    if bool(torch.isinf(scored).any()):
        raise ValueError("Argument `score` must be finite or NaN, but got an infinite value.")
    clipped = paper_clip(scored, min_clip, max_ratio)
    weight = torch.empty_like(s)
    weight[known], weight[~known] = clipped, _median(clipped)
    # Divided by the largest first: scores near the end of float64's range then do not overflow.
    weight /= weight.max()
    return _like(weight / weight.sum(), score)


def paper_clip(score: Tensor, min_clip: float, max_ratio: float) -> Tensor:
    """Clips at `min_clip` from below, then at `max_ratio` × the clipped minimum (paper §4.1).

    One score at or below `min_clip` puts the cap at `min_clip × max_ratio` for all samples; where
    most scores exceed it, nearly all weights become equal.
    :func:`diagan_plugin.scoring.weights.weight_warnings` tells when that happened.
    """
    floored = score.clamp(min=min_clip)
    return floored.clamp(max=float(floored.min()) * max_ratio)


def _median(values: Tensor) -> Tensor:
    """Returns the median with the mean of the middle two, which `torch.median` does not take."""
    ordered = values.sort().values
    size = ordered.numel()
    return 0.5 * (ordered[(size - 1) // 2] + ordered[size // 2])


def _float64(values: Tensor | npt.NDArray[Any], name: str) -> Tensor:
    check_data(name, values)
    tensor = values.detach() if isinstance(values, Tensor) else torch.tensor(np.asarray(values))
    if tensor.dtype == torch.bool or tensor.is_complex():
        raise TypeError(f"Argument `{name}` must be real numbers, but got {tensor.dtype}.")
    if tensor.dim() != 1:
        raise ValueError(f"Argument `{name}` must be [N], but got {list(tensor.shape)}.")
    return tensor.to(torch.float64)


def _like(result: Tensor, given: ArrayT) -> ArrayT:
    """Returns the result as the kind of array that was given."""
    return result if isinstance(given, Tensor) else np.asarray(result.cpu())
