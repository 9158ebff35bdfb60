"""The repeated identity of §4.2.2 in small: found where the FID sees nothing, and calibrated."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from diagan_plugin.blackbox.generator_calibration import calibrate, prior_latents
from diagan_plugin.blackbox.generators import ScriptGenerator
from gan_registry.features.base import Features
from gan_registry.metrics.frechet import fid

NUM = 6000


class Pixels:
    identity = "pixels"
    num_features = 64

    def __call__(self, samples):
        return Features(samples.flatten(1))


def distance(real, generator, z):
    return fid(real, generator(z).flatten(1))


@pytest.fixture(scope="module")
def calibrations(planted):
    generator = ScriptGenerator(planted)
    return {
        method: calibrate(generator, Pixels(), method, num=NUM, anchors=400, seed=1)
        for method in ("mixture", "hull")
    }


def test_mccs_finds_what_the_fid_does_not_notice(planted, plain, real, calibrations):
    with_, without = ScriptGenerator(planted), ScriptGenerator(plain)
    z = prior_latents(with_, NUM, 5, "fid")
    assert distance(real, with_, z) == pytest.approx(distance(real, without, z), rel=0.02)
    found = calibrations["hull"].before
    other = calibrate(without, Pixels(), "mixture", num=1500, anchors=200, seed=1,
                      theta=found.theta, radius=found.radius).before  # fmt: skip
    worst = found.modes[0]
    assert worst.mccs_interval.low > other.modes[0].mccs_interval.high
    assert worst.mccs_interval.low > found.typical_mccs + 0.05
    # It is the planted one: its image is that of the ball's centre.
    anchor = prior_latents(with_, 400, 1, "anchors")[worst.anchor]
    center = dict(with_._network.named_parameters())["center"].detach()
    assert float((anchor - center).norm()) < 1.15


def test_before_is_measured_on_samples_that_had_no_part_in_the_fit(planted, calibrations):
    """By the equations, on the draw that neither found the mode nor fitted the sampler."""
    generator = ScriptGenerator(planted)

    def unit(purpose, n):
        x = generator(prior_latents(generator, n, 1, purpose)).flatten(1).double()
        return x / x.norm(dim=1, keepdim=True)

    for found in calibrations.values():
        anchor = unit("anchors", 400)[found.before.modes[0].anchor]
        expected = {}
        for purpose in ("samples", "without"):
            d = torch.arccos((unit(purpose, NUM) @ anchor).clamp(-1, 1)) / torch.pi
            similar = torch.expm1((found.before.theta - d).clamp(min=0)) / np.expm1(
                found.before.theta
            )
            share = float((d <= found.before.radius).double().mean())
            expected[purpose] = share, float(1 / (1 - similar.mean().log()))
        before = found.modes[0][0]
        assert (before.share, before.mccs) == pytest.approx(expected["without"], abs=1e-4)
        assert before.share != pytest.approx(expected["samples"][0], abs=5e-4)
        assert before.share_interval.low < before.share < before.share_interval.high


@pytest.mark.parametrize("method", ["mixture", "hull"])
def test_calibration_lowers_it_and_leaves_the_fid(planted, real, calibrations, method):
    generator, found = ScriptGenerator(planted), calibrations[method]
    before, after = found.modes[0]
    drop = before.mccs - after.mccs
    assert drop > before.mccs_interval.high - before.mccs_interval.low
    assert after.mccs_interval.high < before.mccs_interval.low
    assert found.after.mean < found.before.mean
    assert after.share < before.share
    # The same noise in both, as far as that goes, so that chance does not decide.
    old = distance(real, generator, prior_latents(generator, NUM, 5, "fid"))
    new = distance(real, generator, found.latents.sample(NUM, 77))
    assert new == pytest.approx(old, rel=0.02)
    assert torch.isfinite(found.latents.sample(10)).all()
