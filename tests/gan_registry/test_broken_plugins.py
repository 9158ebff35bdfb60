"""One table of ways to break a plugin: each ends with plugin and hook named, and the work saved.

A run of four steps breaks in its third. What is expected: exit code 1, a message of one line that
names plugin and hook and says what is wrong, and the state of step 2 in a checkpoint.
"""

from __future__ import annotations

import re
import sys
import warnings
from collections.abc import Callable
from inspect import signature
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from small_runs import assert_equal_runs, fit, manager, points_config
from torch import nn

from gan_registry import dispatch_values, hookspecs
from gan_registry.cli.main import run_command
from gan_registry.dispatch_guards import IN_STEP, IN_UPDATE
from gan_registry.errors import Diverged, PluginError
from gan_registry.evaluation.evaluate import evaluate
from gan_registry.hookspecs import hookimpl
from gan_registry.plugins import PluginManager
from gan_registry.report.write import write_report
from gan_registry.training import rescue
from gan_registry.training.checkpoint import checkpoint_steps, read_checkpoint
from gan_registry.training.run import Run

Act = Callable[[Run, dict[str, Any]], Any]
D_WEIGHTS, G_WEIGHTS = "gan_discriminator_weights", "gan_generator_weights"
PENALTIES = ("gan_discriminator_penalty", "gan_generator_penalty")
UPDATED, END, STATE = "gan_discriminator_updated", "gan_step_end", "gan_state"
NAN = float("nan")


class Row(NamedTuple):
    """A way to break a plugin: in which hook, what it does, what is said, which step is saved."""

    hook: str
    what: str
    act: Act
    says: str
    saved: int = 2


def breaking(hook: str, act: Act, step: int = 3) -> object:
    """A plugin whose hook does as it is told in one step, and nothing in any other."""
    names = list(signature(getattr(hookspecs, hook)).parameters)

    def call(**given: Any) -> Any:
        run = given["run"]
        at = run.step + (hook in IN_STEP and hook != END)
        return act(run, given) if at == step else {} if hook == STATE else None

    inner = ", ".join(f"{name}={name}" for name in names)
    function = eval(f"lambda self, {', '.join(names)}: call({inner})", {"call": call})
    hooks: dict[str, Any] = {hook: hookimpl(function)}
    if hook == STATE:
        hooks["gan_load_state"] = hookimpl(lambda self, run, state: None)
    return type("Broken", (), hooks)()


def raising(error: BaseException) -> Act:
    def act(run: Run, given: dict[str, Any]) -> None:
        raise error

    return act


def leaving(change: Callable[[Run], Any]) -> Act:
    def act(run: Run, given: dict[str, Any]) -> None:
        change(run)

    return act


def giving(make: Callable[[torch.Tensor], Any]) -> Act:
    """Weights made of the logits that they belong to."""

    def act(run: Run, given: dict[str, Any]) -> Any:
        return make(given["logits"]) if "logits" in given else (None, make(given["fake_logits"]))

    return act


def recurse(run: Run) -> None:
    recurse(run)


def fill(network: str, value: float) -> Callable[[Run], Any]:
    def change(run: Run) -> None:
        with torch.no_grad():
            next(iter(getattr(run, network).parameters())).fill_(value)

    return change


def freed(run: Run, given: dict[str, Any]) -> torch.Tensor:
    """A penalty of which the graph has been used up."""
    penalty = given["fake_out"].square().mean()
    torch.autograd.grad(penalty, list(run.generator.parameters()), allow_unused=True)
    return penalty


def in_place(run: Run, given: dict[str, Any]) -> None:
    batch = given["batches"][0] if "batches" in given else given
    part = getattr(batch, "real", None) or given.get("real") or given["fake"]
    with torch.no_grad():
        part.x.mul_(2)


class Extra(nn.Module):
    """A network whose state cannot be saved."""

    def get_extra_state(self) -> Any:
        return object()


def add_twice(run: Run) -> None:
    run.add("bad.net", nn.Linear(1, 1))
    run.add("bad.net", nn.Linear(1, 1))


class Strange(torch.Tensor):
    """A subclass that insists on itself."""


