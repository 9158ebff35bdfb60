"""What the scores of a run make of its draws: score, probabilities and the weights that act."""

from __future__ import annotations

import dataclasses
import logging
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray

from diagan_plugin.dia.clipping import clipped_finding
from diagan_plugin.dia.exclusion import restored, settled
from diagan_plugin.dia.feedback import Feedback
from diagan_plugin.dia.options import DiaOptions
from diagan_plugin.scoring.exclusion import without_emphasis
from diagan_plugin.scoring.score import discrepancy_score, sampling_probabilities
from diagan_plugin.scoring.weights import (
    WeightSummary,
    group_shares,
    summarize_weights,
    weight_warnings,
)
from diagan_plugin.scoring.within_class import within_classes
from gan_registry.datasets.labels import labels_of
from gan_registry.state_checks import tensor

if TYPE_CHECKING:
    from diagan_plugin.dia.recorder import Recorder
    from gan_registry.live_run import LiveRun

Floats = NDArray[np.float64]

MAX_LOGGED_GROUPS = 40
"""With more groups than this, their shares of the weights are not logged one by one."""

_LOG = logging.getLogger(__name__)


class SampleWeights:
    """The weights of one run.

    Args:
        options: The plugin's options.

    Attributes:
        excluded: Samples that are not emphasised, int64; None where no list was given, and before
            it is read.
        score: The discrepancy score, [N]; None before the first scoring.
        probabilities: The sampling probabilities that the scores ask for, [N]; None before.
        summary: How they spread.
        warnings: Of the last scoring.
        feedback: What steers the weights in phase 2, where a rule asks for it.
    """

    def __init__(self, options: DiaOptions) -> None:
        self._options = options
        self.excluded: NDArray[np.int64] | None = None
        self.score: Floats | None = None
        self.probabilities: Floats | None = None
        self.summary: WeightSummary | None = None
        self.warnings: list[str] = []
        self.feedback: Feedback | None = None
        self._said: set[str] = set()  # kinds of warnings so far

    def read_excluded(self, run: LiveRun) -> None:
        """Reads what is not to be emphasised."""
        self.excluded = settled(run, self._options.exclude, self.excluded)

    def score_records(self, run: LiveRun, recorder: Recorder, k: float) -> None:
        """Scores the records, logs how the weights spread, and says what is odd about them."""
        self.score = discrepancy_score(*recorder.moments(), k)
        self.probabilities = self.probabilities_of(run, self.score)
        self.summary = self._summary(self.probabilities, self.score)
        self.warnings = weight_warnings(self.summary, recorder.centring.kind != "none")
        self.warnings += recorder.warnings()
        if sickness := clipped_finding(run.step, self.score, self.probabilities):
            run.find(sickness)
        for warning in self.warnings:
            kind = re.split(r"[:;\d]", warning.lstrip("0123456789.% "))[0]
            if kind not in self._said:  # a run that scores a thousand times would fill its log
                self._said.add(kind)
                _LOG.warning("step %d: %s", run.step, warning)
        run.log(
            {
                "weights/ess_share": self.summary.ess_share,
                "weights/share_at_floor": self.summary.share_at_floor,
                "weights/share_at_cap": self.summary.share_at_cap,
                "weights/max_over_mean": self.summary.max_over_mean,
            }
        )
        groups, names = run.dataset.groups, run.dataset.group_names
        if groups is not None and len(names) <= MAX_LOGGED_GROUPS:
            shares = group_shares(self.probabilities, groups, len(names))
            run.log({f"weights/share/{n}": float(s) for n, s in zip(names, shares, strict=True)})

    def probabilities_of(self, run: LiveRun, score: Floats) -> Floats:
        """Returns the sampling probabilities [N] that scores [N] ask for."""
        options = self._options
        return self._within(run, sampling_probabilities(score, options.min_clip, options.max_ratio))

    def close_loop(self, run: LiveRun, recorder: Recorder, phase1_end: int) -> None:
        """Lets the auxiliary discriminator steer the weights, where the rule asks for it."""
        if self._options.rule == "feedback":
            assert self.probabilities is not None
            self.feedback = Feedback(run, self.probabilities, recorder.moments()[0], phase1_end)

    @property
    def idle(self) -> bool:
        """Whether the draws of phase 2 are to stay as they are: nothing was missed."""
        return self.feedback is not None and self.feedback.idle

    def acting(self, run: LiveRun, strength: float) -> Floats:
        """Returns the weights [N] of the next draws, of sum 1.

        Args:
            run: The run.
            strength: How far they are on the way from uniform to what the scores ask for.
        """
        assert self.probabilities is not None
        if self.feedback is not None:
            return self._within(run, self.feedback.probabilities)
        weights = strength * self.probabilities + (1 - strength) / len(self.probabilities)
        weights /= weights.sum()
        return weights

    def _within(self, run: LiveRun, p: Floats) -> Floats:
        """Returns probabilities [N] within the classes, if asked for, and without the excluded."""
        labels = labels_of(run.dataset) if self._options.within_class else None
        p = p if labels is None else within_classes(p, labels)
        return p if self.excluded is None else without_emphasis(p, self.excluded, labels)

    def _summary(self, probabilities: Floats, score: Floats) -> WeightSummary:
        options = self._options
        return summarize_weights(probabilities, score, options.min_clip, options.max_ratio)

    def result(self) -> dict[str, Any]:
        """Returns the entries `weights` and `feedback` of `result.json`, where there are any."""
        result: dict[str, Any] = {}
        if self.summary is not None:
            result["weights"] = {**dataclasses.asdict(self.summary), "warnings": self.warnings}
        if self.feedback is not None:
            result["feedback"] = self.feedback.result()
        return result

    def state(self) -> dict[str, Any]:
        """Returns this part of a checkpoint."""
        arrays = {
            "score": self.score, "probabilities": self.probabilities, "excluded": self.excluded
        }  # fmt: skip
        return {
            **{k: None if v is None else torch.from_numpy(v) for k, v in arrays.items()},
            "warnings": self.warnings,
            "feedback": None if self.feedback is None else self.feedback.state(),
        }

    def load_state(
        self, run: LiveRun, state: Mapping[str, Any], recorder: Recorder, phase1_end: int
    ) -> None:
        """Restores what :meth:`state` returned."""
        num = len(run.dataset)
        self.excluded = restored(state, num, self.excluded, self._options.exclude)
        if state["score"] is not None:
            self.score = tensor(state, "score", torch.float64, (num,)).numpy()
        if state["probabilities"] is not None and self.score is not None:
            self.probabilities = tensor(state, "probabilities", torch.float64, (num,)).numpy()
            self.summary = self._summary(self.probabilities, self.score)
        self.warnings = [str(text) for text in state["warnings"]]
        if state.get("feedback") is not None:
            self.close_loop(run, recorder, phase1_end)
            assert self.feedback is not None
            self.feedback.load_state(state["feedback"])
