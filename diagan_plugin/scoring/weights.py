"""How uneven a set of sampling weights is, in numbers and in plain English.

Score-weighted sampling can fail without a sign of it: the clip can make nearly all weights equal,
so that "weighted" sampling is uniform, or a few samples can take most of the draws. These functions
say so.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from diagan_plugin.arguments import as_kind, as_real, check_data

__all__ = ["WeightSummary", "group_shares", "summarize_weights", "weight_warnings"]

MIN_CLIP = 0.01
"""The smallest clipped score, unless another is given."""
MAX_RATIO = 50.0
"""The largest ratio of two clipped scores, unless another is given."""

MAX_CAP_SHARE = 0.5
"""A larger share of weights at the cap is warned of."""
MIN_ESS_SHARE = 0.15
"""A smaller effective sample size, as a share of N, is warned of."""
MIN_MAX_OVER_MEAN = 1.5
"""A smaller ratio of the largest weight to the mean is warned of."""

# Probabilities were normalised, so what was clipped to one value may differ in the last bits.
_TOLERANCE = 1e-9


@dataclass(frozen=True)
class WeightSummary:
    """What a set of sampling weights does.

    Attributes:
        num: N, the number of samples.
        ess: Effective sample size (Σp)²/Σp² (Kish), between 1 and N.
        ess_share: `ess` / N. High is no alarm in itself: tripling the weight of a 1 % minority
            leaves it at 96 %.
        share_at_floor: Share of the samples whose weight was raised to the floor.
        share_at_cap: Share of the samples whose weight is at the cap.
        max_over_mean: Largest weight over the mean weight.
    """

    num: int
    ess: float
    ess_share: float
    share_at_floor: float
    share_at_cap: float
    max_over_mean: float


def summarize_weights(
    probabilities: Any, score: Any, min_clip: float = MIN_CLIP, max_ratio: float = MAX_RATIO
) -> WeightSummary:
    """Summarises the weights that `sampling_probabilities` made of `score`.

    Args:
        probabilities: [N] weights, positive somewhere; need not sum to 1. Tensor or array.
        score: [N] discrepancy scores, NaN where a sample has none.
        min_clip: The floor used: weights are at the floor where it bound at least one score.
        max_ratio: The cap used: weights at `max_ratio` times the smallest one are at the cap.

    Raises:
        ValueError: If shapes differ, or weights are negative, not finite or all zero.
    """
    min_clip, max_ratio = as_real("min_clip", min_clip), as_real("max_ratio", max_ratio)
    p = _weights(probabilities)
    s = _array(score, "score")
    if s.shape != p.shape:
        raise ValueError(
            f"Argument `score` must have the shape of `probabilities`, {list(p.shape)}, "
            f"but got {list(s.shape)}."
        )
    p = p / p.max()
    low = float(p.min())
    floor_binds = bool((s <= min_clip).any())
    at_floor = p <= low * (1 + _TOLERANCE)
    at_cap = p >= low * max_ratio * (1 - _TOLERANCE)
    ess = float(p.sum() ** 2 / np.square(p).sum())
    return WeightSummary(
        num=p.size,
        ess=ess,
        ess_share=ess / p.size,
        share_at_floor=float(at_floor.mean()) if floor_binds else 0.0,
        share_at_cap=float(at_cap.mean()) if low > 0 else 0.0,
        max_over_mean=float(1.0 / p.mean()),
    )


_LEVEL = " The scores differ little beside their level, which --dia-centre data takes off."
_ALIKE = (
    " D rates them nearly alike: either nothing is missed, or D is too young to tell; then score "
    "later (--dia-phase1)."
)


def weight_warnings(summary: WeightSummary, centred: bool = False) -> list[str]:
    """Returns what a user should know about the weights, one or two sentences each, if anything.

    Args:
        summary: How uneven they are.
        centred: Whether D's level was taken off the records (`--dia-centre`), so that this is no
            remedy any more.
    """
    as_kind("summary", summary, WeightSummary)
    warnings = []
    if summary.share_at_cap > MAX_CAP_SHARE:
        warnings.append(
            f"{_percent(summary.share_at_cap)} of the weights are at the cap, so the samples "
            "behind them are drawn equally often although their scores differ. A few very low "
            "scores put the cap low: raise min_clip or max_ratio."
        )
    if summary.ess_share < MIN_ESS_SHARE:
        warnings.append(
            f"The draws are concentrated: the effective sample size is {summary.ess:,.0f} of "
            f"{summary.num:,} samples ({_percent(summary.ess_share)}), so the GAN may overfit the "
            "few that are drawn most. Lower max_ratio or raise min_clip."
        )
    if summary.max_over_mean < MIN_MAX_OVER_MEAN:
        remedy = "" if warnings else _ALIKE if centred else _LEVEL
        warnings.append(
            f"The sampling is nearly uniform: the most frequent sample is drawn only "
            f"{summary.max_over_mean:.2f} times as often as the average one, so under-represented "
            f"samples are hardly emphasised.{remedy}"
        )
    return warnings


def group_shares(probabilities: Any, groups: Any, num_groups: int) -> npt.NDArray[np.float64]:
    """Returns each group's expected share of the draws.

    Args:
        probabilities: [N] weights; need not sum to 1. Tensor or array.
        groups: [N] integers in [-1, num_groups); -1 is "unknown" and belongs to no group.
        num_groups: Number of groups.

    Returns:
        [num_groups] float64. The shares are of all draws, so they sum to 1 less the unknown's.

    Raises:
        ValueError: If shapes differ, a group is out of range, or the weights are no weights.
    """
    p = _weights(probabilities)
    g = _array(groups, "groups", dtype=None)
    if g.shape != p.shape or not np.issubdtype(g.dtype, np.integer):
        raise ValueError(
            f"Argument `groups` must be {p.size} integers, but got {g.dtype} {list(g.shape)}."
        )
    if g.min() < -1 or g.max() >= num_groups:
        raise ValueError(
            f"Argument `groups` must be in [-1, {num_groups}), but got {g.min()} to {g.max()}."
        )
    known = g >= 0
    sums = np.bincount(g[known], weights=p[known], minlength=num_groups)
    return np.asarray(sums / p.sum(), dtype=np.float64)


def _percent(share: float) -> str:
    return f"{100 * share:.3g} %"


def _array(values: Any, name: str, dtype: Any = np.float64) -> npt.NDArray[Any]:
    """Returns an array of an array, a list or a tensor on any device, without importing torch."""
    check_data(name, values)
    if str(getattr(values, "dtype", "")).rpartition(".")[2].startswith("complex"):
        raise TypeError(f"Argument `{name}` must be real numbers, but got {values.dtype}.")
    if hasattr(values, "detach"):
        values = values.detach().cpu()
        values = values if dtype is None else values.double()
    return np.asarray(values, dtype=dtype)


def _weights(values: Any) -> npt.NDArray[np.float64]:
    p = _array(values, "probabilities")
    if p.ndim != 1 or p.size == 0:
        raise ValueError(f"Argument `probabilities` must be [N], but got {list(p.shape)}.")
    if not np.isfinite(p).all() or p.min() < 0 or p.max() <= 0:
        raise ValueError(
            "Argument `probabilities` must be finite, not negative and not all zero, "
            f"but got values from {p.min()} to {p.max()}."
        )
    return p
