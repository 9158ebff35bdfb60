"""What processes that train together agree on through the launcher's store, and no collective."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import torch
from torch import distributed

from gan_registry.errors import UserError
from gan_registry.training.distributed import Group

_numbers = itertools.count()
"""Sets one agreement's keys apart from the next one's; every process makes the same ones."""


def shared_store() -> Any:
    """Returns the key-value store by which the processes found each other."""
    return distributed.distributed_c10d._get_default_store()


def rank_0_first(group: Group, work: Callable[[], None]) -> None:
    """Does something in the process of rank 0 alone; the others wait, and fail if it failed.

    Raises:
        UserError: What `work` raised, in every process.
    """
    if group.world_size == 1:
        work()
        return
    store, key = shared_store(), f"rank_0_first/{next(_numbers)}"
    if group.rank != 0:
        store.wait([key], timedelta(days=7))  # which a launcher cuts short if rank 0 ends
        answer = store.get(key).decode()
        if answer != "done":
            raise UserError(answer)
        return
    try:
        work()
    except BaseException as error:
        known = isinstance(error, UserError)
        reason = "" if known else f"the process of rank 0 failed: {type(error).__name__}: "
        store.set(key, f"{reason}{error}")
        raise
    store.set(key, "done")


def meet(group: Group) -> None:
    """Waits until all processes are here, however long one of them has work to do."""
    if group.world_size == 1:
        return
    store, number = shared_store(), next(_numbers)
    store.set(f"meet/{number}/{group.rank}", "here")
    keys = [f"meet/{number}/{rank}" for rank in range(group.world_size)]
    store.wait(keys, timedelta(days=7))  # which a launcher cuts short if one ends


class StepAgreement:
    """Lets any process have all of them do something after the same step.

    A wish is written to the store, for two steps ahead, and each process looks there once a step.
    That is in time: no process can end a step before all have begun its reductions, nor begin them
    before the one with the wish has written it down. On a GPU, whose work is only queued, each
    waits for the step before its last; so it is never further ahead than that.

    Args:
        group: The processes.
        device: Where they train.
    """

    def __init__(self, group: Group, device: torch.device) -> None:
        self._group = group
        self._on_cuda = device.type == "cuda"
        self._number, self._round = next(_numbers), 0
        self._agreed: tuple[int, str] | None = None
        self._previous: torch.cuda.Event | None = None

    def meet(self, step: int, wish: str = "") -> str:
        """Returns what every process does now, or "".

        Args:
            step: Steps done; every process calls this after each of them.
            wish: What this process would have all do, one word, or "". Repeated until it is
                returned: where two wish for different things, the first is granted first.
        """
        if self._group.world_size == 1:
            return wish
        self._keep_pace()
        if self._agreed is None:
            self._look(step, wish)
        if self._agreed is None or step < self._agreed[0]:
            return ""
        granted = self._agreed[1]
        self._agreed, self._round = None, self._round + 1
        return granted

    def _look(self, step: int, wish: str) -> None:
        store, key = shared_store(), f"steps/{self._number}/{self._round}"
        if wish:
            answer = store.compare_set(key, "", f"{step + 2} {wish}")
        elif store.check([key]):
            answer = store.get(key)
        else:
            return
        agreed, _, what = answer.decode().partition(" ")
        self._agreed = int(agreed), what

    def _keep_pace(self) -> None:
        if not self._on_cuda:
            return
        event = torch.cuda.Event()  # type: ignore[no-untyped-call]
        event.record()
        if self._previous is not None:
            self._previous.synchronize()
        self._previous = event
