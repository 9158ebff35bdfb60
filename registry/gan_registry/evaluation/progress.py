"""A progress bar for what takes long."""

from __future__ import annotations

from typing import Any

from tqdm import tqdm


class ProgressBar:
    """Shows on stderr how far a computation is, if that is a terminal; see `metrics.base.Progress`.

    One bar at a time: another text begins another bar, and the last one goes when it is full.
    """

    def __init__(self) -> None:
        self._what = ""
        self._bar: tqdm[Any] | None = None

    def __call__(self, what: str, done: int, total: int) -> None:
        """Shows that `done` of `total` are done."""
        if self._bar is None or what != self._what:
            self.close()
            if done >= total:
                return
            self._what = what
            self._bar = tqdm(total=total, desc=what, leave=False, unit_scale=True, disable=None)
        self._bar.total = total
        self._bar.update(done - self._bar.n)
        if done >= total:
            self.close()

    def close(self) -> None:
        """Takes the bar away."""
        if self._bar is not None:
            self._bar.close()
        self._bar = None