ROWS = [
    *(
        Row(h, "error", raising(ValueError("two\nlines")), "ValueError: two lines")
        for h in sorted(IN_STEP)
    ),
    *(Row(h, "exit", raising(SystemExit(0)), "SystemExit: 0") for h in sorted(IN_STEP)),
    *(
        Row(h, "gradients off", leaving(lambda run: torch.set_grad_enabled(False)), "gradients")
        for h in sorted(IN_STEP - {"gan_real_logits"})
    ),
    *(
        Row(h, "dtype", leaving(lambda run: torch.set_default_dtype(torch.float64)), "dtype")
        for h in sorted(IN_STEP)
    ),
    *(Row(h, "returns", lambda run, given: 1, "must return") for h in sorted(IN_STEP)),
    *(Row(h, "samples changed", in_place, "in place") for h in sorted(IN_STEP - {END})),
    *(
        Row(h, "weights changed", leaving(fill("discriminator", 0.0)), "middle of an update")
        for h in sorted(IN_UPDATE)
    ),
    *(
        Row(h, f"{n} frozen", leaving(lambda run, n=n: getattr(run, n).requires_grad_(False)),
            f"{n} frozen")
        for h in (UPDATED, END, "gan_real_logits") for n in ("generator", "discriminator")
    ),
    *(
        Row(h, f"{n} NaN", leaving(fill(n, NAN)), f"NaN or infinite values into the {n}")
        for h in (UPDATED, END) for n in ("generator", "discriminator")
    ),
    *(
        Row(h, "eval mode", leaving(lambda run: run.discriminator.eval()), "eval mode")
        for h in ("gan_real_logits", END)
    ),
    *(
        Row(h, "replaced", leaving(lambda run: setattr(run, "generator", nn.Identity())),
            "replaced the generator")
        for h in (UPDATED, END, G_WEIGHTS)
    ),
    *(
        Row(h, what, giving(make), says)
        for h in (D_WEIGHTS, G_WEIGHTS)
        for what, make, says in (
            ("NaN", lambda x: x * NAN, "weights that are NaN"),
            ("one NaN", lambda x: torch.cat([x[1:] * 0 + 1, x[:1] * NAN]), "weights that are NaN"),
            ("inf", lambda x: x * 0 + torch.inf, "weights that are infinite"),
            ("-inf", lambda x: x * 0 - torch.inf, "weights that are infinite"),
            ("shape", lambda x: x[:3], "shape"),
            ("dtype", lambda x: x.double(), "dtype"),
            ("device", lambda x: x.to("meta"), "device meta"),
            ("sparse", lambda x: x.to_sparse(), "layout"),
            ("list", lambda x: [1.0] * len(x), "list"),
        )
    ),
    *(
        Row(h, what, lambda run, given, penalty=penalty: penalty, says)
        for h in PENALTIES
        for what, penalty, says in (
            ("NaN", torch.tensor(NAN), "penalty that is nan"),
            ("inf", torch.tensor(torch.inf), "penalty that is inf"),
            ("vector", torch.ones(3), r"shape \(3,\)"),
            ("float", 1.0, "scalar"),
            ("whole", torch.tensor(1), "dtype torch.int64"),
            ("complex", torch.tensor(1j), "dtype torch.complex64"),
            ("device", torch.ones((), device="meta"), "device meta"),
            ("sparse", torch.tensor(1.0).to_sparse(), "layout"),
        )
    ),
    Row("gan_generator_penalty", "used graph", freed, "gradients of a loss"),
    *(
        Row(END, f"log {type(value).__name__}", leaving(lambda run, v=value: run.log({"a": v})),
            r"run\.log: 'a'")
        for value in (object(), torch.ones(2), torch.ones((), device="meta"), 1j, {"b": {1, 2}})
    ),
    Row(END, "log name", leaving(lambda run: run.log({1: 2})), r"run\.log: the name 1"),
    Row(END, "stop", leaving(lambda run: run.stop(object())), r"run\.stop"),
    Row(END, "add twice", leaving(add_twice), "'bad.net' is taken"),
    Row(END, "add a thing", leaving(lambda run: run.add("bad.x", object())), r"run\.add takes"),
    Row(END, "add unsavable", leaving(lambda run: run.add("bad.x", Extra())), "the state of"),
    Row(END, "generator exit", raising(GeneratorExit()), "GeneratorExit"),
    Row(END, "recursion", leaving(recurse), "RecursionError"),
    Row(END, "memory", raising(MemoryError()), "MemoryError"),
    Row(END, "device memory", raising(torch.OutOfMemoryError("CUDA\n" * 500)), "OutOfMemoryError"),
    Row(END, "exit with words", raising(SystemExit("bye")), "SystemExit: bye"),
    Row(END, "missing", leaving(lambda run: run.nothing), "no attribute 'nothing'"),
    Row(STATE, "error", raising(ValueError("no")), "ValueError: no", saved=3),
]  # fmt: skip
"""What breaks in the third step."""

