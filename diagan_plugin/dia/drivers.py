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
    from gan_registry.live_run import LiveRun
    from gan_registry.records import MicroBatch, Real

_WEIGHTING: weakref.WeakKeyDictionary[LiveRun, DiaDriver] = weakref.WeakKeyDictionary()


class DrivingPlugin:
    """The hooks of a plugin that diagnoses: each goes to the run's driver, where there is one."""

    def __init__(self) -> None:
        self._drivers: weakref.WeakKeyDictionary[LiveRun, DiaDriver] = weakref.WeakKeyDictionary()

    def driver(self, run: LiveRun) -> DiaDriver | None:
        """Returns what acts in a run, or None where nothing was asked for."""
        return self._drivers.get(run)

    def drive(self, run: LiveRun, driver: DiaDriver) -> None:
        """Lets a driver act in a run from here on."""
        self._drivers[run] = driver
        if driver.schedule.weighted:
            _WEIGHTING[run] = driver

    @hookimpl
    def gan_train_start(self, run: LiveRun) -> None:
        """Records the state before the first step."""
        if driver := self.driver(run):
            driver.start(run)

    @hookimpl
    def gan_real_logits(self, run: LiveRun, real: Real, logits: Tensor) -> None:
        """Records training batches, when streaming."""
        if driver := self.driver(run):
            driver.observe(run, real, logits)

    @hookimpl
    def gan_discriminator_updated(self, run: LiveRun, batches: Sequence[MicroBatch]) -> None:
        """Trains the auxiliary discriminator in phase 2."""
        if driver := self.driver(run):
            driver.discriminator_updated(run, batches)

    @hookimpl
    def gan_step_end(self, run: LiveRun) -> None:
        """Sweeps, scores and sets weights when it is time."""
        if driver := self.driver(run):
            driver.step_end(run)

    @hookimpl
    def gan_state(self, run: LiveRun) -> Mapping[str, Any] | None:
        """Returns the statistics, the weights and the phase."""
        driver = self.driver(run)
        return None if driver is None else driver.state()

    @hookimpl
    def gan_load_state(self, run: LiveRun, state: Mapping[str, Any]) -> None:
        """Restores them."""
        if driver := self.driver(run):
            driver.load_state(run, state)

    @hookimpl
    def gan_result(self, run: LiveRun) -> Mapping[str, Any] | None:
        """Adds each group's statistics and the summary of the weights to the result."""
        driver = self.driver(run)
        if driver is None:
            return None
        result = driver.result(run)
        if _WEIGHTING.get(run, driver) is not driver:
            result.pop("chosen", None)  # told by the one whose choice acts
        return result


def weighting_schedule(run: LiveRun) -> Schedule | None:
    """Returns the schedule of what weights by score in a run; None without, or before it is set up.

    Whichever plugin that is: two would be refused.
    """
    driver = _WEIGHTING.get(run)
    return None if driver is None else driver.schedule
