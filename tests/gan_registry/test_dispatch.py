from __future__ import annotations

import itertools
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from small_runs import manager

from gan_registry.dispatch import Dispatcher, PluginFailure
from gan_registry.errors import PluginError, UserError
from gan_registry.hookspecs import hookimpl
from gan_registry.records import Fake, Real
from gan_registry.report.document import Report

RUN: Any = SimpleNamespace()
X = torch.zeros(4, 2)
REAL, FAKE = Real(torch.arange(4), X), Fake(X, X)
LOGITS = torch.zeros(4)


def plugin(**hooks: Any) -> object:
    return type("Plugin", (), {name: hookimpl(hook) for name, hook in hooks.items()})()


def dispatcher(asked: Any = None, **plugins: object) -> Dispatcher:
    return Dispatcher(manager(**plugins), asked)


def contributing(seed: int) -> object:
    rng = torch.Generator().manual_seed(seed)
    real, fake, of_g = (torch.rand(4, generator=rng) + 0.5 for _ in range(3))
    size = torch.rand((), generator=rng)

    def weights(self, run, real_logits, fake_logits):
        return real, (None if seed == 2 else fake)

    return plugin(
        gan_discriminator_weights=weights,
        gan_generator_weights=lambda self, logits: of_g,
        gan_discriminator_penalty=lambda self, run: size,
        gan_generator_penalty=lambda self, fake_out: size / 3,
        gan_metrics=lambda self, fake: {f"metric {seed}": float(size)},
        gan_state=lambda self, run: {"seed": seed},
        gan_load_state=lambda self, run, state: None,
        gan_result=lambda self, run: {f"result {seed}": seed},
    )


def everything(hooks: Dispatcher) -> list[Any]:
    return [
        *hooks.discriminator_weights(RUN, REAL, FAKE, LOGITS, LOGITS),
        hooks.generator_weights(RUN, FAKE, LOGITS),
        hooks.discriminator_penalty(RUN, REAL, FAKE, None, None),
        hooks.generator_penalty(RUN, FAKE, None),
        hooks.metrics(RUN, X, X),
        hooks.state(RUN),
        hooks.result(RUN),
    ]


def test_the_order_of_plugins_cannot_change_a_result_not_even_in_the_last_bit():
    parts = {f"plugin{i}": contributing(i) for i in range(4)}
    results = [
        everything(dispatcher(**{name: parts[name] for name in order}))
        for order in itertools.permutations(parts)
    ]
    for result in results[1:]:
        for one, other in zip(results[0], result, strict=True):
            same = torch.equal(one, other) if isinstance(one, torch.Tensor) else one == other
            assert same


def test_weights_multiply_and_penalties_add():
    first, second = contributing(0), contributing(1)
    alone = [everything(dispatcher(p=p)) for p in (first, second)]
    both = everything(dispatcher(p=first, q=second))
    for i in range(3):
        assert torch.allclose(both[i], alone[0][i] * alone[1][i])
    for i in (3, 4):
        assert torch.allclose(both[i], alone[0][i] + alone[1][i])
    assert both[5] == {**alone[0][5], **alone[1][5]}
    assert both[6] == {"p": {"seed": 0}, "q": {"seed": 1}}


def test_a_hook_that_nobody_implements_is_not_called():
    hooks = dispatcher(p=plugin(gan_step_end=lambda self, run: None))
    assert hooks.implements("gan_step_end")
    assert not hooks.implements("gan_discriminator_weights")
    assert hooks.discriminator_weights(RUN, REAL, FAKE, LOGITS, LOGITS) == (None, None)
    assert hooks.generator_weights(RUN, FAKE, LOGITS) is None
    assert hooks.discriminator_penalty(RUN, REAL, FAKE, None, None) is None
    assert (hooks.metrics(RUN, X, X), hooks.state(RUN), hooks.plan(RUN)) == ({}, {}, [])


