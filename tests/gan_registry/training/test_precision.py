from __future__ import annotations

import pytest
import torch
from scipy import stats
from small_runs import assert_equal_runs, digits_config, fit, manager, points_config
from synchronisation import ForbidSynchronisation
from torch import nn

from diagan_plugin.dia.driver import DiaDriver
from diagan_plugin.dia.plugin import DiaPlugin
from diagan_plugin.dia.progress import is_due
from gan_registry import dispatch_values
from gan_registry.errors import UserError
from gan_registry.hookspecs import hookimpl
from gan_registry.training import updates
from gan_registry.training.precision import Precision

DIA = {"k": 1.0, "record_every": 2, "phase1": 0.5}


class Spy:
    """Notes in what precision a step's parts are."""

    def __init__(self):
        self.seen = {}

    @hookimpl
    def gan_models_ready(self, run):
        run.discriminator.register_forward_hook(
            lambda module, inputs, output: self.seen.__setitem__("network", output.dtype)
        )

    @hookimpl
    def gan_discriminator_penalty(self, run, real, fake, real_out):
        assert not torch.is_autocast_enabled("cpu")
        self.seen["samples"] = {real.x.dtype, fake.x.dtype}
        out = run.discriminator(real.x.requires_grad_(True))
        self.seen["penalty"] = out.dtype
        (gradient,) = torch.autograd.grad(out.sum(), real.x, create_graph=True)
        return gradient.square().mean()

    @hookimpl
    def gan_discriminator_weights(self, run, real_logits):
        self.seen["logits"] = real_logits.dtype


@pytest.mark.parametrize(("name", "dtype"), [("bf16", torch.bfloat16), ("fp16", torch.float16)])
def test_networks_run_in_half_precision_and_penalties_in_float32(name, dtype):
    spy = Spy()
    run = fit(digits_config(RUN__mixed_precision=name), plugins=manager(spy=spy))
    assert spy.seen["samples"] == {torch.float32}
    assert spy.seen["penalty"] == spy.seen["logits"] == torch.float32
    assert {p.dtype for p in run.discriminator.parameters()} == {torch.float32}
    outputs = []
    handle = run.discriminator.register_forward_hook(lambda m, i, o: outputs.append(o.dtype))
    updates.update_generator(run, 0)
    handle.remove()
    assert outputs == [dtype]


def test_records_and_samples_for_plugins_are_made_in_half_precision_too():
    run = fit(digits_config(OPTIMIZATION__total_steps=60, MODEL__d_dropout=0.0))
    x = torch.stack([run.dataset[i][0] for i in range(600)])
    run.discriminator.eval()
    with torch.no_grad():
        exact = run.logits(x)
        made = run.generate(8).x
        seen = []
        for network in (run.discriminator, run.generator):
            network.register_forward_hook(lambda m, i, out: seen.append(out.dtype))
        run.precision = Precision("bf16", run.device)
        half = run.logits(x)
        run._draws.clear()
        made_half = run.generate(8).x
    assert seen == [torch.bfloat16] * 2
    assert half.dtype == made_half.dtype == torch.float32
    assert 0 < (half - exact).abs().max() < 0.2 * exact.std()
    assert stats.spearmanr(half, exact).statistic > 0.995
    assert 0 < (made_half - made).abs().max() < 0.1


@pytest.mark.parametrize(("name", "dtype"), [("bf16", torch.bfloat16), ("fp16", torch.float32)])
def test_the_auxiliary_discriminator_runs_in_bfloat16_but_not_in_float16(name, dtype):
    plugin, seen = DiaPlugin(), set()

    class Watch:
        @hookimpl
        def gan_step_end(self, run):
            driver = plugin.driver(run)
            if driver.auxiliary is not None and not seen:
                driver.auxiliary.discriminator.register_forward_hook(
                    lambda m, i, out: seen.add(out.dtype)
                )

    config = digits_config(RUN__sampler="dia", RUN__mixed_precision=name)
    fit(config, None, manager(dia=plugin, watch=Watch()), dia={"rule": "feedback", **DIA,
        "record_every": 1})  # fmt: skip
    assert seen == {dtype}


