"""Options of Dia in a run that neither diagnoses nor weights."""

from __future__ import annotations

from typing import Any

import pytest
from small_runs import fit, manager, points_config

from diagan_plugin.dia.plugin import DiaPlugin
from diagan_plugin.remedies.loss_weighting.plugin import LossWeightingPlugin

GIVEN = {"rule": "feedback", "phase1": 0.5}


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"dia": GIVEN}, ["--dia-rule"]),  # where phase 1 ends concerns remedies, too
        ({"dia": {"phase1": 0.5, "diagnose": True, "record_every": 1, "k": 2.0}}, []),
        (
            {"dia": {**GIVEN, "diagnose": True, "record_every": 1, "aux_every": 2}},
            ["--dia-rule", "--dia-aux-every"],  # there is no phase 2
        ),
        ({"dia": {**GIVEN, "record_every": 1}, "loss_weighting": {"by": "ldr"}}, []),
        ({"dia": {"preset": "paper-code"}}, []),  # concerns others' options, too
        ({}, []),
    ],
)
def test_what_has_no_effect_is_named(
    options: dict[str, Any], named: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    plugins = manager(dia=DiaPlugin(), loss_weighting=LossWeightingPlugin())
    fit(points_config(), plugins=plugins, **plugins.options.resolve(options))
    said = [m for m in caplog.messages if "has no effect" in m]
    switch = "--sampler dia" if "diagnose" in options.get("dia", {}) else None
    switch = switch or "--sampler dia or --diagnose"
    assert said == [f"{flag} has no effect without {switch}." for flag in named]
    caplog.clear()
    config = points_config()  # a file serves runs with Dia and without
    config.PLUGINS = options
    fit(config, plugins=plugins)
    assert "has no effect" not in caplog.text


@pytest.mark.parametrize("by", ["none", "ldr"])
def test_a_phase_1_that_takes_all_steps_is_named(by: str, caplog: pytest.LogCaptureFixture) -> None:
    config = points_config(RUN__sampler="dia" if by == "none" else "uniform")
    config.PLUGINS = {"dia": {"phase1": 1.0, "record_every": 1}, "loss_weighting": {"by": by}}
    fit(config, plugins=manager(dia=DiaPlugin(), loss_weighting=LossWeightingPlugin()))
    assert "Phase 1 takes all 6 steps, so nothing is weighted by score" in caplog.text
