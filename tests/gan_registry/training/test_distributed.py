from __future__ import annotations

import os
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import pytest
import torch
from PIL import Image
from processes import in_processes
from small_runs import digits_config, fit, manager, points_config, state_of

from gan_registry.datasets import lazy_images
from gan_registry.errors import UserError
from gan_registry.training.distributed import Group
from gan_registry.training.launch import process_group
from gan_registry.training.run import Run

CONFIG = {"OPTIMIZATION__total_steps": 4, "OPTIMIZATION__d_updates_per_step": 2}
BATCH = torch.arange(8).view(4, 2)
GRADIENTS = (torch.tensor([[1.0, 2.0], [3.0, 4.0]]), torch.tensor([[5.0, 0.0], [1.0, -4.0]]))


def train_together(rank: int, folder: Path) -> dict[str, torch.Tensor]:
    run = fit(points_config(**CONFIG), folder / "run")
    assert (run.rank, run.world_size) == (rank, 2)
    return state_of(run)


def test_two_processes_train_what_one_does(tmp_path: Path):
    alone = fit(points_config(**CONFIG))
    first, second = in_processes(train_together, tmp_path)
    for name, expected in state_of(alone).items():
        assert torch.equal(first[name], second[name]), name
        if "exp_avg" not in name:
            assert torch.allclose(first[name], expected, rtol=1e-4, atol=1e-5), name


def train_on_a_folder(rank: int, folder: Path) -> tuple[int, dict[str, torch.Tensor]]:
    decoded, plain = [], lazy_images.decode

    def decode(*arguments: Any) -> Any:
        decoded.append(arguments)
        return plain(*arguments)

    with patch.object(lazy_images, "decode", decode):
        data = {"DATA__name": "image_folder", "DATA__options": {}, "DATA__cache": "disk"}
        config = digits_config(
            **data, DATA__path=str(folder / "data"), OPTIMIZATION__batch_size=4, MODEL__d_bn=False
        )
        state = state_of(fit(config, folder / "run"))
    return len(decoded), state


def test_rank_0_decodes_images_into_a_file_and_all_train_from_it(tmp_path: Path):
    (tmp_path / "data").mkdir()
    for number in range(10):
        pixels = np.random.default_rng(number).integers(0, 256, (8, 8, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(tmp_path / "data" / f"{number}.png")
    (first, one), (second, other) = in_processes(train_on_a_folder, tmp_path)
    assert (first, second) == (10, 0)
    assert all(torch.equal(one[name], other[name]) for name in one)


def communicate(rank: int, folder: Path) -> dict[str, object]:
    group = Group.current()
    network = torch.nn.Sequential(torch.nn.BatchNorm1d(3), torch.nn.BatchNorm1d(2))
    network[0].running_mean.fill_(rank + 1.0)
    network[1].num_batches_tracked.fill_(7 * (rank + 1))
    group.share_buffers(network)
    parameters = [torch.nn.Parameter(torch.zeros(2, 2)), torch.nn.Parameter(torch.zeros(3))]
    parameters.append(torch.nn.Parameter(torch.zeros(1)))  # has no gradient, on any rank
    parameters[0].grad = GRADIENTS[rank]
    parameters[1].grad = torch.full((3,), 4.0 * rank)
    group.average_gradients(parameters)
    return {
        "gradients": [p.grad for p in parameters],
        "sum": group.sum(torch.tensor([rank + 1.0])),
        "gathered": group.gather(BATCH[rank::2]),
        "means": group.mean({"a": float(rank), "b": 1.0}, torch.device("cpu")),
        "buffers": network.state_dict(),
    }


def test_sums_gathers_means_gradients_and_buffers_over_two_processes(tmp_path: Path):
    for result in in_processes(communicate, tmp_path):
        # Adam hides a factor, so that a training of two processes would not show a sum.
        first, second, none = result["gradients"]
        assert first.tolist() == [[3.0, 1.0], [2.0, 0.0]]
        assert second.tolist() == [2.0, 2.0, 2.0]
        assert none is None
        assert result["sum"].item() == 3.0
        assert torch.equal(result["gathered"], BATCH), "in the order of the whole batch"
        assert result["means"] == {"a": 0.5, "b": 1.0}
        assert result["buffers"]["0.running_mean"].tolist() == [1.0] * 3
        assert result["buffers"]["1.num_batches_tracked"] == 7


def train_until_it_breaks(rank: int, folder: Path, how: str) -> str:
    """Communicates, lets rank 1 break, communicates again; returns the error's message."""

    def work() -> None:
        with process_group("cpu"):
            group = Group.current()
            group.sum(torch.ones(1))
            if rank == 1 and how == "die":
                os._exit(9)
            if rank == 1 and how == "fail":
                raise UserError("the data is gone")
            if rank == 1 and how == "defect":
                torch.ones(2) @ torch.ones(3)
            group.sum(torch.ones(1))

    with pytest.raises((UserError, RuntimeError)) as caught:
        work()
    return f"{caught.type.__name__}: {caught.value}"


def test_a_process_that_dies_is_named_by_the_other(tmp_path: Path):
    message, nothing = in_processes(train_until_it_breaks, tmp_path, join=False, how="die")
    assert nothing is None
    assert message.startswith("UserError: the process of rank 1 ended without a word")
    assert "same command continues" in message


def test_a_process_that_fails_gives_the_others_its_reason(tmp_path: Path):
    other, own = in_processes(train_until_it_breaks, tmp_path, join=False, how="fail")
    assert own == "UserError: the data is gone"
    assert "rank 1 failed: the data is gone" in other


def test_a_defect_keeps_its_own_message(tmp_path: Path):
    other, own = in_processes(train_until_it_breaks, tmp_path, join=False, how="defect")
    assert own.startswith("RuntimeError")
    assert "rank" not in own
    assert "rank 1 failed: RuntimeError" in other


def test_numbers_are_averaged_on_the_device_as_nccl_asks(monkeypatch: pytest.MonkeyPatch):
    class SeenError(Exception):
        """Says where a tensor was."""

    def all_reduce(tensor: torch.Tensor) -> None:
        raise SeenError(tensor.device.type)

    monkeypatch.setattr("torch.distributed.all_reduce", all_reduce)
    with pytest.raises(SeenError, match="meta"):
        Group(0, 2).mean({"a": 1.0}, torch.device("meta"))
    run = Run(points_config(), manager(), {}, None, Group(0, 2))
    run.device = torch.device("meta")
    with pytest.raises(SeenError, match="meta"):
        run.average_losses({"loss/a": 1.0})


def test_one_process_needs_no_communication():
    x = torch.arange(3)
    assert Group.current() == Group(0, 1)
    assert Group().sum(x) is x
    assert Group().gather(x) is x
