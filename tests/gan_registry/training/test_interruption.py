from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from processes import in_processes
from small_runs import assert_equal_runs, fit, manager, points_config, state_of

from gan_registry import hookimpl
from gan_registry.cli.main import main
from gan_registry.training import save_clock
from gan_registry.training.agreement import StepAgreement, rank_0_first
from gan_registry.training.checkpoint import checkpoint_steps
from gan_registry.training.distributed import Group
from gan_registry.training.interruption import ENDING, Interrupted, Interruption
from gan_registry.training.logs import read_metrics
from gan_registry.training.run import Run

TINY = [
    "train", "--config", "gmm25", "--steps", "6", "--num-eval", "200", "--device", "cpu",
    "--set", "MODEL.hidden_dim=8", "--set", "DATA.options.num_samples=200", "--quiet",
    "--set", "OPTIMIZATION.batch_size=16",
]  # fmt: skip


@pytest.fixture(autouse=True)
def default_handlers() -> Iterator[None]:
    """As in a process of one's own: a worker of the tests ignores Ctrl-C."""
    before = {number: signal.getsignal(number) for number in ENDING}
    for number in ENDING:
        default = signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL
        signal.signal(number, default)
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


def handlers() -> list[Any]:
    return [signal.getsignal(number) for number in ENDING]


def signalling(step: int, number: int, times: int = 1) -> object:
    """A plugin that has the process and its loader's workers signalled in the middle of a step."""

    class Signals:
        done = False

        @hookimpl
        def gan_discriminator_updated(self, run: Run) -> None:
            if run.step == step - 1 and not self.done:
                self.done = True
                for worker in multiprocessing.active_children():
                    os.kill(worker.pid or 0, number)
                    worker.join(0.05)  # one that minds is gone by then
                for _ in range(times):
                    os.kill(os.getpid(), number)

    return Signals()


@pytest.mark.parametrize("number", ENDING)
@pytest.mark.parametrize("workers", [0, 1])
def test_a_signal_has_the_step_finished_and_saved(tmp_path: Path, number: int, workers: int):
    # More batches in a step than a worker has fetched ahead.
    config = points_config(
        RUN__num_workers=workers, RUN__print_freq=4, OPTIMIZATION__d_updates_per_step=4
    )
    before = handlers()
    with pytest.raises(Interrupted) as raised:
        fit(config, tmp_path / "parts", manager(s=signalling(3, number)))
    assert (raised.value.signal, raised.value.exit_code) == (number, 128 + number)
    assert isinstance(raised.value, KeyboardInterrupt), "as whoever calls train expects"
    assert handlers() == before
    assert checkpoint_steps(tmp_path / "parts") == [3]
    resumed = fit(config, tmp_path / "parts")
    assert resumed.first_step == 3
    assert_equal_runs(resumed, fit(config, tmp_path / "whole"))
    losses = [[{k: v for k, v in line.items() if k.startswith("loss")} for line in
               read_metrics(tmp_path / name)] for name in ("whole", "parts")]  # fmt: skip
    assert losses[0] == losses[1]


def test_a_signal_in_the_last_step_leaves_a_whole_training(tmp_path: Path):
    with pytest.raises(Interrupted):
        fit(points_config(), tmp_path, manager(s=signalling(6, signal.SIGTERM)))
    assert fit(points_config(), tmp_path).first_step == 6


@pytest.mark.parametrize("number", ENDING)
def test_the_command_says_how_to_go_on_and_exits_as_a_shell_expects(
    tmp_path: Path, monkeypatch, capfd, number: int
):
    from gan_registry.training import updates

    real = updates.update_generator

    def interrupted(run: Run, *arguments: Any) -> None:
        if run.step == 2:
            os.kill(os.getpid(), number)
        real(run, *arguments)

    monkeypatch.setattr(updates, "update_generator", interrupted)
    assert main([*TINY, "--out", str(tmp_path / "run")]) == 128 + number
    said = capfd.readouterr().err
    assert f"{signal.Signals(number).name}: this step is finished and saved first" in said
    assert "gan-registry: interrupted; the same command continues from step 3.\n" in said
    monkeypatch.undo()
    assert main([*TINY, "--out", str(tmp_path / "run")]) == 0