LATER = [
    Row(STATE, "object", lambda run, given: {"a": object()}, "cannot be saved"),
    Row(STATE, "list", lambda run, given: [1], "must return a mapping"),
    Row(STATE, "meta", lambda run, given: {"a": torch.ones(1, device="meta")}, "device meta"),
    Row(STATE, "error", raising(ValueError("no")), "ValueError: no"),
    Row(STATE, "exit", raising(SystemExit(3)), "SystemExit: 3"),
]
"""What breaks as a checkpoint of the last step is written: the one before is saved."""

AFTER = [
    Row("gan_train_end", "error", raising(ValueError("no")), "ValueError: no"),
    Row("gan_train_end", "exit", raising(SystemExit(0)), "SystemExit: 0"),
    Row("gan_metrics", "error", raising(ValueError("no")), "ValueError: no"),
    Row("gan_metrics", "text", lambda run, given: {"a": "high"}, "numbers, but 'a'"),
    Row("gan_metrics", "name", lambda run, given: {1: 1.0}, "numbers, but 1"),
    Row("gan_result", "object", lambda run, given: {"a": object()}, "result.json cannot hold"),
    Row("gan_result", "meta", lambda run, given: {"a": torch.ones(1, device="meta")}, "hold"),
    Row("gan_result", "list", lambda run, given: [1], "must return a mapping"),
    Row("gan_result", "exit", raising(SystemExit(0)), "SystemExit: 0"),
    Row("gan_report", "error", raising(ValueError("no")), "ValueError: no"),
    Row("gan_report", "exit", raising(SystemExit(0)), "SystemExit: 0"),
    Row("gan_report", "returns", lambda run, given: 1, "must return None"),
    Row("gan_logged", "error", raising(ValueError("no")), "ValueError: no"),
    Row("gan_written", "error", raising(ValueError("no")), "ValueError: no"),
]
"""What breaks when the training is done."""

BEFORE = [
    Row(hook, what, act, says)
    for hook in ("gan_build", "gan_models_ready", "gan_train_start")
    for what, act, says in (
        ("error", raising(ValueError("no")), "ValueError: no"),
        ("exit", raising(SystemExit(0)), "SystemExit: 0"),
        ("gradients off", leaving(lambda run: torch.set_grad_enabled(False)), "gradients"),
        ("returns", lambda run, given: 1, "must return None"),
    )
]
"""What breaks before the first step."""


def named(row: Row) -> str:
    return f"{row.hook} {row.what}"


@pytest.fixture(autouse=True)
def modes_are_as_before() -> Any:
    yield
    assert torch.is_grad_enabled()
    assert torch.get_default_dtype() is torch.float32


def config(**changes: Any) -> Any:
    return points_config(
        OPTIMIZATION__total_steps=4, RUN__print_freq=2, RUN__num_eval=50, **changes
    )


def command(folder: Path, plugin: object, whole: bool = False) -> Callable[[], int]:
    def run() -> int:
        trained = fit(config(), folder, manager(bad=plugin))
        if whole:
            evaluate(trained)
            write_report(trained)
        return 0

    return run


def check(row: Row, code: int, told: str) -> None:
    assert code == 1
    assert len(told.splitlines()) == 1
    assert len(told) < 1000
    assert "'bad'" in told
    assert row.hook in told
    assert re.search(row.says, told), told


def test_the_table_is_long_enough() -> None:
    assert len({named(row) for row in (*ROWS, *LATER, *AFTER, *BEFORE)}) >= 80


@pytest.mark.parametrize("row", ROWS, ids=named)
def test_what_breaks_in_a_step_is_named_and_the_step_before_is_saved(
    row: Row, tmp_path: Path, capsys: Any
) -> None:
    step = 3 if row.hook != STATE else 4
    code = run_command(command(tmp_path, breaking(row.hook, row.act, step)), "p")
    told = capsys.readouterr().err
    check(row, code, told)
    assert f"The state of step {row.saved} is saved; the same command continues" in told
    assert checkpoint_steps(tmp_path) == [row.saved]
    lines = (tmp_path / "metrics.jsonl").read_text().splitlines()
    assert len(lines) == row.saved // 2 + (row.hook == STATE)


