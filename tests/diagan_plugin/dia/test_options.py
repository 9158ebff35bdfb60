from __future__ import annotations

import argparse
from dataclasses import fields

import pytest
from small_runs import manager

from diagan_plugin.dia.options import EPOCH, NAME, DiaOptions, add_options
from diagan_plugin.dia.plugin import DiaPlugin
from diagan_plugin.dia.refusals import check_options
from diagan_plugin.dia.schedule import Schedule, plan
from gan_registry.errors import UserError


@pytest.fixture
def table():
    return manager(dia=DiaPlugin()).options


def test_every_option_is_a_flag_and_a_key_with_the_same_default(table):
    resolved = table.resolve({})[NAME]
    assert set(resolved) == {field.name for field in fields(DiaOptions)}
    assert DiaOptions(**resolved) == DiaOptions()
    for option in table:
        assert option.flag in ("--diagnose", f"--dia-{option.name.replace('_', '-')}")


def test_defaults_are_the_papers():
    options = DiaOptions()
    # §4.4 and §5.2: 80 % of the steps, every 100, the last 50; §4.1: 0.01 and 50.
    assert (options.phase1, options.record_every, options.window) == (0.8, 100, 50)
    assert (options.min_clip, options.max_ratio) == (0.01, 50.0)


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("refresh", "once", 0),
        ("refresh", "25", 25),
        ("refresh", "epoch", EPOCH),
        ("ramp", "epoch", EPOCH),
        ("k", "0.3", 0.3),
        ("phase1", "1", 1.0),
        ("k", "auto", "auto"),
        ("phase1", "auto", "auto"),
    ],
)
def test_values_are_the_same_from_flag_and_config(table, name, text, value):
    parser = argparse.ArgumentParser()
    add_options(parser)
    flag = f"--dia-{name}"
    assert getattr(parser.parse_args([flag, text]), f"{NAME}.{name}") == value
    assert table.resolve({NAME: {name: text}})[NAME][name] == value


@pytest.mark.parametrize(
    ("name", "value", "says"),
    [
        ("k", -1, "at least 0"),
        ("k", "many", "a number, or 'auto'"),
        ("phase1", "car", "or 'auto'"),
        ("k", float("nan"), "at least 0"),
        ("k", float("inf"), "finite"),
        ("phase1", 0, "above 0"),
        ("phase1", 1.5, "at most 1"),
        ("window", 1, "at least 2"),
        ("window", 2.5, "whole number"),
        ("window", 2**64, "63 bits"),
        ("record_every", 0, "at least 1"),
        ("min_clip", 0, "above 0"),
        ("max_ratio", 0.5, "at least 1"),
        ("refresh", -3, "once"),
        ("record", "sweeps", "sweep"),
        ("logits", "evaluation", "eval"),
        ("diagnose", "yes please", "true or false"),
    ],
)
def test_bad_values_name_the_option_and_what_is_allowed(table, name, value, says):
    with pytest.raises(UserError) as caught:
        table.resolve({NAME: {name: value}}, where="my.yaml")
    assert f"PLUGINS.dia.{name}" in str(caught.value)
    assert "my.yaml" in str(caught.value)
    assert says in str(caught.value)


def test_too_few_records_name_an_interval_that_works():
    with pytest.raises(UserError) as caught:
        check_options(DiaOptions(), 100, True)
    assert "--dia-record-every 40" in str(caught.value)
    check_options(DiaOptions(record_every=40), 100, True)
    with pytest.raises(UserError):
        check_options(DiaOptions(record_every=41), 100, True)
    check_options(DiaOptions(record="stream"), 100, True)


def test_records_before_the_end_name_an_interval_that_works():
    def options(every: int) -> DiaOptions:
        return DiaOptions(record_every=every, last_record="before-end")

    with pytest.raises(UserError, match="--dia-record-every 39 or less"):
        check_options(options(40), 100, True)
    check_options(options(39), 100, True)
    with pytest.raises(UserError, match="use --dia-last-record through-end"):
        check_options(DiaOptions(phase1="auto", last_record="before-end"), 100_000, True)


