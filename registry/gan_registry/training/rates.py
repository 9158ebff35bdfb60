"""How learning rates change over a run: functions of the step, so that resuming needs no state."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

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
    """Sets the learning rates for the step to come (`OPTIMIZATION.lr_decay`).

    Those of G, of D, and of the optimisers that plugins added, unless they asked not to. A
    group of parameters is decayed from its `initial_lr`, or else from the rate that it has now.
    """
    settings = run.config.OPTIMIZATION
    if settings.lr_decay == "none":
        return
    share = linear_decay(run.step, run.total_steps, settings.lr_decay_start)
    added = [
        addition
        for name, addition in run.additions.items()
        if isinstance(addition, torch.optim.Optimizer) and name not in run.unscheduled
    ]
    for optimizer in (*run.optimizers.values(), *added):
        for group in optimizer.param_groups:
            group["lr"] = group.setdefault("initial_lr", group["lr"]) * share
