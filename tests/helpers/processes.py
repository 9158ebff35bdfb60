"""Runs a function of a test module in several processes that torch.distributed joins by gloo."""

from __future__ import annotations

import importlib.util
import inspect
import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any


def in_processes(
    work: Callable[..., Any], folder: Path, world_size: int = 2, join: bool = True, **arguments: Any
) -> list[Any]:
    """Calls `work(rank, folder, **arguments)` in new processes; returns what they returned.

    They are started afresh: a process that has used torch's threads cannot safely be forked.

    Args:
        work: A function at the top of a test module; returns something that `torch.save` takes.
        folder: An empty folder, where the processes meet.
        world_size: How many.
        join: Join them here; otherwise they find the launcher's variables, as under torchrun, and
            one that dies has None for a result.
        **arguments: More arguments, which JSON can carry.
    """
    import pytest
    import torch

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    children = [
        subprocess.Popen(
            [
                sys.executable, __file__, str(inspect.getsourcefile(work)), work.__name__,
                str(folder), json.dumps(arguments), "join" if join else "alone",
            ],
            env={
                **os.environ, "RANK": str(rank), "LOCAL_RANK": str(rank), "OMP_NUM_THREADS": "1",
                "WORLD_SIZE": str(world_size), "MASTER_ADDR": "127.0.0.1",
                "MASTER_PORT": str(port),
            },
        )
        for rank in range(world_size)
    ]  # fmt: skip
    deadline = time.monotonic() + 120
    try:
        for child in children:
            code = child.wait(max(deadline - time.monotonic(), 0.1))
            assert not join or code == 0
    except subprocess.TimeoutExpired:
        pytest.fail("the processes wait for each other")
    finally:
        for child in children:
            child.kill()
    paths = [folder / f"{rank}.pt" for rank in range(world_size)]
    return [torch.load(path) if path.exists() else None for path in paths]


def _work(file: str, name: str, folder: str, arguments: str, join: str) -> None:
    import torch
    from torch import distributed

    torch.set_num_threads(1)
    spec = importlib.util.spec_from_file_location("module_under_test", file)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    if join == "join":
        distributed.init_process_group("gloo")
    rank = int(os.environ["RANK"])
    result = getattr(module, name)(rank, Path(folder), **json.loads(arguments))
    torch.save(result, Path(folder) / f"{rank}.pt")
    if join == "join":
        distributed.barrier()
        distributed.destroy_process_group()


if __name__ == "__main__":
    _work(*sys.argv[1:])
