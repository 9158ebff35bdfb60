"""When a checkpoint is due by the clock."""

from __future__ import annotations

import time

_COSTS = 20
"""A checkpoint takes at most one part in so many of the time."""


class SaveClock:
    """Counts the time since the last checkpoint.

    Args:
        minutes: Between two checkpoints; 0 switches the clock off.
    """

    def __init__(self, minutes: float) -> None:
        self.minutes = minutes
        self._saved, self._cost = time.monotonic(), 0.0

    def due(self) -> bool:
        """Whether it is time for a checkpoint."""
        if not self.minutes:
            return False
        return time.monotonic() - self._saved >= max(60 * self.minutes, _COSTS * self._cost)

    def saved(self, started: float) -> None:
        """Notes that a checkpoint has been written.

        Args:
            started: When that began, by `time.monotonic`.
        """
        self._saved = time.monotonic()
        self._cost = self._saved - started