@pytest.mark.parametrize("row", LATER, ids=named)
def test_what_cannot_be_saved_is_named_and_the_step_before_is_saved(
    row: Row, tmp_path: Path, capsys: Any
) -> None:
    code = run_command(command(tmp_path, breaking(row.hook, row.act, 4)), "p")
    check(row, code, capsys.readouterr().err)
    assert checkpoint_steps(tmp_path) == [3]


@pytest.mark.parametrize("row", AFTER, ids=named)
def test_what_breaks_after_the_training_finds_it_saved(
    row: Row, tmp_path: Path, capsys: Any
) -> None:
    code = run_command(command(tmp_path, breaking(row.hook, row.act, 4), whole=True), "p")
    told = capsys.readouterr().err
    check(row, code, told)
    assert checkpoint_steps(tmp_path) == [4]
    assert ("checkpoint of step 4 is kept" in told) == (row.hook == "gan_train_end")
    assert ("result.json is whole" in told) == (row.hook == "gan_report")
    assert (tmp_path / "result.json").exists() == (row.hook == "gan_report")


@pytest.mark.parametrize("row", BEFORE, ids=named)
def test_what_breaks_before_the_training_has_nothing_to_save(
    row: Row, tmp_path: Path, capsys: Any
) -> None:
    code = run_command(command(tmp_path, breaking(row.hook, row.act, 0)), "p")
    check(row, code, capsys.readouterr().err)
    assert checkpoint_steps(tmp_path) == []


@pytest.mark.parametrize("step", [1, 2])
def test_the_first_step_leaves_nothing_to_save(step: int, tmp_path: Path, capsys: Any) -> None:
    broken = breaking(END, raising(ValueError("no")), step)
    assert run_command(command(tmp_path, broken), "p") == 1
    told = capsys.readouterr().err
    assert ("No step was saved; the same command starts anew." in told) == (step == 1)
    assert checkpoint_steps(tmp_path) == [step - 1] * (step - 1)


def test_a_state_that_can_never_be_saved_is_named_in_the_first_step(
    tmp_path: Path, capsys: Any
) -> None:
    broken = breaking(STATE, lambda run, given: {"a": object()}, 1)
    assert run_command(command(tmp_path, broken), "p") == 1
    assert "Plugin 'bad': gan_state returned what cannot be saved" in capsys.readouterr().err
    assert checkpoint_steps(tmp_path) == []


SAMPLE = [
    row for row in ROWS
    if row.what in ("error", "NaN", "samples changed") and row.hook != STATE
]  # fmt: skip


@pytest.mark.parametrize("row", SAMPLE, ids=named)
def test_with_a_mended_plugin_the_run_ends_as_if_nothing_had_been(row: Row, tmp_path: Path) -> None:
    with pytest.raises(PluginError):
        fit(config(), tmp_path / "run", manager(bad=breaking(row.hook, row.act)))
    continued = fit(config(), tmp_path / "run", manager(bad=breaking(row.hook, row.act, -1)))
    assert continued.first_step == row.saved
    assert_equal_runs(fit(config(), None, manager()), continued)
    steps = [
        line.split(",")[0] for line in (tmp_path / "run/metrics.jsonl").read_text().split("\n")
    ]
    assert steps == ['{"step": 2', '{"step": 4', ""]


@pytest.mark.parametrize("row", [r for r in ROWS if "that are" in r.says or "that is" in r.says],
                         ids=named)  # fmt: skip
def test_on_a_device_that_must_not_be_waited_for_the_step_is_named_later(
    row: Row, tmp_path: Path, monkeypatch: Any
) -> None:
    monkeypatch.setattr(dispatch_values, "must_wait", lambda value: True)
    with pytest.raises(PluginError, match=f"{row.says}.* in step 3.*step 2 is saved") as caught:
        fit(config(), tmp_path, manager(bad=breaking(row.hook, row.act)))
    assert f"Plugin 'bad': {row.hook}" in str(caught.value)
    assert checkpoint_steps(tmp_path) == [2]