@pytest.mark.parametrize(
    ("place", "says"),
    [
        ("gan_registry.training.build.build_data", "starts anew (no checkpoint yet)"),
        ("gan_registry.evaluation.evaluate.evaluate", "continues from step 6"),
        ("gan_registry.report.write.write_report", "continues from step 6"),
    ],
)
def test_elsewhere_a_signal_leaves_at_once_and_says_what_is_kept(
    tmp_path: Path, monkeypatch, capfd, place: str, says: str
):
    before = handlers()

    def interrupted(*_: Any, **__: Any) -> None:
        os.kill(os.getpid(), signal.SIGTERM)
        raise AssertionError("went on")

    monkeypatch.setattr(place, interrupted)
    assert main([*TINY, "--out", str(tmp_path / "run")]) == 143
    assert says in capfd.readouterr().err
    assert handlers() == before


def outcome_of(work: Callable[[], Any]) -> int:
    """How a forked process ends: its exit code, or minus the signal that killed it."""
    child = os.fork()
    if child == 0:
        work()
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


@pytest.mark.parametrize("number", ENDING)
def test_a_second_signal_leaves_at_once(tmp_path: Path, number: int):
    plugins = manager(s=signalling(3, number, times=2))
    assert outcome_of(lambda: fit(points_config(), tmp_path, plugins)) == -number
    assert checkpoint_steps(tmp_path) == []
    assert fit(points_config(), tmp_path).step == 6


def test_an_echo_of_a_launcher_is_no_second_signal(monkeypatch):
    def run() -> None:
        with Interruption(together=True) as interruption:
            os.kill(os.getpid(), signal.SIGTERM)
            os.kill(os.getpid(), signal.SIGTERM)
            assert interruption.signal == signal.SIGTERM
            interruption._since -= 2
            os.kill(os.getpid(), signal.SIGTERM)

    assert outcome_of(run) == -signal.SIGTERM


def test_signals_that_somebody_else_handles_or_ignores_stay_as_they_are():
    def mine(*_: object) -> None:
        pass

    signal.signal(signal.SIGTERM, mine)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)  # as nohup does
    before = handlers()
    with Interruption() as interruption:
        assert handlers()[1:] == before[1:]
        os.kill(os.getpid(), signal.SIGHUP)
        os.kill(os.getpid(), signal.SIGTERM)
        assert interruption.signal is None
        os.kill(os.getpid(), signal.SIGINT)
        assert interruption.signal == signal.SIGINT
        assert handlers()[1:] == before[1:], "also of a second signal"
    assert handlers() == before


def test_another_thread_trains_without_handlers():
    before, seen = handlers(), []

    class Look:
        @hookimpl
        def gan_step_end(self) -> None:
            seen.append(handlers() == before)

    thread = threading.Thread(target=lambda: fit(points_config(), None, manager(look=Look())))
    thread.start()
    thread.join()
    assert seen == [True] * 6


# ---------------------------------------------------------------- by the clock


class Clock:
    """Time that passes when it is told to."""

    def __init__(self) -> None:
        self.now = 1000.0

    def monotonic(self) -> float:
        return self.now


def test_a_checkpoint_is_due_after_so_many_minutes_and_never_too_often(monkeypatch):
    time = Clock()
    monkeypatch.setattr(save_clock, "time", time)
    clock = save_clock.SaveClock(0.5)
    time.now += 29.9
    assert not clock.due()
    time.now += 0.2
    assert clock.due()
    time.now += 3.0  # what the checkpoint took
    clock.saved(time.now - 3.0)
    time.now += 59.9
    assert not clock.due(), "twenty times as long as it takes"
    time.now += 0.2
    assert clock.due()
    never = save_clock.SaveClock(0)
    time.now += 1e9
    assert not never.due()


