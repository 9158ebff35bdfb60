from __future__ import annotations

import os
import time
from pathlib import Path

import pytest
import torch
from small_runs import fit, points_config, state_of
from torch import distributed

from gan_registry.training.distributed import Group

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")


def in_two_processes(work, folder: Path) -> list:
    """Runs `work(rank)` in two processes joined by gloo; returns what they returned."""
    children = []
    for rank in range(2):
        child = os.fork()
        if child == 0:
            code = 1
            try:
                distributed.init_process_group(
                    "gloo", init_method=f"file://{folder}/meeting", rank=rank, world_size=2
                )
                torch.save(work(rank), folder / f"{rank}.pt")
                distributed.destroy_process_group()
                code = 0
            finally:
                os._exit(code)
        children.append(child)
    deadline = time.monotonic() + 120
    for child in children:
        while (done := os.waitpid(child, os.WNOHANG))[0] == 0:
            if time.monotonic() > deadline:
                for left in children:
                    os.kill(left, 9)
                pytest.fail("the processes wait for each other")
            time.sleep(0.02)
        assert os.waitstatus_to_exitcode(done[1]) == 0
    return [torch.load(folder / f"{rank}.pt") for rank in range(2)]


def test_two_processes_train_what_one_does(tmp_path: Path):
    config = points_config(OPTIMIZATION__total_steps=4, OPTIMIZATION__d_updates_per_step=2)
    alone = fit(config)

    def work(rank: int) -> dict[str, torch.Tensor]:
        run = fit(config, tmp_path / "run")
        assert (run.rank, run.world_size) == (rank, 2)
        return state_of(run)

    first, second = in_two_processes(work, tmp_path)
    for name, expected in state_of(alone).items():
        assert torch.equal(first[name], second[name]), name
        if "exp_avg" not in name:
            assert torch.allclose(first[name], expected, rtol=1e-4, atol=1e-5), name


def test_sums_and_gathers_over_two_processes(tmp_path: Path):
    batch = torch.arange(8).view(4, 2)

    def work(rank: int) -> tuple[torch.Tensor, torch.Tensor]:
        group = Group.current()
        return group.sum(torch.tensor([rank + 1.0])), group.gather(batch[rank::2])

    for total, gathered in in_two_processes(work, tmp_path):
        assert total.item() == 3.0
        assert torch.equal(gathered, batch), "in the order of the whole batch"


def test_one_process_needs_no_communication():
    x = torch.arange(3)
    assert Group.current() == Group(0, 1)
    assert Group().sum(x) is x
    assert Group().gather(x) is x
