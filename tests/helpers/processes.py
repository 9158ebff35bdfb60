"""Runs a function in several processes that torch.distributed joins by gloo."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import distributed


def in_processes(
    work: Callable[[int], Any], folder: Path, world_size: int = 2, join: bool = True
) -> list[Any]:
    """Forks, runs `work(rank)` in each process, and returns what they returned.

    Args:
        work: Returns something that `torch.save` takes.
        folder: An empty folder, where the processes meet.
        world_size: How many.
        join: Join them here; otherwise they find the launcher's variables, as under torchrun, and
            one that dies has None for a result.
    """
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    children = []
    for rank in range(world_size):
        child = os.fork()
        if child == 0:
            code = 1
            try:
                if join:
                    distributed.init_process_group(
                        "gloo", init_method=f"file://{folder}/meeting", rank=rank,
                        world_size=world_size,
                    )  # fmt: skip
                else:
                    os.environ.update(
                        RANK=str(rank), LOCAL_RANK=str(rank), WORLD_SIZE=str(world_size),
                        MASTER_ADDR="127.0.0.1", MASTER_PORT=str(port),
                    )  # fmt: skip
                torch.save(work(rank), folder / f"{rank}.pt")
                if join:
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
        assert not join or os.waitstatus_to_exitcode(done[1]) == 0
    paths = [folder / f"{rank}.pt" for rank in range(world_size)]
    return [torch.load(path) if path.exists() else None for path in paths]
