"""How learning rates change over a run: functions of the step, so that resuming needs no state."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from gan_registry.training.run import Run


def linear_decay(step: int, total_steps: int, start: int = 0) -> float:
    """Returns the share of the learning rate that is left before step number `step`, from 0.

    1 up to `start`, and from there down to 0 at the end of the run (in torch-mimicry: `linear`).
    """
    if step <= start or total_steps <= start:
        return 1.0
    return max(1.0 - (step - start) / (total_steps - start), 0.0)


def set_learning_rates(run: Run) -> None:
    """Sets the learning rates of G and D for the step to come (`OPTIMIZATION.lr_decay`)."""
    settings = run.config.OPTIMIZATION
    if settings.lr_decay == "none":
        return
    share = linear_decay(run.step, run.total_steps, settings.lr_decay_start)
    for optimizer in run.optimizers.values():
        for group in optimizer.param_groups:
            group["lr"] = group["initial_lr"] * share
