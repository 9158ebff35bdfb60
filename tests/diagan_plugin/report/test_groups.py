from __future__ import annotations

import numpy as np
import pytest

from diagan_plugin.report.groups import group_table

NAN = float("nan")


def test_group_table_against_a_loop() -> None:
    rng = np.random.default_rng(1)
    group = rng.integers(-1, 4, 300)
    group[group == 2] = 3  # a group without samples
    values = {key: rng.standard_normal(300) for key in ("ldrm", "ldrv", "score")}
    drawn = rng.integers(0, 9, 300)
    rows = group_table(group, **values, names=("a", "b", "c"), drawn=drawn)
    assert [row.name for row in rows] == ["a", "b", "c", "group 3", "unknown"]
    for row in rows:
        members = group == row.group
        assert row.size == members.sum()
        assert row.share_data == pytest.approx(members.mean())
        assert row.share_drawn == pytest.approx(drawn[members].sum() / drawn.sum())
        for key, value in values.items():
            if row.size:
                assert getattr(row, key) == pytest.approx(value[members].mean())
            else:
                assert np.isnan(getattr(row, key))
    assert sum(row.share_data for row in rows) == pytest.approx(1)
    assert rows[2].to_result() == {
        **{"share_data": 0.0, "share_drawn": 0.0, "count": 0},
        **{"ldrm": None, "ldrv": None, "score": None},
    }


def test_group_table_leaves_out_what_was_not_recorded() -> None:
    (row,) = group_table([0, 0, 0], ldrm=[1, NAN, 3], ldrv=[NAN] * 3, score=[np.inf, 1, 3])
    assert (row.ldrm, row.score, row.size, row.share_drawn) == (2.0, 2.0, 3, None)
    assert np.isnan(row.ldrv)
    assert group_table([], ldrm=[], ldrv=[], score=[]) == []
    (row,) = group_table([0], ldrm=[1], ldrv=[1], score=[1], drawn=[0])
    assert row.share_drawn is None  # nothing was drawn yet
    with pytest.raises(ValueError, match="score"):
        group_table([0, 1], ldrm=[1, 2], ldrv=[1, 2], score=[1])
