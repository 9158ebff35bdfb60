"""When phase 2 begins, which epoch it is, and how often something was done in the present step."""

from __future__ import annotations

import weakref
from typing import TYPE_CHECKING

from diagan_plugin.dia.drivers import weighting_schedule
from diagan_plugin.dia.options import NAME as DIA
from diagan_plugin.dia.options import DiaOptions
from diagan_plugin.dia.schedule import Schedule
from diagan_plugin.flags import AUTO

if TYPE_CHECKING:
    from gan_registry.live_run import LiveRun


DISCRIMINATOR, GENERATOR = "discriminator", "generator"
"""Whose samples count for an epoch."""


def phase1_end(run: LiveRun, start: str | float = AUTO) -> int:
    """Returns the last step of phase 1; updates with that many steps done are phase 2.

    Args:
        run: The run.
        start: A share of the steps, or "auto": where Dia's own phase 2 begins or, in a run without
            it, would begin (`--dia-phase1`, 0.8 by default; Self-Diagnosing GAN, section 5.2), so
            that remedies compared with it get the same share of the training. Under
            `--dia-phase1 auto` that is the end that the run has found; before, and where nothing is
            weighted by score, the latest one.
    """
    if start != AUTO:
        return round(float(start) * run.total_steps)
    options = DiaOptions(**run.options.get(DIA, {}))
    # A share gives the same end anywhere; an automatic one is asked of what has found it.
    found = weighting_schedule(run) if options.phase1 == AUTO else None
    return (found or Schedule(options, run.total_steps, weighted=True)).phase1_end


def epoch_of(run: LiveRun, step: int | None = None, *, by: str = DISCRIMINATOR) -> int:
    """Returns which epoch it is, from 0.

    Args:
        run: The run.
        step: The steps done; those of the run by default.
        by: "discriminator": how often it has seen the data it draws from. "generator": how often
            it has made as many samples as these data are; with several updates of D to each of G
            these epochs are longer.
    """
    settings = run.config.OPTIMIZATION
    samples = run.samples_per_step
    if by == GENERATOR:
        samples = run.batch_size * settings.acml_steps * settings.g_updates_per_step
    return (run.step if step is None else step) * samples // run.sampler.num_samples


class CallsInStep:
    """Numbers what a plugin does several times in a step, where updates or micro-batches are."""

    def __init__(self) -> None:
        self._last: weakref.WeakKeyDictionary[LiveRun, tuple[int, int]] = (
            weakref.WeakKeyDictionary()
        )

    def number(self, run: LiveRun) -> int:
        """Returns how often it was called before in this step of the run."""
        step, number = self._last.get(run, (-1, 0))
        number = number + 1 if step == run.step else 0
        self._last[run] = run.step, number
        return number
