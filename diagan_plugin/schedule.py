"""When to record, when to score, and which phase a step belongs to: pure functions of the step.

Steps are counted as done: step 1 is the state after the first update. Phase 1 is steps 1 …
`phase1_end`, phase 2 the rest (paper, §4.4). The records that count, T in the paper, are the last
`window` multiples of `record_every` up to the end of the recording; only these are swept at all,
as earlier ones would be pushed out of the window anyway.

- A phase 1 that is no multiple of `record_every` ends with the last multiple before its end.
- A phase 1 too short for a full window uses the records there are; fewer than two are refused, as
  there would be no variance.
- When a finished run is continued with more `--steps`, a phase 2 that had begun keeps its
  beginning; otherwise phase 1 is its share of the new total, as if asked for from the start.
"""

from __future__ import annotations

from dataclasses import dataclass

from diagan_plugin.options import DiaOptions

HISTORY_RECORDS = 100
"""How often the subset for the heat map is swept at most."""

HISTORY_SAMPLES = 2000
"""How many samples the subset for the heat map has at most."""

RAMP_STAGES = 20
"""A ramp changes the weights this often: each change means a new draw of the whole epoch."""


@dataclass(frozen=True)
class Schedule:
    """The schedule of a run.

    Attributes:
        options: The plugin's options.
        total_steps: Steps of the run.
        weighted: Whether there is a phase 2; otherwise the whole run is diagnosed.
        fixed_phase1_end: The end of phase 1 as it was when phase 2 began, for a run continued with
            more steps.
    """

    options: DiaOptions
    total_steps: int
    weighted: bool
    fixed_phase1_end: int | None = None

    @property
    def phase1_end(self) -> int:
        """The last step under uniform sampling."""
        if not self.weighted:
            return self.total_steps
        if self.fixed_phase1_end is not None:
            return self.fixed_phase1_end
        return min(max(round(self.options.phase1 * self.total_steps), 1), self.total_steps)

    @property
    def refreshes(self) -> bool:
        """Whether weights are computed again during phase 2."""
        return self.weighted and self.options.refresh != 0

    @property
    def record_steps(self) -> range:
        """The steps of the sweeps that make up T at the end of phase 1."""
        every, end = self.options.record_every, self.phase1_end
        last = end // every * every
        first = max(last - (self.options.window - 1) * every, every)
        return range(first, last + 1, every)

    def records_at(self, step: int) -> bool:
        """Whether the whole dataset is swept after this step."""
        if self.refreshes and self.phase1_end < step <= self.total_steps:
            return step % self.options.record_every == 0
        return step in self.record_steps

    def observes_at(self, step: int) -> bool:
        """Whether logits of training batches count, when streaming; `step` steps are done."""
        return step < self.phase1_end or self.refreshes

    @property
    def history_every(self) -> int:
        """Steps between two records of the heat map, the first of which is at step 0."""
        return -(-self.total_steps // (HISTORY_RECORDS - 1))

    def history_at(self, step: int) -> bool:
        """Whether the subset for the heat map is swept after this step."""
        return step > 0 and step % self.history_every == 0

    def scores_at(self, step: int) -> bool:
        """Whether new scores are computed after this step."""
        if not self.weighted or step < self.phase1_end or step >= self.total_steps:
            return False
        since = step - self.phase1_end
        return since == 0 or (self.refreshes and since % self.options.refresh == 0)

    def strength(self, step: int) -> float:
        """How far the weights have gone from uniform (0) to their full strength (1)."""
        if self.options.ramp == 0:
            return 1.0
        stage = (step - self.phase1_end) // self._ramp_stage + 1
        return min(stage * self._ramp_stage / self.options.ramp, 1.0)

    def ramps_at(self, step: int) -> bool:
        """Whether the strength changes after this step."""
        since = step - self.phase1_end
        return (
            self.weighted
            and 0 < since < self.options.ramp
            and since % self._ramp_stage == 0
            and step < self.total_steps
        )

    @property
    def _ramp_stage(self) -> int:
        return -(-self.options.ramp // RAMP_STAGES)


def thin_history(steps: list[int], every: int) -> list[int]:
    """Chooses which records of the heat map to keep when a run is continued with more steps.

    Args:
        steps: Steps recorded so far, ascending.
        every: The new interval between records.

    Returns:
        Positions in `steps`, such that the records kept are at least `every` steps apart.
    """
    kept: list[int] = []
    for position, step in enumerate(steps):
        if not kept or step - steps[kept[-1]] >= every or step == 0:
            kept.append(position)
    return kept
