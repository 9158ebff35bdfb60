"""Joins the processes that `torchrun` started, and says which one failed when one does."""

from __future__ import annotations

import logging
import os
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import timedelta
from typing import Any

import torch
from torch import distributed

from gan_registry.errors import UserError
from gan_registry.processes import is_running
from gan_registry.training.agreement import shared_store

PATIENCE = timedelta(minutes=5)
"""How long a process waits for the others before it gives up: sweeps and start-up take seconds."""

_GRACE_SECONDS = 5.0
"""How long a process that lost the others looks for the reason."""


def started_by_launcher() -> bool:
    """Whether this process is one of several that a launcher started."""
    return int(os.environ.get("WORLD_SIZE", "1")) > 1 and "RANK" in os.environ


@contextmanager
def process_group(device: str) -> Iterator[None]:
    """Trains together with the other processes inside; does nothing for a process alone.

    A process that fails tells the others through the launcher's store. One that is killed tells
    nobody, but its connections break at once, and the others look which process is gone.

    Args:
        device: `RUN.device`; cuda and auto use the GPU that the launcher assigned.

    Raises:
        UserError: Another process failed or was lost; names its rank.
    """
    if not started_by_launcher() or distributed.is_initialized():
        yield
        return
    rank, world_size = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
    on_cuda = device in ("auto", "cuda") and torch.cuda.is_available()
    if on_cuda:
        torch.cuda.set_device(int(os.environ.get("LOCAL_RANK", "0")))
    if rank != 0:
        logging.disable(logging.WARNING)  # rank 0 says it for all
    distributed.init_process_group("nccl" if on_cuda else "gloo", timeout=PATIENCE)
    store = shared_store()
    store.set(f"process/{rank}", f"{socket.gethostname()} {os.getpid()}")
    try:
        yield
        distributed.barrier()  # gloo may abort a process whose peer leaves before it
    except UserError as error:
        _tell(store, rank, str(error))
        raise
    except RuntimeError as error:
        culprit = _find_culprit(store, rank, world_size) if _is_lost_connection(error) else None
        _tell(store, rank, f"{type(error).__name__}: {error}" if culprit is None else culprit)
        if culprit is None:
            raise
        raise UserError(
            f"{culprit}. The same command continues from the last checkpoint."
        ) from error
    except BaseException as error:
        _tell(store, rank, type(error).__name__)
        raise
    finally:
        # After a failure there is nobody left to say good-bye to.
        with suppress(Exception):
            distributed.destroy_process_group()


def _tell(store: Any, rank: int, reason: str) -> None:
    with suppress(Exception):
        store.set(f"failed/{rank}", reason)


def _is_lost_connection(error: RuntimeError) -> bool:
    """Whether a collective failed, rather than this process's own work."""
    text = str(error).lower()
    signs = ("connection", "gloo", "nccl", "timed out", "timeout", "socket", "peer")
    return isinstance(error, distributed.DistError) or any(sign in text for sign in signs)


def _find_culprit(store: Any, rank: int, world_size: int) -> str | None:
    """Says which process failed first: one that told why, or one that is gone."""
    others = [other for other in range(world_size) if other != rank]
    deadline = time.monotonic() + _GRACE_SECONDS
    while time.monotonic() < deadline:
        for other in others:
            try:
                if store.check([f"failed/{other}"]):
                    reason = store.get(f"failed/{other}").decode()
                    return f"the process of rank {other} failed: {reason}"
                host, pid = store.get(f"process/{other}").decode().split()
            except (RuntimeError, ValueError):  # the store itself is gone: it lived in rank 0
                return "the process of rank 0 ended without a word (was it killed?)"
            if host == socket.gethostname() and not is_running(int(pid)):
                return f"the process of rank {other} ended without a word (was it killed?)"
        time.sleep(0.1)
    return f"the connection to the other processes (ranks {others}) broke"
