from __future__ import annotations

import pytest
import torch
from small_runs import fit, points_config
from torch import nn

from gan_registry.training.ema import MovingAverage, ema_decay


def test_the_half_life_is_in_images():
    # After half-life / batch steps the weight of the past is one half.
    decay = ema_decay(1e9, 32, 10.0, None)
    assert decay ** (10_000 / 32) == pytest.approx(0.5)
    assert ema_decay(0, 32, 10.0, 0.05) == 0.0  # nothing seen: no past to weigh
    assert ema_decay(2000, 32, 10.0, 0.05) == pytest.approx(0.5 ** (32 / 100))
    assert ema_decay(1e9, 32, 10.0, 0.05) == decay


def test_an_average_whose_decay_depends_on_the_step():
    network = nn.Linear(1, 1, bias=False)
    average = MovingAverage(network, lambda step: {1: 0.0, 2: 0.5}[step], 0)
    for step, value in ((1, 4.0), (2, 8.0)):
        with torch.no_grad():
            network.weight.fill_(value)
        average.update(network, step)
    assert float(average.average.weight) == 6.0


def test_before_its_start_it_is_the_network_and_buffers_always_are():
    network = nn.BatchNorm1d(1)
    average = MovingAverage(network, 0.75, 2)
    for step, value, expected in ((1, 4.0, 4.0), (2, 8.0, 8.0), (3, 16.0, 0.75 * 8 + 0.25 * 16)):
        with torch.no_grad():
            network.weight.fill_(value)
            network.running_mean.fill_(value)
        average.update(network, step)
        assert float(average.average.weight) == expected
        assert float(average.average.running_mean) == value
    assert not average.average.training
    assert not average.average.weight.requires_grad
    assert network.training


def test_a_configuration_chooses_it():
    settings = {"MODEL__apply_g_ema": True, "STYLEGAN__g_ema_kimg": 1.0}
    run = fit(points_config(**settings, OPTIMIZATION__total_steps=2))
    assert run.average.decay(1) == pytest.approx(0.5 ** (16 / 1000))
    run = fit(points_config(**settings, STYLEGAN__g_ema_rampup=0.5, OPTIMIZATION__total_steps=2))
    assert run.average.decay(1) == 0.0
    assert run.average.decay(3) == pytest.approx(0.5 ** (16 / 16))
