from __future__ import annotations

import math
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from small_runs import assert_equal_runs, fit, manager, points_config
from torch import Tensor, nn
from torch.nn.functional import softplus

from diagan_plugin.dia.plugin import DiaPlugin
from diagan_plugin.remedies.gold import GoldPlugin, class_logits_of, gold_weights
from gan_registry.errors import UserError
from gan_registry.hookspecs import hookimpl
from gan_registry.records import Fake

LOGITS = torch.tensor([1.5, -0.5, 0.0, 2.0])


def test_a_batch_by_hand() -> None:
    assert gold_weights(LOGITS).tolist() == [1.5, 0.0, 0.0, 2.0]
    assert gold_weights(LOGITS, clamp="none").tolist() == [1.5, -0.5, 0.0, 2.0]
    # The fake part of the published loss: mean of logit · softplus(logit).
    published = sum(v * math.log1p(math.exp(v)) for v in LOGITS.tolist()) / 4
    ours = (gold_weights(LOGITS, clamp="none") * softplus(LOGITS)).mean()
    assert float(ours) == pytest.approx(published, rel=1e-6)


def test_the_conditional_form_by_hand() -> None:
    # Class probabilities 3/4 and 1/4.
    classes = torch.tensor([[math.log(3.0), 0.0]]).repeat(4, 1)
    y = torch.tensor([0, 1, 1, 0])
    gap = gold_weights(LOGITS, classes, y, clamp="none", eps=0.0)
    by_hand = [1.5 + math.log(0.75), -0.5 + math.log(0.25), math.log(0.25), 2.0 + math.log(0.75)]
    assert gap.tolist() == pytest.approx(by_hand, rel=1e-6)
    # A class that the classifier excludes is bounded by eps, in half precision too.
    for dtype in (torch.float32, torch.float16, torch.bfloat16):
        lost = gold_weights(
            torch.zeros(1, dtype=dtype), torch.tensor([[0.0, 100.0]], dtype=dtype),
            torch.tensor([0]), clamp="none",
        )  # fmt: skip
        assert lost.dtype == dtype
        assert float(lost) == pytest.approx(math.log(1e-6), rel=1e-2)


def test_weights_are_detached_and_odd_input_is_told() -> None:
    assert not gold_weights(LOGITS.clone().requires_grad_()).requires_grad
    assert gold_weights(torch.empty(0)).shape == (0,)
    assert gold_weights(torch.tensor([float("nan")])).isnan().all()
    for arguments, options in (
        ((LOGITS[:, None],), {}),
        ((LOGITS,), {"clamp": "one"}),
        ((LOGITS, torch.zeros(4, 2)), {}),
        ((LOGITS, torch.zeros(3, 2), torch.zeros(4, dtype=torch.int64)), {}),
    ):
        with pytest.raises(ValueError, match="Argument"):
            gold_weights(*arguments, **options)


def test_d_turns_more_strongly_against_fakes_that_it_takes_for_real() -> None:
    """The logits of two kinds of fakes, one that D takes for real, after steps of the same size."""

    def after(weighted: bool) -> Tensor:
        logits = torch.tensor([2.0, 0.2], requires_grad=True)
        for _ in range(20):
            weights = gold_weights(logits) if weighted else torch.ones(2)
            (gradient,) = torch.autograd.grad((weights * softplus(logits)).mean(), logits)
            logits = (logits - 0.05 * gradient / gradient.norm()).detach().requires_grad_()
        return logits.detach()

    gold, plain = after(True), after(False)
    assert gold[0] < plain[0] - 0.1
    assert gold[1] > plain[1] + 0.1


def test_without_the_clamp_a_weight_below_0_turns_the_sign() -> None:
    logits = torch.tensor([-1.0], requires_grad=True)
    for clamp, sign in (("none", -1.0), ("zero", 0.0)):
        term = (gold_weights(logits, clamp=clamp) * softplus(logits)).mean()
        (gradient,) = torch.autograd.grad(term, logits)
        assert gradient.sign().item() == sign


def config(total: int = 10, sampler: str = "uniform", **gold: Any) -> Any:
    made = points_config(OPTIMIZATION__total_steps=total, RUN__sampler=sampler)
    made.PLUGINS = {"gold": {"enabled": True, "clamp": "none", **gold}}
    return made


class Witness:
    """Notes the steps at which the product of all weights was not 1, and what hooks were shown."""

    def __init__(self) -> None:
        self.shown = 0

    @hookimpl
    def gan_discriminator_weights(
        self, run: Any, real_logits: Tensor, fake_logits: Tensor, real_out: Any, fake_out: Any
    ) -> None:
        for logits, out in ((real_logits, real_out), (fake_logits, fake_out)):
            assert torch.equal(logits, run.loss.log_density_ratio(out).detach())
        self.shown += 1

    @hookimpl
    def gan_generator_weights(self, run: Any, logits: Tensor, fake_out: Any) -> None:
        assert torch.equal(logits, run.loss.log_density_ratio(fake_out).detach())
        self.shown += 1


