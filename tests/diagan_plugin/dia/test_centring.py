"""Where D's output is no density ratio its constant is arbitrary, and no score depends on it."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy.special import logsumexp
from small_runs import assert_equal_runs, fit, manager, points_config
from torch import nn

from diagan_plugin.dia.centring import as_a_ratio
from diagan_plugin.dia.plugin import DiaPlugin
from gan_registry.hookspecs import hookimpl


class Shifted(nn.Module):
    def __init__(self, network: nn.Module, constant: float) -> None:
        super().__init__()
        self.network, self.constant = network, constant

    def forward(self, x, y=None):
        return self.network(x, y) + self.constant


class Shift:
    """Adds a constant to all that D says, of which the Wasserstein loss knows nothing.

    It may drift from step to step.
    """

    def __init__(self, constant: float, drift: float = 0.0) -> None:
        self.constant, self.drift = constant, drift

    @hookimpl
    def gan_discriminator_updated(self, run):
        run.discriminator.constant += self.drift

    @hookimpl
    def gan_models_ready(self, run):
        run.discriminator = Shifted(run.discriminator, self.constant)


def driver_of(constant: float, folder=None, loss="wasserstein", drift=0.0, **dia):
    plugin = DiaPlugin()
    # Each sample comes by twice in a stream's phase 1.
    steps = 40 if dia.get("record") == "stream" else 8
    config = points_config(
        RUN__sampler="dia", LOSS__adv_loss=loss, LOSS__apply_wc=True, RUN__save_freq=steps // 2,
        OPTIMIZATION__total_steps=steps,
    )  # fmt: skip
    options = {"record_every": 1, "window": 3, "phase1": 0.75, **dia}
    plugins = manager(dia=plugin, shift=Shift(constant, drift))
    run = fit(config, folder, plugins, **plugins.options.resolve({"dia": options}))
    return run, plugin.driver(run)


RECORDS = [("sweep", "auto"), ("sweep", "generated"), ("stream", "auto")]


@pytest.mark.parametrize(("record", "centre"), RECORDS)
def test_a_constant_of_d_changes_no_score(record, centre):
    scores, weights = zip(
        *(
            (driver.weights.score, driver.weights.probabilities)
            for constant in (-60.0, 0.0, 60.0)
            for _, driver in [driver_of(constant, record=record, centre=centre)]
        ),
        strict=True,
    )
    for score, p in zip(scores, weights, strict=True):
        np.testing.assert_allclose(score, scores[1], atol=2e-4)
        np.testing.assert_allclose(p, weights[1], rtol=2e-2)


def test_as_it_is_the_constant_decides():
    raw = [driver_of(constant, centre="none")[1].weights.score for constant in (0.0, 60.0)]
    np.testing.assert_allclose(raw[1] - raw[0], 60.0, atol=1e-3)


def test_a_density_ratio_is_left_as_it_is_unless_asked():
    auto, none, data = (
        driver_of(0.0, loss="logistic", centre=c)[1].weights.score for c in ("auto", "none", "data")
    )
    np.testing.assert_array_equal(auto, none)
    assert np.abs(data - none).max() > 1e-3


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
@pytest.mark.parametrize("level", [0.0, -60.0, 900.0])
def test_a_ratio_s_inverse_averages_to_one_over_the_data(dtype, level):
    logits = (torch.randn(500, generator=torch.Generator().manual_seed(1)) + level).to(dtype)
    shifted = as_a_ratio(logits).double().numpy()
    raw = logits.double().numpy()
    expected = raw + logsumexp(-raw) - np.log(500)
    np.testing.assert_allclose(shifted, expected, rtol=1e-3, atol=2e-3)
    assert np.exp(-shifted).mean() == pytest.approx(1.0, rel=2e-3)


def test_what_is_not_finite_does_not_decide_the_level():
    logits = torch.tensor([1.0, 3.0, math.nan, math.inf, -math.inf])
    shifted = as_a_ratio(logits)
    torch.testing.assert_close(shifted[:2], as_a_ratio(logits[:2]))
    assert shifted[2].isnan()
    assert shifted[3:].tolist() == [math.inf, -math.inf]
    assert as_a_ratio(torch.tensor([7.0])).tolist() == [0.0]


def test_a_true_ratio_stays_where_it_is():
    """Between N(0, 1) and N(1/2, 1) the log ratio is 1/8 - x/2."""
    x = torch.randn(200_000, generator=torch.Generator().manual_seed(0))
    ratio = 0.125 - 0.5 * x
    torch.testing.assert_close(as_a_ratio(ratio + 5.0), ratio, atol=5e-3, rtol=0.0)


def test_a_wandering_constant_enters_no_variance():
    """D's constant goes from -30 to 30 in phase 1: the samples' LDRV must not notice."""
    still, wandering, raw = (
        driver_of(0.0, drift=drift, centre=centre)[1].recorder.moments()[1]
        for drift, centre in ((0.0, "auto"), (10.0, "auto"), (10.0, "none"))
    )
    np.testing.assert_allclose(wandering, still, atol=1e-4)
    assert raw.min() > 50 * still.max()


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
    options = {"record_every": 6, "window": 2, "phase1": 0.75, "centre": "generated", "refresh": 9}
    run = fit(config, None, manager(dia=plugin, spy=Spy()), dia=options)
    ring = plugin.driver(run).recorder.tracker.state_dict()["ring"]
    torch.testing.assert_close(ring[0], seen["expected"], atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize(("record", "centre"), RECORDS)
def test_centred_records_resume_bit_for_bit(tmp_path, record, centre):
    whole, _ = driver_of(0.0, tmp_path / "whole", record=record, centre=centre)
    driver_of(0.0, tmp_path / "parts", record=record, centre=centre)
    sorted((tmp_path / "parts" / "checkpoints").iterdir())[-1].unlink()
    resumed, _ = driver_of(0.0, tmp_path / "parts", record=record, centre=centre)
    assert resumed.first_step == resumed.total_steps // 2
    assert_equal_runs(whole, resumed)
