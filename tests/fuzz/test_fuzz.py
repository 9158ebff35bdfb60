"""A few cases of every target, the same each time; those that failed once come first."""

from __future__ import annotations

import pytest

from tests.fuzz.harness import Outcome, explore
from tests.fuzz.targets import TARGETS


@pytest.mark.parametrize("name", TARGETS)
def test_cases_keep_the_invariant(name: str) -> None:
    target, outcome = TARGETS[name], Outcome()
    explore(target, target.examples, None, outcome)
    assert outcome.cases >= target.examples * 0.9
    assert outcome.accepted >= target.least * outcome.cases, f"{outcome.accepted} are too few"


@pytest.mark.parametrize(
    ("name", "case"),
    [(name, case) for name, target in TARGETS.items() for case in target.pinned],
    ids=lambda value: str(value)[:60],
)
def test_what_failed_once_does_so_no_more(name: str, case: object) -> None:
    TARGETS[name].check(case)
