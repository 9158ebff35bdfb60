"""A ratio that is known up to a constant: what Dia makes of it, and who cannot do with it."""

from __future__ import annotations

import logging
import re

import numpy as np
import pytest
import torch
from scipy.special import logsumexp
from small_runs import fit, manager, points_config
from torch import nn
from torch.utils.data import TensorDataset

from diagan_plugin.dia.plugin import DiaPlugin
from diagan_plugin.hosts.kit.capabilities import ALL_HOOKS, Capabilities
from diagan_plugin.hosts.kit.networks import HostNetworks, NetworkView, gaussian
from diagan_plugin.hosts.kit.session import Session
from diagan_plugin.hosts.kit.settings import Settings
from diagan_plugin.postprocessing.options import PostOptions
from diagan_plugin.postprocessing.plugin import PostprocessingPlugin
from diagan_plugin.postprocessing.sources import RejectionSource, ThresholdSource
from diagan_plugin.remedies.gold import GoldPlugin
from diagan_plugin.remedies.mixtures.mix_plus_gan import MixPlusGanPlugin
from diagan_plugin.remedies.top_k import TopKPlugin
from gan_registry.errors import UserError
from gan_registry.losses.logistic import Logistic
from gan_registry.losses.relativistic import Relativistic
from gan_registry.records import Fake, Real


def run_of(loss="relativistic", plugins=None, options=None, **changes):
    plugins = plugins or manager(dia=DiaPlugin())
    config = points_config(
        LOSS__adv_loss=loss, LOSS__apply_r1_reg=True, LOSS__apply_r2_reg=True,
        OPTIMIZATION__total_steps=8, **changes,
    )  # fmt: skip
    return fit(config, None, plugins, **plugins.options.resolve(options or {}))


def dia(**options):
    return {"dia": {"record_every": 1, "window": 3, "phase1": 0.75, **options}}


def test_sweeps_take_the_constant_off_so_that_records_are_ratios(caplog):
    plugin = DiaPlugin()
    with caplog.at_level(logging.WARNING):
        run = run_of(plugins=manager(dia=plugin), options=dia(), RUN__sampler="dia")
    assert "density ratio" not in caplog.text
    driver = plugin.driver(run)
    records = driver.recorder.history_table()
    averages = logsumexp(-records.astype(np.float64), axis=1) - np.log(records.shape[1])
    np.testing.assert_allclose(averages, 0.0, atol=1e-5)
    assert driver.diagnosis(run).metadata["is_density_ratio"] == "True"
    # The auxiliary discriminator has the ratio itself.
    assert isinstance(driver.auxiliary.loss, Logistic)
    assert not isinstance(driver.auxiliary.loss, Relativistic)


@pytest.mark.parametrize("centre", ["none", "generated"])
def test_otherwise_it_says_that_the_ratio_is_known_up_to_a_constant(caplog, centre):
    plugin = DiaPlugin()
    with caplog.at_level(logging.WARNING):
        run = run_of(
            plugins=manager(dia=plugin), options=dia(centre=centre, diagnose=True),
        )  # fmt: skip
    assert "'relativistic' has a density ratio up to a constant only" in caplog.text
    assert plugin.driver(run).diagnosis(run).metadata["is_density_ratio"] == "False"


def test_rejection_needs_no_constant_and_a_fixed_score_does(caplog):
    plugins = manager(dia=DiaPlugin(), postprocessing=PostprocessingPlugin())
    run = run_of(plugins=plugins)

    def accepted(constant):
        class Shifted(nn.Module):
            network = run.discriminator

            def forward(self, x, y=None):
                return self.network(x, y) + constant

        kept, run.discriminator = run.discriminator, Shifted()
        try:
            return torch.cat(list(RejectionSource(run, 1, PostOptions()).batches(50)))
        finally:
            run.discriminator = kept

    with caplog.at_level(logging.WARNING):
        torch.testing.assert_close(accepted(0.0), accepted(4.0))
    assert "density ratio" not in caplog.text
    run.options["postprocessing"]["threshold_score"] = 0.5
    with pytest.raises(UserError, match="--threshold-percentile"):
        ThresholdSource(run)
    run.options["postprocessing"]["threshold_score"] = None
    assert ThresholdSource(run) is not None


@pytest.mark.parametrize(
    ("plugins", "changes", "options", "told"),
    [
        ({"gold": GoldPlugin()}, {}, {"gold": {"enabled": True}}, "--gold weights"),
        (
            {"mix_plus_gan": MixPlusGanPlugin(), "dia": DiaPlugin()},
            {"LOSS__objective": "mix_plus", "OPTIMIZATION__batch_size": 15}, {},
            "is of pairs: use LOSS.adv_loss=logistic",
        ),
    ],
)  # fmt: skip
def test_what_needs_the_ratio_itself_or_single_samples_is_refused(plugins, changes, options, told):
    with pytest.raises(UserError, match=re.escape(told)):
        run_of(plugins=manager(**plugins), options=options, **changes)


def test_only_the_order_counts_for_top_k():
    run = run_of(
        plugins=manager(top_k=TopKPlugin()), options={"top_k": {"enabled": True, "gamma": 0.5}}
    )
    assert run.step == 8


def test_an_adapter_weights_no_pairs():
    class Weights:
        from gan_registry.hookspecs import hookimpl

        @hookimpl
        def gan_discriminator_weights(self, real):
            return torch.ones(len(real.x)), None

        @hookimpl
        def gan_generator_weights(self, fake):
            return torch.ones(len(fake.x))

    data = torch.randn(40, 2, generator=torch.Generator().manual_seed(0))
    session = Session(
        Capabilities("Mine", ALL_HOOKS),
        Settings(plugins=manager(weights=Weights()), loss="relativistic"),
        TensorDataset(data), batch_size=10, total_steps=3, device=torch.device("cpu"),
    )  # fmt: skip
    d = nn.Linear(2, 1)
    views = NetworkView(nn.Linear(2, 2), False), NetworkView(d, False)
    session.networks(HostNetworks(*views, gaussian(2)))
    real, fake = Real(torch.arange(10), data[:10]), Fake(data[10:20], data[10:20])
    with pytest.raises(UserError, match="is of pairs, and the adapter for Mine weights single"):
        session.updates.discriminator(real, fake, d(real.x), d(fake.x))
    with pytest.raises(UserError, match="is of pairs"):
        session.updates.generator(fake, d(fake.x))