@pytest.mark.parametrize("later", [False, True])
def test_no_plugin_is_to_blame_for_weights_of_logits_that_are_not_finite(
    later: bool, monkeypatch: Any
) -> None:
    monkeypatch.setattr(dispatch_values, "must_wait", lambda value: later)

    class Honest:
        @hookimpl
        def gan_discriminator_weights(self, run: Run, real_logits: Any) -> Any:
            return real_logits.sigmoid(), None

        @hookimpl
        def gan_step_end(self, run: Run) -> None:
            if run.step == 2:
                for parameter in run.discriminator.parameters():
                    parameter.data.fill_(NAN)

    with pytest.raises(Diverged, match=r"the sum of D's logits is nan at step 3: .* diverged"):
        fit(config(), None, manager(p=Honest()))


def spoil(run: Run) -> None:
    for parameter in run.generator.parameters():
        parameter.data.fill_(NAN)  # what no counter notices


@pytest.mark.parametrize("later", [False, True])
def test_a_loss_that_is_not_finite_is_known_by_its_step_and_the_last_finite_one_saved(
    later: bool, tmp_path: Path, monkeypatch: Any
) -> None:
    monkeypatch.setattr(dispatch_values, "must_wait", lambda value: later)
    far = config()
    far.RUN.print_freq = 100 if later else 1
    with pytest.raises(
        Diverged, match=r"loss/discriminator is nan at step 4.*step 2, the last"
    ) as e:
        fit(far, tmp_path, manager(bad=breaking(END, leaving(spoil))))
    assert e.value.step == 4
    assert checkpoint_steps(tmp_path) == [2]  # that of step 3 holds NaN


def test_numbers_travel_in_batches_and_the_first_bad_one_is_told(monkeypatch: Any) -> None:
    monkeypatch.setattr(dispatch_values, "must_wait", lambda value: True)
    values, seen = dispatch_values.DeviceValues(), []

    def judge(value: float) -> Exception | None:
        seen.append(value)
        return ValueError(str(value)) if value < 0 else None

    for number in range(100):
        values.check(torch.tensor(float(number if number != 70 else -70)), judge)
    assert len(values._noted) == 100 - dispatch_values.BATCH  # the others are on their way
    values.poll()
    assert seen == []  # without a device's event it is not known what has arrived
    with pytest.raises(ValueError, match="-70"):
        values.settle()
    assert seen[:70] == list(range(70))


@pytest.mark.parametrize(
    ("hook", "act"),
    [
        (END, raising(SystemExit(0))),
        (END, leaving(lambda run: run.log({"a": object()}))),
        (END, leaving(lambda run: torch.set_grad_enabled(False))),
        (G_WEIGHTS, giving(lambda x: x * NAN)),
        ("gan_generator_penalty", lambda run, given: torch.tensor(NAN)),
        (STATE, lambda run, given: {"a": object()}),
        ("gan_train_end", raising(SystemExit(0))),
        ("gan_result", lambda run, given: {"a": object()}),
        ("gan_report", raising(ValueError("no"))),
    ],
)
def test_a_plugin_that_nobody_asked_for_is_left_out_and_everything_else_written(
    hook: str, act: Act, tmp_path: Path, warned: Any
) -> None:
    plugins = manager(bad=breaking(hook, act, 3 if hook in IN_STEP else 4))
    plugins.infos["bad"].given = False  # as if it had been found among the installed ones
    run = fit(config(), tmp_path, plugins)
    evaluate(run)
    write_report(run)
    assert_equal_runs(fit(config(), None, manager()), run)
    (text,) = [text for text in warned() if "goes on without it" in text]
    assert "'bad'" in text
    assert hook in text
    assert read_checkpoint(tmp_path, 4)["plugins"].get("bad") is None or hook != STATE
    assert (tmp_path / "report.html").exists()


def test_what_takes_too_long_is_left_to_the_newest_checkpoint(
    tmp_path: Path, monkeypatch: Any
) -> None:
    monkeypatch.setattr(rescue, "PATIENCE", 0.0)
    broken = breaking(END, raising(ValueError("no")), 4)
    with pytest.raises(PluginError, match=r"would take about .* The checkpoint of step 2 is kept"):
        fit(config(RUN__save_freq=2), tmp_path, manager(bad=broken))
    assert checkpoint_steps(tmp_path) == [2]