def test_each_method_passes_its_arguments_on():
    """Every hook of the loop reaches a plugin that takes all of its arguments."""
    seen = {}

    def recorder(name, *arguments):
        source = f"lambda self, {', '.join(arguments)}: note({name!r}, {', '.join(arguments)})"
        return eval(source, {"note": lambda name, *values: seen.update({name: values})})

    signatures = {
        "gan_build": ("run",),
        "gan_models_ready": ("run",),
        "gan_train_start": ("run",),
        "gan_real_logits": ("run", "real", "logits"),
        "gan_discriminator_weights": ("run", "real", "fake", "real_logits", "fake_logits"),
        "gan_discriminator_penalty": ("run", "real", "fake", "real_out", "fake_out"),
        "gan_discriminator_updated": ("run", "batches"),
        "gan_generator_weights": ("run", "fake", "logits"),
        "gan_generator_penalty": ("run", "fake", "fake_out"),
        "gan_step_end": ("run",),
        "gan_train_end": ("run",),
        "gan_state": ("run",),
        "gan_load_state": ("run", "state"),
        "gan_metrics": ("run", "real", "fake"),
        "gan_result": ("run",),
        "gan_plan": ("run",),
        "gan_report": ("run", "report"),
        "gan_logged": ("run", "values"),
        "gan_written": ("run", "kind", "path"),
    }
    hooks = dispatcher(p=plugin(**{n: recorder(n, *a) for n, a in signatures.items()}))
    for name, arguments in signatures.items():
        values = [SimpleNamespace() for _ in arguments]
        if name == "gan_load_state":
            values[1] = {"p": {"x": 1}}
        if name == "gan_logged":
            values[1] = {}
        getattr(hooks, name.removeprefix("gan_"))(*values)
        expected = (values[0], {"x": 1}) if name == "gan_load_state" else tuple(values)
        assert seen[name] == expected


W = torch.ones(4)


@pytest.mark.parametrize(
    ("result", "says"),
    [
        ((torch.ones(3), None), r"shape \(3,\), not \(4,\)"),
        ((None, torch.ones(4, 1)), r"shape \(4, 1\), not \(4,\)"),
        ((W.double(), None), "dtype torch.float64, not torch.float32"),
        ((torch.ones(4, device="meta"), None), "device meta, not cpu"),
        (([1.0] * 4, None), "list"),
        (W, "a pair"),
        ((W,), "a pair"),
    ],
)
def test_bad_weights_of_d_name_plugin_and_hook(result, says):
    hooks = dispatcher(p=plugin(gan_discriminator_weights=lambda self, run: result))
    with pytest.raises(PluginError, match=says) as caught:
        hooks.discriminator_weights(RUN, REAL, FAKE, LOGITS, LOGITS)
    assert "'p': gan_discriminator_weights" in str(caught.value)


@pytest.mark.parametrize(
    ("call", "hook", "result", "says"),
    [
        (lambda h: h.generator_weights(RUN, FAKE, LOGITS), "gan_generator_weights", W[:2], "shape"),
        (lambda h: h.generator_penalty(RUN, FAKE, None), "gan_generator_penalty", W, "scalar"),
        (lambda h: h.generator_penalty(RUN, FAKE, None), "gan_generator_penalty", 1.0, "scalar"),
        (
            lambda h: h.generator_penalty(RUN, FAKE, None),
            "gan_generator_penalty",
            torch.tensor(1),
            "dtype torch.int64",
        ),
        (
            lambda h: h.discriminator_penalty(RUN, REAL, FAKE, None, None),
            "gan_discriminator_penalty",
            torch.ones((), device="meta"),
            "device meta",
        ),
        (lambda h: h.step_end(RUN), "gan_step_end", 1, "an event and must return None"),
        (lambda h: h.metrics(RUN, X, X), "gan_metrics", {"a": "high"}, "numbers, but 'a'"),
        (lambda h: h.metrics(RUN, X, X), "gan_metrics", 1.0, "a mapping"),
        (lambda h: h.state(RUN), "gan_state", [1], "a mapping"),
        (lambda h: h.result(RUN), "gan_result", 3, "a mapping"),
    ],
)
def test_a_bad_result_names_plugin_and_hook(call, hook, result, says):
    with pytest.raises(PluginError, match=says) as caught:
        call(dispatcher(p=plugin(**{hook: lambda self, run: result})))
    assert f"'p': {hook}" in str(caught.value)


