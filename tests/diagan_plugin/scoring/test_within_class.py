from __future__ import annotations

import numpy as np
import pytest

from diagan_plugin.scoring.within_class import within_classes


@pytest.mark.parametrize("seed", range(3))
def test_each_class_keeps_its_share_and_its_own_order(seed):
    rng = np.random.default_rng(seed)
    labels = rng.choice([2, 5, 9], 200, p=[0.7, 0.2, 0.1])
    p = rng.random(200) ** 3 + 1e-3
    p /= p.sum()
    got = within_classes(p, labels)
    assert got.sum() == pytest.approx(1)
    for label in (2, 5, 9):
        chosen = labels == label
        assert got[chosen].sum() == pytest.approx(chosen.mean())
        np.testing.assert_allclose(got[chosen] / p[chosen], got[chosen][0] / p[chosen][0])


def test_by_hand():
    got = within_classes([0.1, 0.3, 0.6], [0, 0, 1])
    np.testing.assert_allclose(got, [2 / 3 * 1 / 4, 2 / 3 * 3 / 4, 1 / 3])


def test_one_class_changes_nothing_but_the_sum():
    np.testing.assert_allclose(within_classes([1.0, 3.0], [4, 4]), [0.25, 0.75])
    assert within_classes([], []).shape == (0,)


@pytest.mark.parametrize(
    ("p", "labels", "says"),
    [
        ([0.5, 0.5], [0], "shape"),
        ([0.0, 1.0], [0, 1], "positive in every class"),
        ([np.nan, 1.0], [0, 1], "finite"),
    ],
)
def test_what_cannot_be_weighted_is_refused(p, labels, says):
    with pytest.raises(ValueError, match=says):
        within_classes(p, labels)
