"""When to record, when to score, and which phase a step belongs to: pure functions of the step.

Steps are counted as done: step 1 is the state after the first update. Phase 1 is steps 1 …
`phase1_end`, phase 2 the rest (paper, §4.4). The records that count, T in the paper, are the last
`window` multiples of `record_every` up to the end of the recording; only these are swept at all,
as earlier ones would be pushed out of the window anyway.

- With `last_record` "before-end" the end of phase 1 is not recorded itself, only what comes before.
- A phase 1 that is no multiple of `record_every` ends with the last multiple before its end.
- A phase 1 too short for a full window uses the records there are; fewer than two are refused, as
  there would be no variance.
- With `phase1` "auto" phase 1 ends where the ranking of the scores has settled, or else at
  :data:`LATEST`. Until then every multiple of `record_every` is swept from two windows before the
  first comparison on; T is then the last window before the end that was found.
- When a finished run is continued with more `--steps`, a phase 2 that had begun keeps its
  beginning; otherwise phase 1 is its share of the new total, as if asked for from the start.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from diagan_plugin.dia.options import BEFORE_END, DiaOptions
from diagan_plugin.flags import AUTO

HISTORY_RECORDS = 100
"""How often the subset for the heat map is swept at most."""

HISTORY_SAMPLES = 2000
"""How many samples the subset for the heat map has at most."""

RAMP_STAGES = 20
"""A ramp changes the weights this often: each change means a new draw of the whole epoch."""

FEEDBACK_PASSES = 2
"""How many samples all updates of steered weights together pass through the auxiliary D, per sample
trained on: about a tenth of what a step of phase 2 computes. On larger data an update takes a part
of them."""

EARLIEST, LATEST = 0.5, 0.9
"""Where an automatic phase 1 may end, as shares of the steps. Published are 0.5 (GOLD's code) to
0.9 (the replication on small data). There is a phase 2 in any case."""

COMPARISONS_PER_WINDOW = 5
"""How often the newest window is compared, while it moves on by its length."""


@dataclass(frozen=True)
class Schedule:
    """The schedule of a run.

    Attributes:
        options: The plugin's options.
        total_steps: Steps of the run.
        weighted: Whether there is a phase 2; otherwise the whole run is diagnosed.
        fixed_phase1_end: The end of phase 1 as it was when phase 2 began: found, or kept for a run
            continued with more steps.
    """

    options: DiaOptions
    total_steps: int
    weighted: bool
    fixed_phase1_end: int | None = None

    @property
    def phase1_end(self) -> int:
        """The last step under uniform sampling; as long as it :attr:`is_open`, the latest."""
        if not self.weighted:
            return self.total_steps
        if self.fixed_phase1_end is not None:
            return self.fixed_phase1_end
        if self.options.phase1 == AUTO:
            return max(min(round(LATEST * self.total_steps), self.total_steps - 1), 1)
        share = float(self.options.phase1)
        return min(max(round(share * self.total_steps), 1), self.total_steps)

    @property
    def is_open(self) -> bool:
        """Whether the end of phase 1 is still to be found."""
        return self.weighted and self.options.phase1 == AUTO and self.fixed_phase1_end is None

    @property
    def refreshes(self) -> bool:
        """Whether weights are computed again during phase 2."""
        return self.weighted and self.options.refresh != 0

    @property
    def record_steps(self) -> range:
        """The steps of the sweeps that make up T when phase 1 ends; of all, while that is open."""
        every, end = self.options.record_every, self.phase1_end
        if self.options.last_record == BEFORE_END:
            end -= 1
        last = end // every * every
        first = last - (self.options.window - 1) * every
        if self.is_open:
            oldest = self.comparisons.start - self.comparison_lag
            first = oldest - self.window_steps + every
        return range(max(first, every), last + 1, every)

    @property
    def window_steps(self) -> int:
        """Steps in which a sample gets a window of records, where sweeps take a share of them."""
        return math.ceil(self.options.window / self.options.record_fraction) * (
            self.options.record_every
        )

    @property
    def _snapshot_every(self) -> int:
        every = self.options.record_every
        return max(self.window_steps // every // COMPARISONS_PER_WINDOW, 1) * every

    @property
    def comparison_lag(self) -> int:
        """Steps between the ends of two windows that are compared: they share no record."""
        return -(-self.window_steps // self._snapshot_every) * self._snapshot_every

    @property
    def comparisons(self) -> range:
        """The steps at which a window is compared with the one before, as long as that is open."""
        every, lag = self._snapshot_every, self.comparison_lag
        earliest = max(round(EARLIEST * self.total_steps), lag + self.window_steps)
        first = -(-earliest // every) * every
        return range(first, self.phase1_end + 1 if self.is_open else first, every)

    def snapshots_at(self, step: int) -> bool:
        """Whether the window that ends here is compared, now or a window later."""
        first = self.comparisons.start - self.comparison_lag
        return self.is_open and step >= first and step % self._snapshot_every == 0

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
        """Steps between two records of the heat map, the first of which is at step 0.

        A multiple of those between two sweeps, unless that is longer: a sweep of all samples can
        then be both.
        """
        every = -(-self.total_steps // (HISTORY_RECORDS - 1))
        unit = self.options.record_every
        return every if self.options.record != "sweep" or unit > every else -(-every // unit) * unit

    def history_at(self, step: int) -> bool:
        """Whether the subset for the heat map is swept after this step."""
        return 0 < step <= self.total_steps and step % self.history_every == 0

    def scores_at(self, step: int) -> bool:
        """Whether new scores are computed after this step."""
        if not self.weighted or step < self.phase1_end or step >= self.total_steps:
            return False
        since = step - self.phase1_end
        return since == 0 or (self.refreshes and since % int(self.options.refresh) == 0)

    def strength(self, step: int) -> float:
        """Returns how far the weights have gone from uniform (0) to full strength (1)."""
        if not self._ramp:
            return 1.0
        stage = (step - self.phase1_end) // self._ramp_stage + 1
        return min(stage * self._ramp_stage / self._ramp, 1.0)

    def ramps_at(self, step: int) -> bool:
        """Whether the strength changes after this step."""
        since = step - self.phase1_end
        return (
            self.weighted
            and 0 < since < self._ramp
            and since % self._ramp_stage == 0
            and step < self.total_steps
        )

    @property
    def _ramp(self) -> int:
        return int(self.options.ramp)

    @property
    def _ramp_stage(self) -> int:
        return -(-self._ramp // RAMP_STAGES)


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
        if not kept or step - steps[kept[-1]] >= every:
            kept.append(position)
    return kept


def plan(
    options: DiaOptions,
    total_steps: int,
    weighted: bool,
    num_samples: int,
    samples_per_step: int,
    held_out: int = 0,
) -> dict[str, Any]:
    """Describes the schedule for `--dry-run`."""
    schedule = Schedule(options, total_steps, weighted)
    records, end = schedule.record_steps, schedule.phase1_end
    is_open = schedule.is_open
    subset = min(num_samples, HISTORY_SAMPLES)
    history = total_steps // schedule.history_every + 1
    how = "uniform sampling" if weighted else "diagnosis alone"
    rows: dict[str, Any] = {"phase 1": f"steps 1–{end}, {how}"}
    first_end = end
    if is_open:
        first_end = schedule.comparisons.start
        rows["phase 1"] = (
            f"uniform sampling until the ranking of the scores has settled, after step {first_end} "
            f"to {end}"
        )
    extra, swept = history * subset, 0
    if options.record == "sweep":
        short = "" if len(records) >= options.window else f" (of a window of {options.window})"
        swept = round(options.record_fraction * num_samples)
        rows["records"] = (
            f"{len(records)} sweeps{' at most' if is_open else ''} of {swept} samples{short}, each "
            f"{options.record_every} steps from {records.start} to {records[-1]}"
            f"{', and on in phase 2' if schedule.refreshes else ''}"
        )
    else:
        rows["records"] = f"training batches; the last {options.window} of each sample count"
    rows["heat map"] = f"{history} sweeps of {subset} samples"
    if held_out:
        compared = min(held_out, HISTORY_SAMPLES)
        rows["held-out data"] = f"{history} sweeps of {compared} samples"
        extra += history * compared
    if weighted:
        steps = f"from then to step {total_steps}" if is_open else f"steps {end + 1}–{total_steps}"
        steered = ", then steered" if options.rule == "feedback" else ""
        if schedule.refreshes:
            steered = f", scored again each {options.refresh} steps"
        rows["phase 2"] = f"{steps}, drawn by score (k = {options.k}){steered}"

    def cost(end: int) -> int:
        sweeps = sum(step <= end for step in records)
        if schedule.refreshes:
            sweeps += total_steps // options.record_every - end // options.record_every
        passes = swept * sweeps
        if weighted and options.aux != "none":
            # Two batches forward and backward, at about three forward passes each.
            passes += (total_steps - end) // options.aux_every * 6 * samples_per_step
        if weighted and options.rule == "feedback":
            passes += (total_steps - end) * FEEDBACK_PASSES * samples_per_step
        return passes

    # An end still to be found costs most at one of its bounds, as both parts are linear in it.
    return {**rows, "discriminator_samples": extra + max(cost(end), cost(first_end))}