def test_plan_counts_the_extra_samples():
    rows = plan(DiaOptions(), 50_000, True, 50_000, 5 * 64)
    history, sweeps = 84 * 2000, 50 * 50_000
    assert rows["discriminator_samples"] == history + sweeps + 10_000 * 6 * 5 * 64
    assert rows["records"] == "50 sweeps of 50000 samples, each 100 steps from 35100 to 40000"
    assert "40001–50000" in rows["phase 2"]
    steered = plan(DiaOptions(rule="feedback"), 50_000, True, 50_000, 5 * 64)
    added = steered["discriminator_samples"] - rows["discriminator_samples"]
    assert added == 10_000 * 2 * 5 * 64
    assert "steered" in steered["phase 2"]
    again = plan(DiaOptions(refresh=500), 50_000, True, 50_000, 5 * 64)
    refreshed = Schedule(DiaOptions(refresh=500), 50_000, True)
    more = sum(refreshed.records_at(step) for step in range(40_001, 50_001))
    assert again["discriminator_samples"] == rows["discriminator_samples"] + more * 50_000
    assert again["records"] == f"{rows['records']}, and on in phase 2"
    assert again["phase 2"].endswith(", scored again each 500 steps")
    only = plan(DiaOptions(diagnose=True, record="stream"), 1000, False, 100, 64)
    assert only["discriminator_samples"] == (1 + 1000 // 11) * 100
    assert "phase 2" not in only
    short = plan(DiaOptions(record_every=10), 100, True, 100, 64)
    assert "of a window of 50" in short["records"]


def test_an_automatic_phase_1_needs_two_windows_of_sweeps():
    with pytest.raises(UserError, match="--dia-record sweep"):
        check_options(DiaOptions(phase1="auto", record="stream"), 100_000, True)
    with pytest.raises(UserError, match="10000 steps") as caught:
        check_options(DiaOptions(phase1="auto"), 10_000, True)
    fitting = int(str(caught.value).split("--dia-record-every ")[1].split()[0])
    check_options(DiaOptions(phase1="auto", record_every=fitting), 10_000, True)
    with pytest.raises(UserError):
        check_options(DiaOptions(phase1="auto", record_every=fitting + 1), 10_000, True)
    with pytest.raises(UserError, match="use a smaller --dia-window"):
        check_options(DiaOptions(phase1="auto"), 50, True)
    # Nothing is found where nothing is weighted.
    check_options(DiaOptions(phase1="auto", record="stream"), 100, False)


def test_plan_bounds_what_an_automatic_phase_1_costs():
    options = DiaOptions(phase1="auto", k="auto")
    rows = plan(options, 50_000, True, 50_000, 5 * 64)
    assert "after step 25000 to 45000" in rows["phase 1"]
    assert rows["records"].startswith("300 sweeps at most of 50000 samples, each 100 steps")
    assert rows["phase 2"] == "from then to step 50000, drawn by score (k = auto)"
    history = 84 * 2000
    early = 100 * 50_000 + 25_000 * 6 * 5 * 64  # ends at once: few sweeps, a long phase 2
    late = 300 * 50_000 + 5_000 * 6 * 5 * 64
    assert rows["discriminator_samples"] == history + max(early, late)
    only = plan(options, 50_000, False, 50_000, 5 * 64)
    assert only["phase 1"] == "steps 1–50000, diagnosis alone"  # with whatever sampler


def test_a_preset_stands_in_for_defaults_only(table):
    chosen = DiaOptions(**table.resolve({"dia": {"preset": "replication"}})["dia"])
    assert (chosen.phase1, chosen.refresh, chosen.ramp) == (0.9, EPOCH, EPOCH)
    given = table.resolve({"dia": {"preset": "replication", "phase1": 0.6, "ramp": 7}})["dia"]
    chosen = DiaOptions(**given)
    assert (chosen.phase1, chosen.refresh, chosen.ramp) == (0.6, EPOCH, 7)
    in_steps = chosen.with_epochs(40)
    assert (in_steps.refresh, in_steps.ramp) == (40, 7)
    assert Schedule(in_steps, 1000, True).scores_at(640)
    assert not Schedule(in_steps, 1000, True).scores_at(650)


def test_a_ratio_layer_records_sweeps():
    with pytest.raises(UserError, match="--dia-record sweep"):
        check_options(DiaOptions(aux_ratio=True, record="stream"), 10_000, True)
