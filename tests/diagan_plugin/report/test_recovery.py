"""The chart of LDRM against what is generated of each group (paper, figure 2b)."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from diagan_plugin.report.diagnosis import Diagnosis
from diagan_plugin.report.recovery import MIN_GROUPS, add_recovery
from gan_registry.report.document import Figure, Report


def diagnosed(
    shares: list[float], ldrm: list[float]
) -> tuple[list[str], dict[str, Any], Diagnosis]:
    """Groups of 20 training samples whose LDRM scatters about a mean each."""
    group = np.repeat(np.arange(len(ldrm)), 20)
    values = np.asarray(ldrm)[group] + 0.1 * np.random.default_rng(0).standard_normal(len(group))
    values[0] = np.nan  # never recorded
    size = len(group)
    diagnosis = Diagnosis(
        ldrm=values, ldrv=np.ones(size), score=values, probability=np.full(size, 1 / size),
        count=np.full(size, 5), group=group, history=np.zeros((1, 2), np.float32),
        history_steps=np.array([0]), history_indices=np.array([0, 1]), metadata={},
    )  # fmt: skip
    names = [f"mode {i}" for i in range(len(ldrm))]
    groups = {name: {"share_generated": s} for name, s in zip(names, shares, strict=True)}
    return names, {"num_generated": 1000, "groups": groups}, diagnosis


def captions(*made: Any) -> list[str]:
    report = Report("demo")
    add_recovery(report, *made)
    return [
        block.caption
        for section in report.sections
        for block in section.blocks
        if isinstance(block, Figure)
    ]


@pytest.mark.parametrize(
    ("ldrm", "told"),
    [([5.0, 4.0, 3.0, 2.0, 1.0], "-1.00"), ([1.0, 2.0, 3.0, 4.0, 5.0], "+1.00")],
)
def test_it_tells_how_the_two_go_together(ldrm: list[float], told: str) -> None:
    (caption,) = captions(*diagnosed([0.0, 0.1, 0.2, 0.3, 0.4], ldrm))
    assert "of 1,000 generated samples" in caption
    assert f"Rank correlation of mean and number: {told}." in caption


def test_of_what_is_constant_it_tells_none() -> None:
    (caption,) = captions(*diagnosed([0.2] * 5, [5.0, 4.0, 3.0, 2.0, 1.0]))
    assert "correlation" not in caption


def test_there_is_none_of_few_groups_or_unknown_shares() -> None:
    few = MIN_GROUPS - 1
    assert captions(*diagnosed([0.2] * few, [1.0] * few)) == []
    names, result, diagnosis = diagnosed([0.2] * 5, [1.0, 2.0, 3.0, 4.0, 5.0])
    assert captions(names, {**result, "num_generated": None}, diagnosis) == []
    result["groups"]["mode 3"] = {}
    assert captions(names, result, diagnosis) == []
