"""Where D's output is no density ratio its constant is arbitrary, and no score depends on it."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from small_runs import assert_equal_runs, fit, manager, points_config
from torch import nn

from diagan_plugin.dia.plugin import DiaPlugin
from gan_registry.hookspecs import hookimpl


class Shifted(nn.Module):
    def __init__(self, network: nn.Module, constant: float) -> None:
        super().__init__()
        self.network, self.constant = network, constant

    def forward(self, x, y=None):
        return self.network(x, y) + self.constant


class Shift:
    """Adds a constant to all that D says, of which the Wasserstein loss knows nothing."""

    def __init__(self, constant: float) -> None:
        self.constant = constant

    @hookimpl
    def gan_models_ready(self, run):
        run.discriminator = Shifted(run.discriminator, self.constant)


def driver_of(constant: float, folder=None, loss="wasserstein", **dia):
    plugin = DiaPlugin()
    # Each sample comes by twice in a stream's phase 1.
    steps = 40 if dia.get("record") == "stream" else 8
    config = points_config(
        RUN__sampler="dia", LOSS__adv_loss=loss, LOSS__apply_wc=True, RUN__save_freq=steps // 2,
        OPTIMIZATION__total_steps=steps,
    )  # fmt: skip
    options = {"record_every": 1, "window": 3, "phase1": 0.75, **dia}
    plugins = manager(dia=plugin, shift=Shift(constant))
    run = fit(config, folder, plugins, **plugins.options.resolve({"dia": options}))
    return run, plugin.driver(run)


@pytest.mark.parametrize("record", ["sweep", "stream"])
def test_a_constant_of_d_changes_no_score(record):
    scores, weights = zip(
        *(
            (driver.score, driver.probabilities)
            for constant in (-60.0, 0.0, 60.0)
            for _, driver in [driver_of(constant, record=record, record_every=1)]
        ),
        strict=True,
    )
    for score, p in zip(scores, weights, strict=True):
        np.testing.assert_allclose(score, scores[1], atol=2e-4)
        np.testing.assert_allclose(p, weights[1], rtol=2e-2)


def test_as_it_is_the_constant_decides():
    raw = [driver_of(constant, centre="none")[1].score for constant in (0.0, 60.0)]
    np.testing.assert_allclose(raw[1] - raw[0], 60.0, atol=1e-3)


def test_a_density_ratio_is_left_as_it_is():
    scores = [driver_of(0.0, loss="logistic", centre=c)[1].score for c in ("generated", "none")]
    np.testing.assert_array_equal(*scores)


def test_records_are_relative_to_the_generated_samples_of_the_update():
    seen = {}

    class Spy:
        @hookimpl
        def gan_discriminator_updated(self, run, batches):
            seen[run.step + 1] = [batch.fake.x for batch in batches]

        @hookimpl
        def gan_step_end(self, run):
            if run.step == 6:
                x, _ = run.dataset.__getitems__(np.arange(len(run.dataset)))
                d = run.discriminator.eval()
                with torch.no_grad():
                    real, fake = run.logits(x), run.logits(torch.cat(seen[6]))
                seen["expected"] = real - fake.mean()
                d.train()

    plugin = DiaPlugin()
    config = points_config(RUN__sampler="dia", LOSS__adv_loss="wasserstein",
                           LOSS__apply_wc=True, OPTIMIZATION__total_steps=16)  # fmt: skip
    options = {"record_every": 6, "window": 2, "phase1": 0.75}
    run = fit(config, None, manager(dia=plugin, spy=Spy()), dia=options)
    ring = plugin.driver(run).recorder.tracker.state_dict()["ring"]
    torch.testing.assert_close(ring[0], seen["expected"], atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("record", ["sweep", "stream"])
def test_centred_records_resume_bit_for_bit(tmp_path, record):
    whole, _ = driver_of(0.0, tmp_path / "whole", record=record)
    driver_of(0.0, tmp_path / "parts", record=record)
    sorted((tmp_path / "parts" / "checkpoints").iterdir())[-1].unlink()
    resumed, _ = driver_of(0.0, tmp_path / "parts", record=record)
    assert resumed.first_step == resumed.total_steps // 2
    assert_equal_runs(whole, resumed)