def test_a_run_saves_by_the_clock(tmp_path: Path, monkeypatch):
    time = Clock()
    monkeypatch.setattr(save_clock, "time", time)

    class Pass:
        @hookimpl
        def gan_step_end(self, run: Run) -> None:
            time.now += 25

    config = points_config(RUN__save_minutes=1, RUN__keep_checkpoints=9)
    assert_equal_runs(fit(config, tmp_path, manager(p=Pass())), fit(config))
    assert checkpoint_steps(tmp_path) == [3, 6]
    fit(points_config(RUN__save_minutes=0.0, RUN__keep_checkpoints=9), tmp_path)  # may change


# ---------------------------------------------------------------- several processes


def test_a_wish_is_granted_to_all_two_steps_later(monkeypatch):
    store = torch.distributed.HashStore()
    monkeypatch.setattr("gan_registry.training.agreement.shared_store", lambda: store)
    one, other = (StepAgreement(Group(rank, 2), torch.device("cpu")) for rank in (0, 1))
    other._number = one._number  # as in two processes
    wishes = {3: ("save", ""), 4: ("save", "15"), 5: ("save", "15"), 6: ("", "15"), 7: ("", "15"),
              8: ("", "15")}  # fmt: skip
    granted = {}
    for step in range(1, 9):
        mine, theirs = wishes.get(step, ("", ""))
        granted[step] = (one.meet(step, mine), other.meet(step, theirs))
    # The signal of step 4 waits for the checkpoint, is seen by the other a step after, and obeyed.
    assert granted == {**dict.fromkeys(range(1, 9), ("", "")), 5: ("save", "save"),
                       8: ("15", "15")}  # fmt: skip


def train_and_be_signalled(rank: int, folder: Path, who: list[int]) -> Any:
    for number in ENDING:
        signal.signal(number, signal.SIG_DFL)
    plugins = manager(s=signalling(2, signal.SIGTERM)) if rank in who else manager()
    try:
        run = fit(points_config(OPTIMIZATION__total_steps=8), folder / "run", plugins)
    except Interrupted as error:
        return error.exit_code, checkpoint_steps(folder / "run")
    return run.first_step, state_of(run)


@pytest.mark.parametrize("who", [[1], [0, 1]])
def test_all_processes_stop_after_the_same_step(tmp_path: Path, who: list[int]):
    answers = in_processes(train_and_be_signalled, tmp_path, who=who)
    assert answers == [(143, [4])] * 2
    (first, resumed), _ = in_processes(train_and_be_signalled, tmp_path, who=[])
    assert first == 4
    (tmp_path / "whole").mkdir()
    (_, whole), _ = in_processes(train_and_be_signalled, tmp_path / "whole", who=[])
    assert all(torch.equal(resumed[name], whole[name]) for name in whole)


def save_often(rank: int, folder: Path) -> list[int]:
    save_clock._COSTS = 0
    config = points_config(RUN__save_minutes=1e-9, RUN__keep_checkpoints=9)
    fit(config, folder / "run")
    return checkpoint_steps(folder / "run")


def test_rank_0_decides_by_its_clock_when_all_save(tmp_path: Path):
    # Each wish is for two steps ahead.
    assert in_processes(save_often, tmp_path)[0] == [3, 6]


def test_what_rank_0_runs_into_is_told_to_the_others(monkeypatch):
    store = torch.distributed.HashStore()
    monkeypatch.setattr("gan_registry.training.agreement.shared_store", lambda: store)
    monkeypatch.setattr("gan_registry.training.agreement._numbers", iter([7, 7]))

    def broken() -> None:
        raise ZeroDivisionError("by zero")

    with pytest.raises(ZeroDivisionError):
        rank_0_first(Group(0, 2), broken)
    with pytest.raises(Exception, match="rank 0 failed: ZeroDivisionError: by zero"):
        rank_0_first(Group(1, 2), broken)
