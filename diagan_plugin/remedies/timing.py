"""When phase 2 begins, and which epoch it is: pure functions of a run's settings and its step."""

from __future__ import annotations

from typing import TYPE_CHECKING

from diagan_plugin.options import NAME as DIA
from diagan_plugin.options import DiaOptions
from diagan_plugin.remedies.arguments import AUTO
from diagan_plugin.schedule import Schedule

if TYPE_CHECKING:
    from gan_registry.training.run import Run


def phase1_end(run: Run, start: str | float = AUTO) -> int:
    """Returns the last step of phase 1; updates with that many steps done are phase 2.

    Args:
        run: The run.
        start: A share of the steps, or "auto": where Dia's own phase 2 begins or, in a run without
            it, would begin (`--dia-phase1`, 0.8 by default; Self-Diagnosing GAN, section 5.2), so
            that remedies compared with it get the same share of the training.
    """
    if start != AUTO:
        return round(float(start) * run.total_steps)
    dia = run.options.get(DIA)
    options = DiaOptions() if dia is None else DiaOptions.from_mapping(dia)
    return Schedule(options, run.total_steps, weighted=True).phase1_end


def epoch_of(run: Run) -> int:
    """Returns how often the discriminator has seen the data it draws from, rounded down."""
    return run.step * run.samples_per_step // run.sampler.num_samples
