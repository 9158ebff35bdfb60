"""What a run decides for itself under `--dia-k auto` and `--dia-phase1 auto`, and why.

The rules are in :mod:`diagan_plugin.scoring.adaptive`, the steps at which windows are compared in
:mod:`diagan_plugin.dia.schedule`. Statistics are merged over ranks, so that all decide alike.
"""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray

from diagan_plugin.dia.options import DiaOptions
from diagan_plugin.dia.schedule import LATEST, Schedule
from diagan_plugin.flags import AUTO
from diagan_plugin.scoring.adaptive import SETTLED, KChoice, choose_k, rank_correlation
from diagan_plugin.scoring.score import discrepancy_score

if TYPE_CHECKING:
    from diagan_plugin.dia.recorder import Recorder

_LOG = logging.getLogger(__name__)


class Choices:
    """The choices of one run.

    Args:
        options: The plugin's options.

    Attributes:
        correlations: The comparisons of windows so far, (step, rank correlation).
        phase1_end: Where phase 1 ended, once that was decided.
    """

    def __init__(self, options: DiaOptions) -> None:
        self._options = options
        self._k: KChoice | None = None
        self._k_is_final = False
        self.correlations: list[tuple[int, float]] = []
        self.phase1_end: int | None = None
        self._first_record: int | None = None
        # Step → scores of the window that ends there, float32 [N]; no older than a comparison asks.
        self._windows: dict[int, NDArray[np.float32]] = {}

    def k(self, recorder: Recorder, *, final: bool = False) -> float:
        """Returns k: the option, or what the statistics so far suggest.

        Args:
            recorder: The statistics.
            final: Keep this choice from now on.
        """
        if self._options.k != AUTO:
            return float(self._options.k)
        if self._k is None or not self._k_is_final:
            count = recorder.tracker.count.cpu().numpy()
            self._k = choose_k(*recorder.moments(), count)
            if final:
                self._k_is_final = True
                _LOG.info("%s", self._k.reason)
        return self._k.value

    def ends_phase1(self, step: int, recorder: Recorder, schedule: Schedule) -> bool:
        """Whether phase 1 ends after this step as the ranking of the scores has settled."""
        if not schedule.is_open:
            return False
        if self._first_record is None and schedule.records_at(step):
            self._first_record = step
        if not schedule.snapshots_at(step) or self._first_record is None:
            return False
        if step - self._first_record < schedule.window_steps - self._options.record_every:
            return False  # the window is not full yet
        score = discrepancy_score(*recorder.moments(), self.k(recorder)).astype(np.float32)
        earlier = step - schedule.comparison_lag
        previous = self._windows.pop(earlier, None)
        self._windows = {s: kept for s, kept in self._windows.items() if s > earlier}
        self._windows[step] = score
        if previous is None or step not in schedule.comparisons:
            return False
        self.correlations.append((step, rank_correlation(previous, score)))
        return self._has_settled

    def note_phase1_end(self, step: int) -> None:
        """Notes that phase 1 ends after this step, for whatever reason."""
        self.phase1_end = step
        self._windows = {}
        if self._options.phase1 == AUTO:
            _LOG.info("%s", self._phase1_reason)

    def logged(self) -> dict[str, float]:
        """Returns the numbers for the log when phase 2 begins; none where nothing was chosen."""
        numbers: dict[str, float] = {}
        if self._k is not None:
            numbers["chosen/k"] = self._k.value
        if self._options.phase1 == AUTO and self.phase1_end is not None:
            numbers["chosen/phase1_end"] = self.phase1_end
            if self.correlations:
                numbers["chosen/rank_correlation"] = self.correlations[-1][1]
        return numbers

    def result(self) -> dict[str, Any]:
        """Returns the entry `chosen` of `result.json`; empty where nothing was chosen."""
        chosen: dict[str, Any] = {}
        if self._k is not None:
            chosen["k"] = {**dataclasses.asdict(self._k), "why": self._k.reason}
        if self._options.phase1 == AUTO and self.phase1_end is not None:
            chosen["phase1"] = {
                "end": self.phase1_end,
                "settled": self._has_settled,
                "threshold": SETTLED,
                "rank_correlations": [list(pair) for pair in self.correlations],
                "why": self._phase1_reason,
            }
        return chosen

    def state(self) -> dict[str, Any]:
        """Returns this part of a checkpoint."""
        windows = [torch.from_numpy(scores) for scores in self._windows.values()]
        return {
            "k": dataclasses.asdict(self._k) if self._k is not None and self._k_is_final else None,
            "correlations": [list(pair) for pair in self.correlations],
            "phase1_end": self.phase1_end,
            "first_record": self._first_record,
            "window_steps": list(self._windows),
            "windows": torch.stack(windows) if windows else None,
        }

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Restores what :meth:`state` returned."""
        self._k = None if state["k"] is None else KChoice(**state["k"])
        self._k_is_final = self._k is not None
        self.correlations = [(step, value) for step, value in state["correlations"]]
        self.phase1_end = state["phase1_end"]
        self._first_record = state["first_record"]
        steps = state["window_steps"]
        self._windows = {s: state["windows"][row].numpy() for row, s in enumerate(steps)}

    @property
    def _has_settled(self) -> bool:
        return bool(self.correlations) and self.correlations[-1][1] >= SETTLED

    @property
    def _phase1_reason(self) -> str:
        if not self.correlations:
            return (
                f"Phase 1 ended after step {self.phase1_end}, the latest allowed "
                f"({LATEST:.0%} of the steps), before two windows could be compared."
            )
        step, value = self.correlations[-1]
        compared = f"two windows of records up to step {step} correlate by {value:.3f} in rank"
        if self._has_settled:
            return (
                f"Phase 1 ended after step {self.phase1_end}, as the ranking of the scores has "
                f"settled: {compared}, at least {SETTLED:g}."
            )
        return (
            f"Phase 1 ended after step {self.phase1_end}, the latest allowed ({LATEST:.0%} of the "
            f"steps), although the ranking of the scores has not settled: {compared}, less than "
            f"{SETTLED:g}."
        )