def test_a_run_in_bfloat16_ends_near_one_in_float32():
    begun, exact, half = (
        fit(points_config(RUN__mixed_precision=name, OPTIMIZATION__total_steps=steps))
        for name, steps in (("no", 1), ("no", 20), ("bf16", 20))
    )
    start, one, other = (
        torch.nn.utils.parameters_to_vector(run.generator.parameters())
        for run in (begun, exact, half)
    )
    assert not torch.equal(one, other)
    # Rounding to 8 bits is to shift the way by a small part of its length; measured is 1 %.
    assert (one - other).norm() < 0.04 * (one - start).norm()


@pytest.mark.parametrize("name", ["bf16", "fp16"])
def test_a_run_in_half_precision_resumes_bit_for_bit(name, tmp_path):
    plugins = manager
    config = digits_config(RUN__mixed_precision=name, OPTIMIZATION__total_steps=8)
    whole = fit(config, tmp_path / "whole", plugins())
    half = digits_config(RUN__mixed_precision=name, OPTIMIZATION__total_steps=4)
    fit(half, tmp_path / "parts", plugins())
    resumed = fit(config, tmp_path / "parts", plugins())
    assert_equal_runs(whole, resumed)
    assert whole.precision.state_dict() == resumed.precision.state_dict()


def test_an_overflow_in_float16_leaves_the_weights_and_lowers_the_scale():
    precision = Precision("fp16", torch.device("cpu"))
    network = nn.Linear(2, 1)
    optimizer = torch.optim.Adam(network.parameters(), fused=True)
    before = network.weight.detach().clone()
    x = torch.ones(4, 2)
    precision.backward(network(x).sum() * torch.inf, "generator")
    precision.step(optimizer, "generator")
    assert torch.equal(network.weight, before)
    scales = {name: state["scale"] for name, state in precision.state_dict().items()}
    assert scales["generator"] == scales["discriminator"] / 2
    optimizer.zero_grad()
    precision.backward(network(x).sum(), "generator")
    precision.step(optimizer, "generator")
    assert not torch.equal(network.weight, before)


def test_scaling_changes_nothing_but_the_range():
    networks = []
    for name in ("no", "fp16"):
        torch.manual_seed(0)
        network, precision = nn.Linear(3, 1), Precision(name, torch.device("cpu"))
        optimizer = torch.optim.Adam(network.parameters(), lr=0.1, fused=True)
        for step in range(3):
            optimizer.zero_grad()
            loss = (network(torch.full((2, 3), 1.0 + step)) ** 2).mean()
            precision.backward(loss, "generator")
            precision.step(optimizer, "generator")
        networks.append(network)
    torch.testing.assert_close(networks[0].weight, networks[1].weight, rtol=1e-6, atol=0)


def test_a_device_that_cannot_is_refused():
    with pytest.raises(UserError, match="not support on mps; use 'bf16' or 'no'"):
        Precision("fp16", torch.device("mps"))


@pytest.mark.parametrize("name", ["no", "bf16", "fp16"])
def test_a_training_step_never_waits_for_the_device(name, monkeypatch):
    monkeypatch.setattr(dispatch_values, "must_wait", lambda value: True)  # as on a GPU
    steps = {"discriminator": 0, "generator": 0, "step end": 0}

    def watched(function, counted):
        def call(*arguments):
            with ForbidSynchronisation():
                result = function(*arguments)
            steps[counted] += 1
            return result

        return call

    for network in ("discriminator", "generator"):
        name_of = f"update_{network}"
        monkeypatch.setattr(updates, name_of, watched(getattr(updates, name_of), network))
    step_end = DiaDriver.step_end

    def at_step_end(driver, run):
        # A step that scores reads the statistics once, that is once a run; and ten times a run they
        # are read for a verdict.
        scores = driver.schedule.scores_at(run.step) or is_due(run.step, run.total_steps)
        (step_end if scores else watched(step_end, "step end"))(driver, run)

    monkeypatch.setattr(DiaDriver, "step_end", at_step_end)
    config = digits_config(
        RUN__mixed_precision=name, RUN__sampler="dia", OPTIMIZATION__total_steps=20,
        RUN__print_freq=100,
    )  # fmt: skip
    run = fit(
        config, plugins=manager(dia=DiaPlugin()), dia={**_defaults(), **DIA, "record_every": 1}
    )
    assert "dia.auxiliary" in run.additions
    assert steps == {"discriminator": 20, "generator": 20, "step end": 11}


def _defaults():
    plugins = manager(dia=DiaPlugin())
    return plugins.options.resolve({})["dia"]
