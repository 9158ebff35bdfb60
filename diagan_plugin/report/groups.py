"""The diagnosis by group of the training data."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from diagan_plugin.report.diagnosis import UNKNOWN_GROUP, Floats, Integers


@dataclass(frozen=True)
class GroupSummary:
    """A group of the training data under the diagnosis.

    Attributes:
        group: Its number; -1 collects the samples of unknown group.
        name: Its name.
        size: Number of training samples.
        share_data: Its share of the training data.
        share_drawn: Its share among the draws, None if nothing was weighted.
        ldrm: Mean LDRM over its samples that have one; NaN if none has.
        ldrv: Mean LDRV, likewise.
        score: Mean score, likewise.
    """

    group: int
    name: str
    size: int
    share_data: float
    share_drawn: float | None
    ldrm: float
    ldrv: float
    score: float

    def to_result(self) -> dict[str, float | int | None]:
        """Returns the entry of `result.json` (`groups`), where NaN becomes None."""
        values = {
            "share_data": self.share_data,
            "share_drawn": self.share_drawn,
            "ldrm": self.ldrm,
            "ldrv": self.ldrv,
            "score": self.score,
            "count": self.size,
        }
        return {k: v if v is not None and np.isfinite(v) else None for k, v in values.items()}


def group_table(
    group: ArrayLike,
    *,
    ldrm: ArrayLike,
    ldrv: ArrayLike,
    score: ArrayLike,
    names: Sequence[str] = (),
    drawn: ArrayLike | None = None,
) -> list[GroupSummary]:
    """Summarises the diagnosis by group.

    Args:
        group: Group numbers [N]; -1 is unknown.
        ldrm: LDRM [N].
        ldrv: LDRV [N].
        score: Score [N].
        names: Names of the groups 0, 1, …; a group beyond them is called by its number.
        drawn: How often each sample was drawn, or the probability that it is [N].

    Returns:
        A row for each group that is named or occurs, by number; samples of unknown group last.

    Raises:
        ValueError: The lengths differ.
    """
    numbers = np.asarray(group, dtype=np.int64).reshape(-1)
    given = {"ldrm": ldrm, "ldrv": ldrv, "score": score, "drawn": drawn}
    values = {
        key: np.asarray(value, np.float64).reshape(-1)
        for key, value in given.items()
        if value is not None
    }
    for key, value in values.items():
        if value.size != numbers.size:
            raise ValueError(
                f"Argument `{key}` must have {numbers.size} values like `group`, "
                f"but got {value.size}."
            )
    count = max(len(names), int(numbers.max(initial=-1)) + 1)
    slot = np.where(numbers < 0, count, numbers)
    size = np.bincount(slot, minlength=count + 1)
    draws = values.pop("drawn", np.zeros(numbers.size))
    total = draws.sum()
    drawn_share = np.bincount(slot, weights=draws, minlength=count + 1) / max(total, 1e-300)
    means = {key: _means(slot, value, count + 1) for key, value in values.items()}
    rows = []
    for index in range(count + 1):
        unknown = index == count
        if size[index] == 0 and (unknown or index >= len(names)):
            continue
        number = UNKNOWN_GROUP if unknown else index
        rows.append(
            GroupSummary(
                group=number,
                name=group_name(number, names),
                size=int(size[index]),
                share_data=float(size[index] / numbers.size) if numbers.size else 0.0,
                share_drawn=float(drawn_share[index]) if total > 0 else None,
                **{key: float(mean[index]) for key, mean in means.items()},
            )
        )
    return rows


def group_name(group: int, names: Sequence[str]) -> str:
    """Returns a group's name, its number where it has none, "unknown" for -1."""
    if group < 0:
        return "unknown"
    return str(names[group]) if group < len(names) else f"group {group}"


def _means(slot: Integers, values: Floats, count: int) -> Floats:
    finite = np.isfinite(values)
    total = np.bincount(slot[finite], weights=values[finite], minlength=count)
    number = np.bincount(slot[finite], minlength=count)
    means: Floats = np.where(number > 0, total / np.maximum(number, 1), np.nan)
    return means