def test_weighting_hooks_see_ds_raw_output() -> None:
    witness = Witness()
    run = fit(points_config(), plugins=manager(witness=witness))
    assert witness.shown == 2 * run.step


@pytest.mark.parametrize("on", ["discriminator", "generator"])
def test_phase_1_is_untouched_and_phase_2_begins_on_time(on: str) -> None:
    never = fit(config(start=1.0, on=on), plugins=manager(gold=GoldPlugin()))
    assert_equal_runs(never, fit(points_config(OPTIMIZATION__total_steps=10), plugins=manager()))
    # The last of ten steps only.
    late = fit(config(start=0.9, on=on), plugins=manager(gold=GoldPlugin()))
    short = fit(points_config(OPTIMIZATION__total_steps=9), plugins=manager())
    assert late.step == 10
    with pytest.raises(AssertionError, match="differ"):
        assert_equal_runs(late, never)
    gone_on = fit(config(9, start=1.0, on=on), plugins=manager(gold=GoldPlugin()))
    assert_equal_runs(short, gone_on)


def starts(run: Any, plugin: GoldPlugin) -> int:
    for step in range(100):
        run.step = step
        if plugin.gan_state(run) is not None:
            return step
    return -1


def test_auto_begins_where_dia_does() -> None:
    for phase1, sampler, first in ((0.8, "uniform", 8), (0.6, "dia", 6), (0.6, "uniform", 6)):
        plugin = GoldPlugin()
        made = config(sampler=sampler)
        made.PLUGINS["dia"] = {"record_every": 1, "window": 2, "phase1": phase1}
        run = fit(made, plugins=manager(gold=plugin, dia=DiaPlugin()))
        assert starts(run, plugin) == first
    plugin = GoldPlugin()  # without Dia installed
    assert starts(fit(config(), plugins=manager(gold=plugin)), plugin) == 8


def test_what_has_begun_keeps_its_beginning_when_continued(tmp_path: Any) -> None:
    fit(config(10), tmp_path, manager(gold=GoldPlugin()))
    plugin = GoldPlugin()
    run = fit(config(20), tmp_path, manager(gold=plugin))
    assert run.first_step == 10
    assert starts(run, plugin) == 8


def test_class_logits_make_the_form_conditional() -> None:
    options = {"gold": {"enabled": True, "on": "discriminator", "clamp": "none", "start": 0.0}}
    run = SimpleNamespace(options=options, step=0, total_steps=10, log=lambda values: None)
    classes, y = torch.tensor([[0.0, 1.0]]).repeat(4, 1), torch.tensor([0, 1, 0, 1])
    fake = Fake(torch.zeros(4, 2), torch.zeros(4, 2), y)
    out = {"adv_output": LOGITS, "cls_output": classes}
    plugin = GoldPlugin()
    _, weights = plugin.gan_discriminator_weights(run, fake, LOGITS, out)
    assert torch.equal(weights, gold_weights(LOGITS, classes, y, clamp="none"))
    _, weights = plugin.gan_discriminator_weights(run, fake, LOGITS, LOGITS[:, None])
    assert torch.equal(weights, LOGITS)
    assert plugin.gan_generator_weights(run, fake, LOGITS, out) is None
    assert class_logits_of((LOGITS, classes)) is None


@pytest.mark.parametrize("value", ["soon", "1.5", "-0.1", "nan"])
def test_a_start_that_is_none_is_refused(value: str) -> None:
    with pytest.raises(UserError, match="or 'auto'"):
        fit(config(start=value), plugins=manager(gold=GoldPlugin()))


@pytest.mark.parametrize("on", ["discriminator", "generator"])
@pytest.mark.parametrize(("clamp", "says"), [("none", "negative"), ("zero", "all zero")])
def test_a_d_that_is_sure_of_its_fakes_stops_nothing(on: str, clamp: str, says: str) -> None:
    class Sure:
        """D takes every generated sample for one."""

        @hookimpl
        def gan_models_ready(self, run: Any) -> None:
            run.discriminator = Shifted(run.discriminator, -30.0)

    with pytest.warns(UserWarning, match=f"'gold': .* weights that are {says}"):
        run = fit(config(clamp=clamp, on=on), plugins=manager(gold=GoldPlugin(), sure=Sure()))
    assert run.step == run.total_steps


class Shifted(nn.Module):
    def __init__(self, network: nn.Module, constant: float) -> None:
        super().__init__()
        self.network, self.constant = network, constant

    def forward(self, x: Tensor, y: Tensor | None = None) -> Tensor:
        return self.network(x, y) + self.constant
