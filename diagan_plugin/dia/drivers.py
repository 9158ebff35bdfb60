"""What diagnoses or weights by score in a run, and the hooks that hand the run on to it.

Imported when the command line starts, hence free of torch.
"""

from __future__ import annotations

import weakref
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from gan_registry.hookspecs import hookimpl

if TYPE_CHECKING:
    from torch import Tensor

    from diagan_plugin.dia.driver import DiaDriver
    from diagan_plugin.dia.schedule import Schedule
    from gan_registry.records import MicroBatch, Real
    from gan_registry.training.run import Run


class DrivingPlugin:
    """The hooks of a plugin that diagnoses: each goes to the run's driver, where there is one."""

    def __init__(self) -> None:
        self._drivers: weakref.WeakKeyDictionary[Run, DiaDriver] = weakref.WeakKeyDictionary()

    def driver(self, run: Run) -> DiaDriver | None:
        """Returns what acts in a run, or None where nothing was asked for."""
        return self._drivers.get(run)

    @hookimpl
    def gan_train_start(self, run: Run) -> None:
        """Records the state before the first step."""
        if driver := self.driver(run):
            driver.start(run)

    @hookimpl
    def gan_real_logits(self, run: Run, real: Real, logits: Tensor) -> None:
        """Records training batches, when streaming."""
        if driver := self.driver(run):
            driver.observe(run, real, logits)

    @hookimpl
    def gan_discriminator_updated(self, run: Run, batches: Sequence[MicroBatch]) -> None:
        """Trains the auxiliary discriminator in phase 2."""
        if driver := self.driver(run):
            driver.discriminator_updated(run, batches)

    @hookimpl
    def gan_step_end(self, run: Run) -> None:
        """Sweeps, scores and sets weights when it is time."""
        if driver := self.driver(run):
            driver.step_end(run)

    @hookimpl
    def gan_state(self, run: Run) -> Mapping[str, Any] | None:
        """Returns the statistics, the weights and the phase."""
        driver = self.driver(run)
        return None if driver is None else driver.state()

    @hookimpl
    def gan_load_state(self, run: Run, state: Mapping[str, Any]) -> None:
        """Restores them."""
        if driver := self.driver(run):
            driver.load_state(run, state)

    @hookimpl
    def gan_result(self, run: Run) -> Mapping[str, Any] | None:
        """Adds each group's statistics and the summary of the weights to the result."""
        driver = self.driver(run)
        return None if driver is None else driver.result(run)


def weighting_schedule(run: Run) -> Schedule | None:
    """Returns the schedule of what weights by score in a run; None without, or before it is set up.

    Args:
        run: The run, of whose plugins each is asked.
    """
    for plugin in run.plugins.hooks.get_plugins():
        if isinstance(plugin, DrivingPlugin):
            driver = plugin.driver(run)
            if driver is not None and driver.schedule.weighted:
                return driver.schedule
    return None
