"""When phase 2 begins, and which epoch it is: pure functions of a run's settings and its step."""

from __future__ import annotations

from typing import TYPE_CHECKING

from diagan_plugin.dia.options import NAME as DIA
from diagan_plugin.dia.options import DiaOptions
from diagan_plugin.dia.schedule import Schedule
from diagan_plugin.flags import AUTO

if TYPE_CHECKING:
    from gan_registry.live_run import LiveRun


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
    found = _schedule_in_force(run)
    if found is not None:
        return found.phase1_end
    dia = run.options.get(DIA)
    options = DiaOptions() if dia is None else DiaOptions.from_mapping(dia)
    return Schedule(options, run.total_steps, weighted=True).phase1_end


def _schedule_in_force(run: LiveRun) -> Schedule | None:
    """Returns the schedule of what weights by score in a run; None without, or before it is set up.

    Only an automatic end is asked for: a share gives the same end anywhere.
    """
    dia = run.options.get(DIA)
    if dia is None or dia["phase1"] != AUTO:
        return None
    from diagan_plugin.dia.plugin import DiaPlugin
    from diagan_plugin.remedies.loss_weighting.plugin import LossWeightingPlugin

    for plugin in run.plugins.hooks.get_plugins():
        if isinstance(plugin, (DiaPlugin, LossWeightingPlugin)):
            driver = plugin.driver(run)
            if driver is not None and driver.schedule.weighted:
                return driver.schedule
    return None


def epoch_of(run: LiveRun) -> int:
    """Returns how often the discriminator has seen the data it draws from, rounded down."""
    return run.step * run.samples_per_step // run.sampler.num_samples
