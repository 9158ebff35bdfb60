"""StudioGAN's steps as the hooks' clock.

A step is one call of `train_discriminator` and one of `train_generator`, in the order of
`OPTIMIZATION.d_first`. StudioGAN trains one step more than its `total_steps`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from diagan_plugin.hosts.studiogan.run import StudioRun
from diagan_plugin.hosts.studiogan.updates import Updates


class Clock:
    """Fires the hooks of a step's beginning and end.

    Args:
        run: The run.
        updates: Follows the updates within a step.
        due: Called at the end of each step, after the hooks, with whether it was the last.
    """

    def __init__(self, run: StudioRun, updates: Updates, due: Callable[[bool], None]) -> None:
        self.run = run
        self.updates = updates
        self._due = due

    def train_discriminator(
        self, original: Callable[..., Any], worker: Any, current_step: int
    ) -> Any:
        """Trains D as StudioGAN does, within the step."""
        return self._half("discriminator", original, worker, current_step)

    def train_generator(self, original: Callable[..., Any], worker: Any, current_step: int) -> Any:
        """Trains G as StudioGAN does, within the step."""
        return self._half("generator", original, worker, current_step)

    def _half(
        self, phase: str, original: Callable[..., Any], worker: Any, current_step: int
    ) -> Any:
        run, settings = self.run, worker.OPTIMIZATION
        is_first = (phase == "discriminator") == bool(settings.d_first)
        if is_first:
            run.step = current_step
            run.new_step()
        self.updates.begin(phase)
        try:
            result = original(worker, current_step)
            self.updates.end()
        finally:
            self.updates.abandon()
        if not is_first:
            run.step = current_step + 1
            run.hooks.step_end(run)
            if run.stopped is not None:
                settings.total_steps = current_step  # StudioGAN's loop then ends by itself
            self._due(current_step >= settings.total_steps)
        return result
