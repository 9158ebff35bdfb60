"""Runs that are ended at random moments, and go on as if nothing had been."""

from __future__ import annotations

import os
import random
import signal
import time
from pathlib import Path
from typing import Any

import pytest
from processes import module_process
from small_runs import assert_equal_runs

from gan_registry.training.checkpoint import checkpoint_steps
from gan_registry.training.logs import read_metrics
from gan_registry.training.trainer import open_run

COMMAND = [
    "train", "--config", "gmm25", "--num-eval", "50", "--device", "cpu", "--quiet",
    "--set", "MODEL.hidden_dim=8", "--set", "DATA.options.num_samples=200",
    "--set", "OPTIMIZATION.batch_size=16", "--set", "RUN.print_freq=1", "--set", "RUN.save_freq=1",
    "--set", "RUN.eval_metrics=[]", "--set", "MODEL.d_dropout=0.3",
]  # fmt: skip
ENDLESS = 1_000_000

KILLS = [(signal.SIGTERM, 20), (signal.SIGINT, 20), (signal.SIGKILL, 50)]


def start(cwd: Path, folder: str, steps: int, *more: str) -> Any:
    arguments = [*COMMAND, "--out", folder, "--steps", str(steps), *more]
    process = module_process("gan_registry", *arguments, cwd=cwd, out=cwd / "out", err=cwd / "err")
    process.start()
    return process


@pytest.mark.slow
@pytest.mark.parametrize(("number", "times"), KILLS)
def test_nothing_but_the_step_in_hand_is_lost_and_the_result_is_the_same(
    tmp_path: Path, number: signal.Signals, times: int
):
    draw = random.Random(int(number))
    folder, codes, trained, lost = tmp_path / "parts", [], 0, []
    (tmp_path / "err").touch()  # the first may be ended before it has opened it
    for _ in range(times):
        process = start(tmp_path, "parts", ENDLESS)
        before = newest(folder)
        # Some while they start, most anywhere in the steps that follow.
        more = draw.randrange(1, 40) if draw.random() < 0.7 else 0
        deadline = time.monotonic() + 120
        while newest(folder) < before + more and time.monotonic() < deadline:
            process.join(0.01)
        process.join(draw.uniform(0.0, 0.05 if more else 2.0))
        assert process.exitcode is None, (tmp_path / "err").read_text()
        os.kill(process.pid, number)
        process.join(60)
        codes.append(process.exitcode)
        complaint = (tmp_path / "err").read_text()
        assert "Traceback" not in complaint, complaint
        trained += newest(folder) > before
        logged = [line["step"] for line in read_metrics(folder)]
        lost.append(max(logged, default=0) - newest(folder))
    print(f"{number.name}: {times} times, codes {sorted(set(codes))}, {trained} after steps were "
          f"trained, {newest(folder)} steps in all, steps lost: {sorted(set(lost))}")  # fmt: skip
    # Before the command has begun, a signal does what it does to any process.
    assert set(codes) <= {128 + number, -number}
    assert max(lost) <= (1 if number == signal.SIGKILL else 0)
    assert trained > times / 2
    steps = newest(folder) + 5
    for name, more in (("parts", ()), ("whole", ("--set", "RUN.save_freq=0"))):
        process = start(tmp_path, name, steps, *more)
        process.join()
        assert process.exitcode == 0, (tmp_path / "err").read_text()
    assert_equal_runs(*(open_run(tmp_path / name) for name in ("parts", "whole")))
    logs = [read_metrics(tmp_path / name) for name in ("parts", "whole")]
    assert [line["step"] for line in logs[0]] == list(range(1, steps + 1))
    assert [line["loss/generator"] for line in logs[0]] == [
        line["loss/generator"] for line in logs[1]
    ]
    assert not list(folder.rglob(".*"))


def newest(folder: Path) -> int:
    return max(checkpoint_steps(folder), default=0)