@pytest.mark.parametrize("again", [ValueError("again"), KeyboardInterrupt(), SystemExit(0)])
def test_what_fails_a_second_time_is_left_to_the_newest_checkpoint(
    again: BaseException, tmp_path: Path
) -> None:
    starts = []

    class Fails:
        @hookimpl
        def gan_train_start(self, run: Run) -> None:
            starts.append(run)
            if len(starts) == 2:
                raise again

        @hookimpl
        def gan_step_end(self, run: Run) -> None:
            if run.step == 4:
                raise ValueError("first")

    says = (
        r"ValueError: first.*Step 3 could not be trained again\. The checkpoint of step 2 is kept"
    )
    with pytest.raises(PluginError, match=says):
        fit(config(RUN__save_freq=2), tmp_path, manager(bad=Fails()))
    assert len(starts) == 2


def test_what_is_about_to_be_done_is_said_and_ctrl_c_is_no_failure(
    tmp_path: Path, capsys: Any
) -> None:
    from gan_registry.training.trainer import train

    broken = breaking(END, raising(ValueError("no")))
    with pytest.raises(PluginError):
        train(config(), tmp_path / "a", manager(bad=broken), {})
    assert "saving step 2: training again from step 0, about " in capsys.readouterr().err
    with pytest.raises(KeyboardInterrupt):
        train(
            config(), tmp_path / "b", manager(bad=breaking(END, raising(KeyboardInterrupt()))), {}
        )
    assert "saving" not in capsys.readouterr().err
    assert checkpoint_steps(tmp_path / "b") == []


def test_an_error_that_is_no_plugin_s_keeps_its_own_words_and_the_work_is_saved(
    tmp_path: Path, capsys: Any, monkeypatch: Any
) -> None:
    from gan_registry.training import updates
    from gan_registry.training.trainer import train

    update = updates.update_generator

    def fail(run: Run, number: int) -> None:
        if run.step == 2:
            raise ZeroDivisionError("by zero")
        update(run, number)

    monkeypatch.setattr(updates, "update_generator", fail)
    with pytest.raises(ZeroDivisionError, match=r"^by zero$"):
        train(config(), tmp_path, manager(), {})
    assert "The state of step 2 is saved" in capsys.readouterr().err
    assert checkpoint_steps(tmp_path) == [2]


def test_a_run_that_failed_gives_its_memory_back() -> None:
    run = fit(config(), None, manager())
    rescue.release(run, ValueError())
    assert {p.device.type for p in run.generator.parameters()} == {"meta"}
    assert not any(o.state for o in run.optimizers.values())


def test_memory_that_cannot_be_given_back_hides_no_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run = fit(points_config(), tmp_path)
    run.whole_step = run.step + 1
    run.device = torch.device("meta")  # as any that is no CPU

    def failing(*_: Any) -> None:
        raise NotImplementedError

    monkeypatch.setattr(rescue, "release", failing)
    rescue.rescue(run, RuntimeError("the news"), None, 1.0)
    assert "Step 7 could not be trained again. The checkpoint of step 6" in capsys.readouterr().err


def test_a_finer_look_at_what_hooks_may_do_passes() -> None:
    """Clipping weights after an update, sweeping in eval mode, references, a stop with a reason."""
    kept = []

    class Fine:
        @hookimpl
        def gan_discriminator_updated(self, run: Run, batches: Any) -> None:
            kept.extend(batches)
            with torch.no_grad():
                for parameter in run.discriminator.parameters():
                    parameter.clamp_(-0.1, 0.1)

        @hookimpl
        def gan_generator_weights(self, fake: Any, logits: Any) -> Any:
            return (fake.x[:, 0].abs() + 1).as_subclass(Strange)

        @hookimpl
        def gan_generator_penalty(self, fake_out: Any) -> Any:
            return fake_out.square().mean().as_subclass(Strange)

        @hookimpl
        def gan_step_end(self, run: Run) -> None:
            run.discriminator.eval()
            run.logits(run.generate(4).x)
            run.discriminator.train()
            run.log({"a": np.float64(1.5), "b": [1, 2], "c": None})
            if run.step == 3:
                run.stop("enough")

    run = fit(config(), None, manager(p=Fine()))
    assert run.step == 3
    assert len(kept) == 3


