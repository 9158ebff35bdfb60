"""The partial FID of the samples that values set apart; that by group: `test_frechet.py`."""

from __future__ import annotations

import math

import numpy as np
import pytest

from gan_registry.metrics.frechet import fid
from gan_registry.metrics.partial_fid import partial_fid_of_extremes


def test_it_is_the_fid_of_the_extremes() -> None:
    rng = np.random.default_rng(0)
    real, fake = rng.standard_normal((300, 4)), rng.standard_normal((200, 4)) + 0.5
    values = real @ np.array([1.0, -2.0, 0.5, 0.0])
    order = np.argsort(values)
    found = partial_fid_of_extremes(real, fake, values, share=0.2)
    assert found.size == 60
    assert found.lowest == pytest.approx(fid(real[order[:60]], fake), rel=1e-9)
    assert found.highest == pytest.approx(fid(real[order[-60:]], fake), rel=1e-9)


def test_a_score_of_what_is_missing_sets_the_two_far_apart() -> None:
    rng = np.random.default_rng(1)
    missing = np.arange(1000) < 100  # a tenth that the generator never makes
    real = rng.standard_normal((1000, 3)) + 6.0 * missing[:, None]
    fake = rng.standard_normal((1000, 3))
    found = partial_fid_of_extremes(real, fake, missing + 0.1 * rng.random(1000))
    assert found.size == 100
    assert found.highest > 50 * found.lowest


def test_samples_without_a_value_are_in_no_group() -> None:
    rng = np.random.default_rng(2)
    real, fake = rng.standard_normal((40, 2)), rng.standard_normal((40, 2))
    values = np.where(np.arange(40) < 30, np.arange(40.0), math.nan)
    found = partial_fid_of_extremes(real, fake, values, share=0.25)
    assert found.size == 10
    assert found.highest == pytest.approx(fid(real[20:30], fake), rel=1e-9)
    # Where few have one, the groups still share none.
    values[5:] = math.nan
    assert partial_fid_of_extremes(real, fake, values, share=0.5).size == 2


def test_bad_arguments_are_named() -> None:
    real, fake = np.zeros((10, 2)), np.zeros((10, 2))
    values = np.arange(10.0)
    for share in (0.0, 0.6, math.nan):
        with pytest.raises(ValueError, match="`share` must be in"):
            partial_fid_of_extremes(real, fake, values, share=share)
    with pytest.raises(ValueError, match="each of 10 samples, but got 9"):
        partial_fid_of_extremes(real, fake, values[:9])
    with pytest.raises(
        ValueError, match=r"at least 2 samples in a group, but 0\.1 of 10 .* leaves 1"
    ):
        partial_fid_of_extremes(real, fake, values)
