from __future__ import annotations

import pytest
import torch
from small_runs import assert_equal_runs, fit, manager, points_config
from torch import nn

from gan_registry.hookspecs import hookimpl
from gan_registry.training.rates import linear_decay


class Rates:
    def __init__(self):
        self.seen = []

    @hookimpl
    def gan_step_end(self, run):
        self.seen.append(run.optimizers["generator"].param_groups[0]["lr"])


def test_the_share_falls_from_one_to_nothing():
    assert [linear_decay(step, 4) for step in range(5)] == [1, 0.75, 0.5, 0.25, 0]
    assert [linear_decay(step, 6, 4) for step in range(7)] == [1, 1, 1, 1, 1, 0.5, 0]
    assert linear_decay(9, 4, 6) == 1


def test_a_run_lowers_its_rates_and_resumes_bit_for_bit(tmp_path):
    spy = Rates()
    changes = {"OPTIMIZATION__lr_decay": "linear", "RUN__save_freq": 3}
    config = points_config(**changes)
    whole = fit(config, tmp_path / "whole", manager(rates=spy))
    assert spy.seen == pytest.approx([1e-3 * (1 - step / 6) for step in range(6)])
    fit(config, tmp_path / "parts")
    last = sorted((tmp_path / "parts" / "checkpoints").iterdir())[-1]
    last.unlink()
    resumed = fit(config, tmp_path / "parts")
    assert resumed.first_step == 3
    assert_equal_runs(whole, resumed)


class Adding:
    """Trains nothing, but has optimisers: one that follows the schedule, and one that does not."""

    def __init__(self):
        self.seen = []

    @hookimpl
    def gan_models_ready(self, run):
        for name, scheduled in (("follows", True), ("stays", False)):
            layer = nn.Linear(1, 1)
            run.add(f"adding.{name}", layer)
            optimizer = torch.optim.SGD(layer.parameters(), 2e-3)
            run.add(f"adding.{name}_optimizer", optimizer, scheduled=scheduled)

    @hookimpl
    def gan_step_end(self, run):
        names = ("adding.follows_optimizer", "adding.stays_optimizer")
        self.seen.append([run.additions[name].param_groups[0]["lr"] for name in names])


def test_added_optimisers_follow_the_schedule_unless_they_ask_not_to(tmp_path):
    spy = Adding()
    config = points_config(OPTIMIZATION__lr_decay="linear", RUN__save_freq=3)
    fit(config, tmp_path, manager(adding=spy))
    expected = [[2e-3 * (1 - step / 6), 2e-3] for step in range(6)]
    assert spy.seen == [pytest.approx(pair) for pair in expected]
    sorted((tmp_path / "checkpoints").iterdir())[-1].unlink()
    resumed = Adding()
    fit(config, tmp_path, manager(adding=resumed))
    assert resumed.seen == [pytest.approx(pair) for pair in expected[3:]]


def test_rates_stay_by_default():
    spy = Rates()
    fit(points_config(), plugins=manager(rates=spy))
    assert set(spy.seen) == {1e-3}
