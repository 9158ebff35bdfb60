from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from diagan_plugin.scoring.exclusion import without_emphasis
from diagan_plugin.scoring.within_class import within_classes


def test_what_is_above_the_mean_falls_to_it_and_the_others_share_the_rest() -> None:
    p = without_emphasis([0.5, 0.2, 0.2, 0.1], [0, 3])
    np.testing.assert_allclose(p, [0.25, 0.325, 0.325, 0.1])


def test_without_a_list_nothing_changes() -> None:
    p = np.array([0.7, 0.2, 0.1])
    assert without_emphasis(p, []).tolist() == p.tolist()


def test_where_all_are_listed_all_are_equal() -> None:
    np.testing.assert_allclose(without_emphasis([0.7, 0.2, 0.1], [0, 1, 2]), 1 / 3)


@given(st.integers(0, 2**32 - 1), st.integers(2, 60), st.booleans())
def test_the_rule_holds_for_any_weights(seed: int, num: int, within: bool) -> None:
    rng = np.random.default_rng(seed)
    p = rng.dirichlet(np.full(num, 0.3)) + 1e-9
    p /= p.sum()
    classes = rng.integers(0, 3, num) if within else None
    if classes is not None:
        p = within_classes(p, classes)
    listed = np.flatnonzero(rng.random(num) < 0.3)
    capped = without_emphasis(p, listed, classes)
    assert capped.sum() == pytest.approx(1.0)
    assert (capped[listed] <= 1 / num * (1 + 1e-9)).all()
    others = np.setdiff1d(np.arange(num), listed)
    assert (capped[others] >= p[others] * (1 - 1e-9)).all()
    if classes is not None:
        for each in np.unique(classes):
            assert capped[classes == each].sum() == pytest.approx((classes == each).mean())