def test_two_metrics_of_one_name_collide():
    metric = {"gan_metrics": lambda self, run: {"fid": 1.0}}
    with pytest.raises(PluginError, match=r"'p' and 'q' both report a metric 'fid'"):
        dispatcher(p=plugin(**metric), q=plugin(**metric)).metrics(RUN, X, X)


def failing(self, run):
    raise KeyError("oops")


def test_a_failure_names_plugin_and_hook_and_keeps_its_cause():
    hooks = dispatcher(p=plugin(gan_step_end=failing))
    with pytest.raises(PluginFailure, match=r"Plugin 'p' failed in gan_step_end: KeyError") as e:
        hooks.step_end(RUN)
    assert isinstance(e.value.__cause__, KeyError)
    assert isinstance(e.value, PluginError)  # one line, and exit code 1
    assert "GAN_REGISTRY_DISABLE=p" in str(e.value)


def test_a_refusal_passes_through_unchanged():
    def refuse(self, run):
        raise UserError("--x and --y cannot work together.")

    for asked in (None, set(), {"p"}):
        with pytest.raises(UserError, match=r"^--x and --y cannot"):
            dispatcher(asked, p=plugin(gan_build=refuse)).build(RUN)


def test_ctrl_c_inside_a_hook_is_no_failure():
    def interrupt(self, run):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        dispatcher(set(), p=plugin(gan_step_end=interrupt)).step_end(RUN)


@pytest.mark.parametrize("bad", [failing, lambda self, run: "no event"])
def test_a_plugin_that_nobody_asked_for_is_dropped_with_a_warning(bad, warned):
    calls = []
    idle = plugin(gan_step_end=bad, gan_train_end=lambda self, run: calls.append("idle"))
    wanted = plugin(
        gan_step_end=lambda self, run: calls.append("wanted"),
        gan_train_end=lambda self, run: calls.append("end"),
    )
    hooks = dispatcher({"wanted"}, idle=idle, wanted=wanted)
    hooks.step_end(RUN)
    hooks.train_end(RUN)
    assert calls == ["wanted", "end"]
    (text,) = warned()
    assert "'idle'" in text
    assert "gan_step_end" in text
    assert "goes on without it" in text


def test_a_state_finds_its_plugin_or_an_error_that_names_it():
    def accept(self, run, state):
        raise ValueError("too old")

    hooks = dispatcher(set(), p=plugin(gan_load_state=accept))
    with pytest.raises(UserError, match=r"state of plugin 'gone', which is not loaded"):
        hooks.load_state(RUN, {"gone": {}})
    hooks.load_state(RUN, {})
    # Even if nobody asked for it: to go on without would silently be another run.
    says = (
        r"'p' cannot take back its state from the checkpoint \(gan_load_state: ValueError: too old"
    )
    with pytest.raises(UserError, match=says):
        hooks.load_state(RUN, {"p": {}})
    half = dispatcher(p=plugin(gan_state=lambda self, run: {}))
    with pytest.raises(PluginError, match="implements no gan_load_state"):
        half.load_state(RUN, {"p": {}})


def test_a_report_is_an_event():
    report, seen = Report(title="t"), []
    hooks = dispatcher(p=plugin(gan_report=lambda self, run, report: seen.append((run, report))))
    hooks.report(RUN, report)
    assert seen == [(RUN, report)]


def test_calling_names_who_is_being_called():
    seen = []
    hooks = dispatcher(p=plugin(gan_step_end=lambda self, run: seen.append(run.calling)))
    hooks.step_end(RUN)
    assert seen == [("p", "gan_step_end")]
    assert RUN.calling == ("", "")
