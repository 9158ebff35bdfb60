from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch
from processes import in_processes
from small_runs import fit, points_config, state_of

from gan_registry.errors import UserError
from gan_registry.training.distributed import Group
from gan_registry.training.launch import process_group

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")


def test_two_processes_train_what_one_does(tmp_path: Path):
    config = points_config(OPTIMIZATION__total_steps=4, OPTIMIZATION__d_updates_per_step=2)
    alone = fit(config)

    def work(rank: int) -> dict[str, torch.Tensor]:
        run = fit(config, tmp_path / "run")
        assert (run.rank, run.world_size) == (rank, 2)
        return state_of(run)

    first, second = in_processes(work, tmp_path)
    for name, expected in state_of(alone).items():
        assert torch.equal(first[name], second[name]), name
        if "exp_avg" not in name:
            assert torch.allclose(first[name], expected, rtol=1e-4, atol=1e-5), name


def test_sums_and_gathers_over_two_processes(tmp_path: Path):
    batch = torch.arange(8).view(4, 2)

    def work(rank: int) -> tuple[torch.Tensor, torch.Tensor]:
        group = Group.current()
        return group.sum(torch.tensor([rank + 1.0])), group.gather(batch[rank::2])

    for total, gathered in in_processes(work, tmp_path):
        assert total.item() == 3.0
        assert torch.equal(gathered, batch), "in the order of the whole batch"


def test_means_and_buffers_over_two_processes(tmp_path: Path):
    def work(rank: int) -> tuple[dict[str, float], dict[str, torch.Tensor]]:
        group = Group.current()
        network = torch.nn.Sequential(torch.nn.BatchNorm1d(3), torch.nn.BatchNorm1d(2))
        network[0].running_mean.fill_(rank + 1.0)
        network[1].num_batches_tracked.fill_(7 * (rank + 1))
        group.share_buffers(network)
        return group.mean({"a": float(rank), "b": 1.0}), network.state_dict()

    for means, state in in_processes(work, tmp_path):
        assert means == {"a": 0.5, "b": 1.0}
        assert state["0.running_mean"].tolist() == [1.0] * 3
        assert state["1.num_batches_tracked"] == 7


def train_until_it_breaks(rank: int, break_rank_1, exception: type[Exception]) -> str:
    """Communicates, lets rank 1 break, communicates again; returns the error's message."""

    def work() -> None:
        with process_group("cpu"):
            group = Group.current()
            group.sum(torch.ones(1))
            if rank == 1:
                break_rank_1()
            group.sum(torch.ones(1))

    with pytest.raises(exception) as caught:
        work()
    return str(caught.value)


def test_a_process_that_dies_is_named_by_the_other(tmp_path: Path):
    message, nothing = in_processes(
        lambda rank: train_until_it_breaks(rank, lambda: os._exit(9), UserError),
        tmp_path, join=False,
    )  # fmt: skip
    assert nothing is None
    assert "rank 1 ended without a word" in message
    assert "same command continues" in message


def fail() -> None:
    raise UserError("the data is gone")


def test_a_process_that_fails_gives_the_others_its_reason(tmp_path: Path):
    messages = in_processes(
        lambda rank: train_until_it_breaks(rank, fail, UserError), tmp_path, join=False
    )
    assert messages[1] == "the data is gone"
    assert "rank 1 failed: the data is gone" in messages[0]


def multiply_what_does_not_fit() -> None:
    torch.ones(2) @ torch.ones(3)


def test_a_defect_keeps_its_own_message(tmp_path: Path):
    messages = in_processes(
        lambda rank: train_until_it_breaks(rank, multiply_what_does_not_fit, Exception),
        tmp_path, join=False,
    )  # fmt: skip
    assert "size" in messages[1]
    assert "rank" not in messages[1]
    assert "rank 1 failed: RuntimeError" in messages[0]


def test_one_process_needs_no_communication():
    x = torch.arange(3)
    assert Group.current() == Group(0, 1)
    assert Group().sum(x) is x
    assert Group().gather(x) is x
