"""Watches the health of a run: looks at some of D's updates, and judges them at each log line."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import torch
from torch import Tensor

from gan_registry.live_run import LiveRun
from gan_registry.records import MicroBatch
from gan_registry.training.health import Finding, Look, judge, measure

LOOKS = 8
"""How many updates between two log lines are looked at: some, as a look costs as much as a few
percent of an update of the smallest networks; several, as one batch may be an exception."""


class HealthWatch:
    """Looks at a run's updates.

    A look leaves a few numbers on the device, which are read when a log line is due, as the losses
    are: no step waits for the device.

    Args:
        run: The run.
    """

    def __init__(self, run: LiveRun) -> None:
        self._run = run
        self._interval = run.config.RUN.print_freq
        self._every = max(min(self._interval, run.total_steps) // LOOKS, 1)
        self._looks: list[Tensor] = []

    def discriminator_updated(self, batches: Sequence[MicroBatch], number: int) -> None:
        """Looks at an update of D, if it is the turn of this one.

        Args:
            batches: Its micro-batches.
            number: The update's number within the step, from 0: the first is looked at.
        """
        run = self._run
        if number == 0 and (run.step + 1) % self._every == 0:
            self._looks.append(measure(run.loss, batches))

    def step_end(self) -> None:
        """Judges what was seen, where a log line is due: logs it, and may stop the run."""
        run = self._run
        if not self._looks or (run.step % self._interval and run.step != run.total_steps):
            return
        seen = run.group.gather(torch.stack(self._looks))
        self._looks = []
        looks = [Look.of(row) for row in seen.tolist()]
        latest = looks[-1]
        run.log({
            "health/logit_low": latest.low,
            "health/logit_high": latest.high,
            "health/sample_spread": latest.spread,
        })  # fmt: skip
        dataset = run.dataset
        for finding in judge(
            looks,
            step=run.step,
            has_level=not run.loss.is_shift_invariant,
            value_range=getattr(dataset, "value_range", None),
            is_image=getattr(dataset, "kind", "image") == "image",
        ):
            run.find(finding)

    def found(self) -> list[dict[str, Any]]:
        """Returns the findings as plain values, for `result.json`."""
        return [asdict(finding) for finding in self._run.findings.values()]

    def state(self) -> dict[str, Any]:
        """Returns this part of a checkpoint."""
        return {
            "looks": torch.stack(self._looks) if self._looks else None,
            "findings": self.found(),
            "stopped_on": self._run.stopped_on,
        }

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Restores what :meth:`state` returned; a run that need not stop any more goes on."""
        run = self._run
        if state["looks"] is not None:
            self._looks = list(state["looks"].to(run.device))
        run.findings = {entry["name"]: Finding(**entry) for entry in state["findings"]}
        if state["stopped_on"] is None or run.stopped is None:
            return
        if state["stopped_on"] in run.config.RUN.stop_on:
            run.stopped_on = state["stopped_on"]
        else:
            run.stopped = None