def test_after_the_training_networks_may_be_left_in_eval_mode(tmp_path: Path) -> None:
    def judge(self: Any, run: Run) -> None:
        run.generator.eval()
        run.discriminator.eval()

    def judged(self: Any, run: Run, real: Any, fake: Any) -> dict[str, float]:
        judge(self, run)
        return {"judged": 1.0}

    def left(self: Any, run: Run) -> dict[str, int]:
        run.discriminator.train()
        return {"left": 1}

    hooks = {"gan_train_end": judge, "gan_metrics": judged, "gan_result": left}
    judging = type("Judging", (), {name: hookimpl(hook) for name, hook in hooks.items()})
    result = evaluate(fit(config(), tmp_path, manager(p=judging())))
    assert result["left"] == result["metrics"]["judged"] == 1


# ------------------------------------------------------------------ loading


def exits(*_: Any) -> None:
    sys.exit("bye")


async def waits(self: Any, run: Run) -> None:
    return None


def yields(self: Any, run: Run) -> Any:
    yield


@pytest.mark.parametrize(
    ("hooks", "says"),
    [
        ({"gan_add_options": lambda self, parser: exits()}, "SystemExit: bye"),
        ({"gan_register": lambda self, catalogs: exits()}, "SystemExit: bye"),
        ({"gan_register": lambda self, catalogs: 1 / 0}, "ZeroDivisionError"),
        ({"gan_step_end": waits}, "gan_step_end is a generator function or a coroutine"),
        ({"gan_step_end": yields}, "gan_step_end is a generator function or a coroutine"),
        ({"__init__": exits}, "SystemExit: bye"),
    ],
)
def test_what_cannot_be_loaded_is_named(hooks: dict[str, Any], says: str) -> None:
    parts = {name: hookimpl(f) if name.startswith("gan_") else f for name, f in hooks.items()}
    made, broken = PluginManager(load_entry_points=False), type("Broken", (), parts)
    with pytest.raises(PluginError, match=says) as caught:
        made.register(broken, "bad")
    assert "'bad'" in str(caught.value)
    made.register(breaking(END, leaving(lambda run: None)), "good")
    assert fit(config(), None, made).step == 4


def test_an_entry_point_that_exits_is_skipped_and_the_others_load(
    monkeypatch: Any, warned: Any
) -> None:
    good = type("Good", (), {})

    class Point(NamedTuple):
        name: str
        load: Callable[[], Any]
        value: str = "somewhere"
        dist: Any = None

    points = [Point("bad", exits), Point("good", lambda: good)]
    monkeypatch.setattr("gan_registry.plugins.metadata.entry_points", lambda group: points)
    made = PluginManager()
    assert made.infos["good"].skipped is None
    assert made.infos["bad"].skipped == "SystemExit: bye"
    assert any("Skipped plugin 'bad'" in text for text in warned())


@pytest.mark.parametrize("hook", [D_WEIGHTS, G_WEIGHTS])
@pytest.mark.parametrize(
    ("make", "says"),
    [(lambda x: -torch.ones_like(x), "negative: .* opposite sign"), (torch.zeros_like, "all zero")],
)
@pytest.mark.parametrize("waits", [False, True])
def test_odd_weights_are_told_once(
    hook: str, make: Any, says: str, waits: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dispatch_values, "must_wait", lambda value: waits)
    plugin = type("Odd", (), {hook: hookimpl(_weighting(hook, make))})()
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        run = fit(config(), None, manager(odd=plugin))
    assert run.step == 4
    (warning,) = [str(w.message) for w in told if "'odd'" in str(w.message)]
    assert re.search(f"{hook} returned weights that are {says}", warning)


def _weighting(hook: str, make: Any) -> Any:
    if hook == G_WEIGHTS:
        return lambda self, logits: make(logits)
    return lambda self, fake_logits: (None, make(fake_logits))


def test_the_checkpoint_that_was_saved_is_like_any_other(tmp_path: Path) -> None:
    broken = breaking(END, raising(ValueError("no")))
    with pytest.raises(PluginError):
        fit(config(), tmp_path / "a", manager(bad=broken))
    fit(config(RUN__save_freq=2, RUN__keep_checkpoints=9), tmp_path / "b", manager())
    one, other = (read_checkpoint(tmp_path / name, 2) for name in "ab")
    for state in (one, other):
        for measured in ("seconds", "plugins"):
            del state[measured]
    assert str(one) == str(other)
