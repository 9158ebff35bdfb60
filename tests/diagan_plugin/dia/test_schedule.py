from __future__ import annotations

import dataclasses

import pytest
from hypothesis import given
from hypothesis import strategies as st

from diagan_plugin.dia.options import DiaOptions
from diagan_plugin.dia.schedule import HISTORY_RECORDS, Schedule, thin_history


def schedule(total: int, weighted: bool = True, fixed: int | None = None, **options) -> Schedule:
    return Schedule(DiaOptions(**options), total, weighted, fixed)


def test_published_schedule_of_cifar10():
    # Paper §5.2: 50k steps, phase 1 takes 40k, recorded every 100, the last 50 records count.
    plan = schedule(50_000)
    assert plan.phase1_end == 40_000
    assert len(plan.record_steps) == 50
    assert plan.record_steps[0] == 35_100
    assert plan.record_steps[-1] == 40_000
    assert not plan.records_at(35_000)
    assert plan.records_at(40_000)
    assert not plan.records_at(40_100)


def test_records_of_the_published_code():
    plan = schedule(50_000, last_record="before-end")
    assert plan.phase1_end == 40_000
    assert list(plan.record_steps) == list(range(35_000, 40_000, 100))
    recorded = [step for step in range(1, 50_001) if plan.records_at(step)]
    assert recorded == list(plan.record_steps)
    assert plan.scores_at(40_000)
    # An end that is no record anyway is no other one.
    for last in ("through-end", "before-end"):
        awkward = schedule(100, record_every=7, window=3, last_record=last)
        assert list(awkward.record_steps) == [63, 70, 77]
    each = schedule(100, record_every=1, window=2, last_record="before-end")
    assert list(each.record_steps) == [78, 79]
    # Later ones are those of the weights' refreshing, up to each.
    again = schedule(100, record_every=10, window=3, refresh=10, last_record="before-end")
    assert [s for s in range(101) if again.records_at(s)] == [50, 60, 70, 90, 100]


@pytest.mark.parametrize(
    ("total", "every", "window", "expected"),
    [
        (100, 10, 50, list(range(10, 90, 10))),  # too short for a full window: what there is
        (100, 30, 2, [30, 60]),  # no multiple: the last one before the end of phase 1
        (100, 7, 3, [63, 70, 77]),
        (100, 90, 50, []),
        (100, 80, 1, [80]),
    ],
)
def test_records_of_awkward_schedules(total, every, window, expected):
    plan = schedule(total, record_every=every, window=window)
    assert list(plan.record_steps) == expected
    assert [s for s in range(1, total + 1) if plan.records_at(s)] == expected


def test_a_run_that_only_diagnoses_records_up_to_its_end():
    plan = schedule(100, weighted=False, record_every=10, window=3)
    assert list(plan.record_steps) == [80, 90, 100]
    assert not any(plan.scores_at(step) for step in range(101))


@given(
    total=st.integers(1, 5000),
    every=st.integers(1, 300),
    window=st.integers(2, 60),
    share=st.floats(0.01, 1.0),
)
def test_records_are_the_last_window_multiples_of_phase_1(total, every, window, share):
    plan = schedule(total, record_every=every, window=window, phase1=share)
    multiples = [s for s in range(1, plan.phase1_end + 1) if s % every == 0]
    assert list(plan.record_steps) == multiples[-window:]


def test_scores_once_or_again():
    once = schedule(100)
    assert [s for s in range(101) if once.scores_at(s)] == [80]
    again = schedule(100, refresh=5)
    assert [s for s in range(101) if again.scores_at(s)] == [80, 85, 90, 95]
    assert again.records_at(100) == (100 % again.options.record_every == 0)


def test_a_refreshed_run_goes_on_recording():
    plan = schedule(100, refresh=5, record_every=2, window=3)
    assert [s for s in range(1, 101) if plan.records_at(s)] == [76, 78, *range(80, 101, 2)]
    assert plan.observes_at(90)
    # The batch of step 80 is the last of phase 1: 79 steps are done then.
    assert [step for step in range(101) if schedule(100).observes_at(step)] == list(range(80))


def test_ramp_reaches_full_strength_in_stages():
    plan = schedule(1000, ramp=100)
    strengths = [plan.strength(s) for s in range(800, 1000)]
    assert strengths[0] == pytest.approx(0.05)
    assert strengths[100:] == [1.0] * 100
    assert strengths == sorted(strengths)
    changes = [s for s in range(801, 1000) if plan.strength(s) != plan.strength(s - 1)]
    assert changes == [s for s in range(801, 1000) if plan.ramps_at(s)]
    assert schedule(1000).strength(800) == 1.0


@given(ramp=st.integers(1, 300), total=st.integers(10, 600))
def test_strength_changes_only_where_the_ramp_says(ramp, total):
    plan = schedule(total, ramp=ramp)
    for step in range(plan.phase1_end + 1, total):
        assert plan.ramps_at(step) == (plan.strength(step) != plan.strength(step - 1))
    assert not plan.ramps_at(plan.phase1_end)  # as the weights are set then
    assert not plan.ramps_at(total)  # as none is drawn any more
    assert plan.strength(plan.phase1_end + ramp) == 1.0


