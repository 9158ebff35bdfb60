"""The numbers behind the sections, and that sentences take theirs from the constants."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from diagan_plugin.report import section_wording, verdict_wording
from diagan_plugin.report.diagnosis import Diagnosis
from diagan_plugin.report.evidence import Evidence
from diagan_plugin.report.findings import GroupDiagnosis, GroupFinding, are_undone
from diagan_plugin.report.history import history_rows
from diagan_plugin.report.ranking import frequent_group
from diagan_plugin.report.shares import share_table


def finding(group: int, name: str, **known: Any) -> GroupFinding:
    numbers = {"size": 50, "share_data": 0.5, "mean_score": 0.0, "rest_score": 0.0, "effect": 0.0}
    return GroupFinding(group, name, **{**numbers, "p_value": 0.5, "stands_out": False, **known})


def diagnosed(group: np.ndarray, **history: Any) -> Diagnosis:
    score = np.arange(len(group), dtype=float)
    return Diagnosis(score, score, score, score, np.full(len(group), 9), group, **history)


def test_shares_put_first_what_was_found_and_leave_out_what_nobody_knows() -> None:
    short = finding(1, "b", generated={"": 0.1}, states={"": "too rare"})
    found = GroupDiagnosis((finding(0, "a"), short), 10)
    groups = {"a": {"share_generated": 0.9, "share_drawn": None}, "b": {"share_generated_drs": 0.2}}
    table = share_table({"groups": groups}, found, diagnosed(np.array([0, 0, 0, 1])))
    assert [f.name for f in table.findings] == ["b", "a"]
    assert table.columns == {
        "share_data": [0.25, 0.75], "share_generated": [None, 0.9],
        "share_generated_drs": [0.2, None],
    }  # fmt: skip


def test_history_is_averaged_by_group_or_by_score() -> None:
    history = np.array([[1.0, 3.0, np.nan, 8.0]], np.float32)
    diagnosis = diagnosed(
        np.array([0, 0, 1, 1]), history=history, history_steps=[7], history_indices=[0, 1, 2, 3]
    )
    rows = history_rows(diagnosis, [finding(1, "b"), finding(0, "a"), finding(5, "none")])
    assert rows is not None
    assert (rows.values.tolist(), rows.labels, rows.by_group) == ([[8.0], [2.0]], ["b", "a"], True)
    by_score = history_rows(diagnosis)
    assert by_score is not None
    np.testing.assert_array_equal(by_score.values, [[8.0], [np.nan], [3.0], [1.0]])
    assert by_score.labels == ["highest score", "", "", "lowest score"]
    assert history_rows(diagnosis, [finding(5, "none")]) is None
    assert history_rows(diagnosed(np.zeros(3, int))) is None


def test_the_group_that_is_most_frequent_at_the_top() -> None:
    group = np.array([0] * 90 + [1] * 10)
    found = frequent_group(group, np.array([0, 90, 91, 92]), 2)
    assert found is not None
    assert (found.group, found.count, found.share, found.share_data) == (1, 3, 0.75, 0.1)
    assert frequent_group(group, np.arange(100), 2) is None
    assert frequent_group(group, np.arange(4), 1) is None


def test_what_the_weights_did_to_a_group() -> None:
    for drawn, scored, favoured, displaced in (
        (0.525, False, True, False), (0.475, False, False, True), (0.475, True, False, False),
        (0.5, False, False, False), (None, False, False, False),
    ):  # fmt: skip
        group = finding(0, "a", share_drawn=drawn, stands_out=scored)
        assert (group.was_favoured, group.was_displaced) == (favoured, displaced)
    fitting, short = {"": "too often", "drs": "fitting"}, {"": "too often", "drs": "too rare"}
    assert are_undone([finding(0, "a", states=fitting)])
    assert not are_undone([finding(0, "a", states=fitting), finding(1, "b", states=short)])


def test_sentences_take_their_numbers_from_the_constants(monkeypatch: pytest.MonkeyPatch) -> None:
    fitting: dict[str, Any] = {"generated": {"": 0.5}, "states": {"": "fitting"}}
    pair = finding(0, "a", **fitting), finding(1, "b", **fitting)
    found = GroupDiagnosis(pair, 10, {"": 1.0})
    before = verdict_wording.word(Evidence(found)).sentences
    assert any("below 1 %" in text for text in before)
    assert any("by 20 % or more" in text for text in before)
    for module in (verdict_wording, section_wording):
        monkeypatch.setattr(module, "ALPHA", 0.005)
    monkeypatch.setattr(verdict_wording, "MIN_SHORTFALL", 0.5)
    after = verdict_wording.word(Evidence(found)).sentences
    assert any("below 0.5 %" in text for text in after)
    assert any("by 50 % or more" in text for text in after)
    assert "p ≤ 0.005 if it is at least 0.2" in section_wording.scores_caption(found)
