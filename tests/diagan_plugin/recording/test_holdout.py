from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from scipy import stats
from without_float64 import without_float64

from diagan_plugin.recording.holdout import HoldoutGap, holdout_gap, is_memorised


def draw(size: int, shift: float = 0.0, seed: int = 0) -> torch.Tensor:
    return torch.randn(size, generator=torch.Generator().manual_seed(seed)) + shift


def test_the_comparison_is_welch_s() -> None:
    training, held_out = 2 * draw(300, 0.5, 1), draw(100, 0.0, 2)
    gap = holdout_gap(7, training, held_out)
    assert gap is not None
    statistic = stats.ttest_ind(training.numpy(), held_out.numpy(), equal_var=False).statistic
    assert gap.step == 7
    assert gap.gap == pytest.approx(float(training.mean() - held_out.mean()))
    assert gap.gap / gap.standard_error == pytest.approx(statistic, rel=1e-5)
    pooled = (299 * training.var() + 99 * held_out.var()) / 398
    assert gap.effect == pytest.approx(float(gap.gap / pooled.sqrt()), rel=1e-5)


def test_what_is_not_finite_is_left_out() -> None:
    training, held_out = draw(50), draw(50, seed=1)
    clean = holdout_gap(0, training[1:], held_out)
    training[0] = float("nan")
    assert holdout_gap(0, training, held_out) == clean
    assert holdout_gap(0, training, torch.tensor([1.0, float("inf")])) is None


def test_a_device_without_float64_is_no_obstacle() -> None:
    training, held_out = draw(50), draw(50, seed=1)
    there = map(without_float64, (training, held_out))
    assert holdout_gap(0, *there) == holdout_gap(0, training, held_out)


def test_a_constant_tells_nobody_apart() -> None:
    gap = holdout_gap(0, torch.zeros(5), torch.zeros(5))
    assert gap == HoldoutGap(0, 0.0, 0.0, 0.0)
    assert not is_memorised([gap])


LARGE = HoldoutGap(10, 1.0, 0.1, 0.6)


@pytest.mark.parametrize(
    ("gaps", "expected"),
    [
        ([], False),
        ([LARGE], True),
        ([dataclasses.replace(LARGE, effect=0.49)], False),  # too small to matter
        ([dataclasses.replace(LARGE, standard_error=0.21)], False),  # may be chance
        ([dataclasses.replace(LARGE, gap=-1.0, effect=-0.6)], False),
        ([dataclasses.replace(LARGE, gap=0.9), LARGE], True),
        ([dataclasses.replace(LARGE, gap=1.1), LARGE], False),  # it shrinks
    ],
)
def test_memorisation_is_large_sure_and_growing(gaps: list[HoldoutGap], expected: bool) -> None:
    assert is_memorised(gaps) is expected


def test_chance_raises_no_alarm() -> None:
    rng = np.random.default_rng(0)
    for _ in range(2000):
        sizes = rng.integers(2, 400, 2)
        both = [torch.from_numpy(rng.normal(0, 3, size)) for size in sizes]
        gap = holdout_gap(0, *both)
        if min(sizes) >= 20:
            assert not is_memorised([gap] if gap else [])