def test_extended_run_keeps_the_phase_2_that_had_begun():
    begun = schedule(200, fixed=80)
    assert begun.phase1_end == 80
    assert [s for s in range(201) if begun.scores_at(s)] == [80]
    assert schedule(200).phase1_end == 160


# ------------------------------------------------------------------ an end still to be found


def test_automatic_end_of_cifar10() -> None:
    plan = schedule(50_000, phase1="auto")
    # Windows of 5,000 steps; the newest is compared each 1,000, from half of the steps on.
    assert (plan.is_open, plan.phase1_end) == (True, 45_000)
    assert list(plan.comparisons) == list(range(25_000, 45_001, 1000))
    assert plan.comparison_lag == plan.window_steps == 5000
    assert plan.record_steps == range(15_100, 45_001, 100)
    found = dataclasses.replace(plan, fixed_phase1_end=31_000)
    assert not found.is_open
    assert found.record_steps == schedule(50_000, fixed=31_000).record_steps
    assert [s for s in range(0, 50_001, 100) if found.scores_at(s)] == [31_000]
    assert not any(found.records_at(s) for s in range(31_100, 50_001, 100))
    assert not found.snapshots_at(32_000)


@given(
    total=st.integers(2, 5000),
    every=st.integers(1, 100),
    window=st.integers(2, 60),
    fraction=st.floats(0.1, 1.0),
)
def test_compared_windows_are_full_share_no_record_and_leave_a_phase_2(
    total, every, window, fraction
):
    plan = schedule(
        total, record_every=every, window=window, record_fraction=fraction, phase1="auto"
    )
    assert 1 <= plan.phase1_end < total
    sweeps = -(-plan.window_steps // every)
    assert sweeps * fraction >= window - 1e-6
    for step in (plan.comparisons[0], plan.comparisons[-1]) if plan.comparisons else ():
        assert 0.5 * total - 0.5 <= step <= plan.phase1_end
        older = step - plan.comparison_lag
        assert plan.snapshots_at(step)
        assert plan.snapshots_at(older)
        new, old = (range(s - (sweeps - 1) * every, s + 1, every) for s in (step, older))
        assert not set(new) & set(old)
        assert all(map(plan.records_at, (*new, *old)))
    # Where nothing is found, T is as under a share.
    ended = dataclasses.replace(plan, fixed_phase1_end=plan.phase1_end)
    assert set(ended.record_steps) <= set(plan.record_steps) or not plan.comparisons


def test_a_run_that_only_diagnoses_has_no_end_to_find():
    plan = schedule(100, weighted=False, record_every=10, window=3, phase1="auto")
    assert not plan.is_open
    assert list(plan.record_steps) == [80, 90, 100]
    assert not any(plan.snapshots_at(step) for step in range(101))


@given(total=st.integers(1, 10_000))
def test_heat_map_is_swept_at_most_a_hundred_times(total):
    plan = schedule(total)
    swept = [0, *(s for s in range(total + 1) if plan.history_at(s))]
    assert len(swept) <= HISTORY_RECORDS
    assert total < HISTORY_RECORDS or len(swept) >= HISTORY_RECORDS // 2


def test_heat_map_ends_with_the_steps_that_were_announced():
    # In a loop of one's own more may follow; its memory must not grow with them.
    plan = schedule(1000)
    assert plan.history_at(plan.history_every)
    assert not plan.history_at(0)  # made before the first step
    assert not any(plan.history_at(step) for step in range(1001, 5000))


@given(old=st.integers(1, 5000), factor=st.floats(1.0, 5.0))
def test_heat_map_of_an_extended_run_stays_bounded(old, factor):
    new = int(old * factor)
    before = [0, *(s for s in range(old + 1) if schedule(old).history_at(s))]
    longer = schedule(new)
    kept = thin_history(before, longer.history_every)
    after = [s for s in range(old + 1, new + 1) if longer.history_at(s)]
    assert 0 in kept
    # At most one record falls closer to its neighbour where the two schedules meet.
    assert len(kept) + len(after) <= HISTORY_RECORDS + 1


def test_phase_1_has_at_least_one_step():
    ends = [schedule(total, phase1="auto").phase1_end for total in (1, 2, 3, 10, 14)]
    assert ends == [1, 1, 2, 9, 13]
    assert schedule(3, phase1=0.01).phase1_end == 1
    assert dataclasses.replace(schedule(3), total_steps=5).phase1_end == 4


def test_heat_map_falls_on_sweeps_where_these_are_closer():
    plan = schedule(4500, record_every=40, window=50, phase1=0.7)
    assert plan.history_every == 80
    shared = [step for step in plan.record_steps if plan.history_at(step)]
    assert len(shared) == 25
    # Where sweeps are farther apart, or are none, the heat map keeps its own steps.
    assert schedule(4500, record_every=100).history_every == 46
    assert schedule(4500, record_every=40, record="stream").history_every == 46
