"""Signals that end a training: the step is finished and saved first."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from types import FrameType
from typing import Any

ENDING = tuple(
    getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)
)
"""Ctrl-C, a polite kill, and a terminal that was closed."""

_ECHO_SECONDS = 1.0
"""A launcher passes on what its processes may have got already; so soon after, it is the same."""


class Interrupted(KeyboardInterrupt):
    """A signal asked this process to end.

    Attributes:
        signal: Which.
        exit_code: What a shell expects of it, 128 + signal.
    """

    def __init__(self, number: int) -> None:
        self.signal = signal.Signals(number)
        self.exit_code = 128 + number
        super().__init__(f"interrupted by {self.signal.name}")


class Interruption:
    """Notes the first signal of a training, for its loop to heed; a second ends the process.

    Only in the main thread, which alone may, and only signals that nobody else handles or ignores:
    so `nohup` stays what it is. As a context manager; outside it everything is as before.

    Args:
        together: Whether a launcher started several processes.

    Attributes:
        signal: The number of the signal that came, or None.
    """

    def __init__(self, together: bool = False) -> None:
        self.together = together
        self.signal: int | None = None
        self._since = 0.0
        self._taken: list[int] = []
        self._handlers = contextlib.ExitStack()

    def __enter__(self) -> Interruption:
        self._taken = self._handlers.enter_context(_handling(self._note))
        return self

    def __exit__(self, *_: object) -> None:
        self._handlers.close()

    def check(self) -> None:
        """Raises what a signal asked for, if there was one.

        Raises:
            Interrupted: There was.
        """
        if self.signal is not None:
            raise Interrupted(self.signal)

    def _note(self, number: int, frame: FrameType | None) -> None:
        now = time.monotonic()
        if self.signal is None:
            self.signal, self._since = number, now
            name = signal.Signals(number).name
            _say(f"{name}: this step is finished and saved first; once more leaves at once")
            if not self.together:
                _leave_it_to_the_system(self._taken)
        elif now - self._since > _ECHO_SECONDS:
            _leave_it_to_the_system(self._taken)
            os.kill(os.getpid(), number)


@contextlib.contextmanager
def leaving_at_signals() -> Iterator[None]:
    """Makes every ending signal what Ctrl-C is: an exception, so that files are left whole.

    Raises:
        Interrupted: A signal came. A second one ends the process at once.
    """

    def leave(number: int, frame: FrameType | None) -> None:
        _leave_it_to_the_system(taken)
        raise Interrupted(number)

    with _handling(leave) as taken:
        yield


def ignore_signals(worker: int) -> None:
    """Has a loader's worker go on when its whole process group is signalled; it ends with the run.

    Args:
        worker: Its number.
    """
    for number in ENDING:
        signal.signal(number, signal.SIG_IGN)


@contextlib.contextmanager
def _handling(handler: Callable[[int, FrameType | None], None]) -> Iterator[list[int]]:
    """Takes over the ending signals that are at their defaults, or handled here; yields them."""
    before: dict[int, Any] = {}
    if threading.current_thread() is threading.main_thread():
        defaults = (signal.SIG_DFL, signal.default_int_handler)
        for number in ENDING:
            found = signal.getsignal(number)
            if found in defaults or getattr(found, "__module__", "") == __name__:
                before[number] = found
    try:
        for number in before:
            signal.signal(number, handler)
        yield list(before)
    finally:
        for number, found in before.items():
            signal.signal(number, found)


def _leave_it_to_the_system(numbers: Iterable[int]) -> None:
    """Makes the next signal end the process, even where Python's own code has no turn."""
    for number in numbers:
        signal.signal(number, signal.SIG_DFL)


def _say(text: str) -> None:
    """Prints within a handler, where streams may be busy."""
    with contextlib.suppress(OSError, ValueError):
        os.write(sys.__stderr__.fileno() if sys.__stderr__ else 2, f"\n{text}\n".encode())
