"""The log-density ratio over training, by group or by final score: the numbers of the heat map."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from diagan_plugin.report.diagnosis import Diagnosis
from diagan_plugin.report.findings import GroupFinding

_BINS = 20


@dataclass(frozen=True)
class HistoryRows:
    """Means over samples of a group, or of similar score, at each record.

    Attributes:
        values: Mean log-density ratio, float64 [rows, R]; NaN where nothing is known.
        labels: What to call each row; empty for those between the ends of the scores.
        by_group: Whether a row is a group.
    """

    values: NDArray[np.float64]
    labels: list[str]
    by_group: bool


def history_rows(
    diagnosis: Diagnosis, groups: Sequence[GroupFinding] | None = None
) -> HistoryRows | None:
    """Averages the recorded history: a row a group, in their order; without groups, bins by score.

    Returns:
        The rows, or None if there is nothing to show.
    """
    if diagnosis.history.size == 0:
        return None
    history = diagnosis.history.astype(np.float64)
    if groups is not None:
        group = diagnosis.group[diagnosis.history_indices]
        kept = [f for f in groups if (group == f.group).any()]
        labels = [f.name for f in kept]
        members = [np.flatnonzero(group == f.group) for f in kept]
    else:
        score = diagnosis.score[diagnosis.history_indices]
        order = np.argsort(-np.where(np.isfinite(score), score, -np.inf), kind="stable")
        members = [np.sort(part) for part in np.array_split(order, min(_BINS, order.size))]
        labels = ["highest score", *[""] * (len(members) - 2), "lowest score"][: len(members)]
    if not members:
        return None
    values = np.stack([_row_means(history[:, member]) for member in members])
    return HistoryRows(values, labels, groups is not None) if np.isfinite(values).any() else None


def _row_means(values: NDArray[Any]) -> NDArray[np.float64]:
    """Averages the finite values of each row [R, members]; NaN where there is none."""
    finite = np.isfinite(values)
    count = finite.sum(axis=1)
    total = np.where(finite, values, 0.0).sum(axis=1)
    means: NDArray[np.float64] = np.where(count > 0, total / np.maximum(count, 1), np.nan)
    return means
