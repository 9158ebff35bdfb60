"""Carries out Dia-GAN in one run: records, scores, sets weights, trains the auxiliary D.

The hook class in :mod:`diagan_plugin.dia.plugin` only says when; the statistics, the choices, the
sampler and the auxiliary discriminator are modules of their own. This one connects them.
"""

from __future__ import annotations

import dataclasses
import logging
import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from diagan_plugin.auxiliary.discriminator import AuxiliaryDiscriminator
from diagan_plugin.dia.auxiliary import add_auxiliary, train_auxiliary
from diagan_plugin.dia.clipping import clipped_finding
from diagan_plugin.dia.decisions import Choices
from diagan_plugin.dia.exclusion import restored, settled
from diagan_plugin.dia.feedback import Feedback
from diagan_plugin.dia.options import DiaOptions
from diagan_plugin.dia.progress import is_due, progress_verdict
from diagan_plugin.dia.recorder import Recorder
from diagan_plugin.dia.schedule import Schedule
from diagan_plugin.report.diagnosis import Diagnosis
from diagan_plugin.report.groups import group_table
from diagan_plugin.report.names import described
from diagan_plugin.report.shares import BEFORE
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
from gan_registry.state_checks import tensor, whole

if TYPE_CHECKING:
    from gan_registry.live_run import LiveRun
    from gan_registry.records import MicroBatch, Real

MAX_LOGGED_GROUPS = 40
"""With more groups than this, their shares of the weights are not logged one by one."""

_STATE_VERSION = 1
_LOG = logging.getLogger(__name__)


class DiaDriver:
    """Dia-GAN in one run.

    Args:
        run: The run, with dataset and networks.
        options: The plugin's options.
        weighted: Whether the run draws by score in phase 2; otherwise it only diagnoses.
    """

    def __init__(self, run: LiveRun, options: DiaOptions, weighted: bool) -> None:
        self.options = options
        self.schedule = Schedule(options, run.total_steps, weighted)
        self.recorder = Recorder(run, options)
        self.choices = Choices(options)
        self.phase = 1
        self.excluded: NDArray[np.int64] | None = None  # None until it is known
        self.score: NDArray[np.float64] | None = None
        self.probabilities: NDArray[np.float64] | None = None
        self.auxiliary: AuxiliaryDiscriminator | None = None
        self.feedback: Feedback | None = None
        self.weight_summary: WeightSummary | None = None
        self.warnings: list[str] = []  # of the last scoring
        self._said: set[str] = set()  # their kinds so far
        self.draws = np.zeros(len(run.dataset), np.int64)  # of each sample, in phase 2

    def start(self, run: LiveRun) -> None:
        """Reads what is not to be emphasised; makes the record of step 0 for the heat map."""
        self.excluded = settled(run, self.options.exclude, self.excluded)
        self.recorder.start(run)

    def observe(self, run: LiveRun, real: Real, logits: Tensor) -> None:
        """Records the logits of a training batch, when streaming."""
        self.recorder.observe(run, real, logits, self.schedule)

    def discriminator_updated(self, run: LiveRun, batches: Sequence[MicroBatch]) -> None:
        """Counts the draws of phase 2, and trains the auxiliary discriminator."""
        self.recorder.centring.note_generated(run, batches)
        if self.phase == 1:
            self.recorder.train_ratio_head(run, batches)
            return
        # Count the draws, those of all ranks.
        np.add.at(self.draws, run.drawn(batches), 1)
        # The auxiliary discriminator goes on learning the data as they are.
        if self.auxiliary is not None:
            train_auxiliary(self.auxiliary, run, batches)

    def step_end(self, run: LiveRun) -> None:
        """Does what the schedule asks for after this step."""
        # Record D's log-density ratios.
        self.recorder.step_end(run, self.schedule)
        # See whether phase 1 may end, where that is left to the run.
        if self.choices.ends_phase1(run.step, self.recorder, self.schedule):
            self._fix_phase1_end(run.step)
        # Score the samples, and draw by the scores from here on.
        if self.schedule.scores_at(run.step):
            self._score(run)
            if self.phase == 1:
                self._start_phase2(run)
            self._set_weights(run)
        # Follow the auxiliary discriminator, where it steers the weights.
        elif self.feedback is not None and self.feedback.due(run.step):
            assert self.auxiliary is not None
            self.feedback.update(run, self.auxiliary)
            self._set_weights(run)
        # Draw by them more strongly, while the weights are ramped in.
        elif self.schedule.ramps_at(run.step):
            self._set_weights(run)

        if is_due(run.step, run.total_steps) and run.rank == 0:
            diagnosis = self.diagnosis(run, named=False)
            if diagnosis is not None:
                run.log_text("verdict", progress_verdict(run, diagnosis))

    def _score(self, run: LiveRun) -> None:
        # Score the records. k is chosen once: when scored again, it is the data that should have
        # changed, not the score.
        k = self.choices.k(self.recorder, final=True)
        self.score = discrepancy_score(*self.recorder.moments(), k)
        self.probabilities = self._probabilities(run, self.score)
        # Say what is odd about the weights, and log how they spread.
        self.weight_summary = self._summary(self.probabilities, self.score)
        self.warnings = weight_warnings(self.weight_summary, self.recorder.centring.kind != "none")
        tracker = self.recorder.tracker
        if tracker.non_finite_count:
            first = ", ".join(map(str, tracker.non_finite_indices))
            self.warnings.append(
                f"{tracker.non_finite_count} logits were NaN or infinite and were not "
                f"recorded; the first belong to the samples {first}."
            )
        if self.recorder.centring.is_missing:
            self.warnings.append(
                "D's output is no density ratio, and no generated samples were shown with its "
                "updates: the scores depend on its constant, which means nothing."
            )
        if sickness := clipped_finding(run.step, self.score, self.probabilities):
            run.find(sickness)
        for warning in self.warnings:
            kind = re.split(r"[:;\d]", warning.lstrip("0123456789.% "))[0]
            if kind not in self._said:  # a run that scores a thousand times would fill its log
                self._said.add(kind)
                _LOG.warning("step %d: %s", run.step, warning)
        run.log(
            {
                "weights/ess_share": self.weight_summary.ess_share,
                "weights/share_at_floor": self.weight_summary.share_at_floor,
                "weights/share_at_cap": self.weight_summary.share_at_cap,
                "weights/max_over_mean": self.weight_summary.max_over_mean,
            }
        )
        # Log each group's share, where groups are known.
        groups, names = run.dataset.groups, run.dataset.group_names
        if groups is not None and len(names) <= MAX_LOGGED_GROUPS:
            shares = group_shares(self.probabilities, groups, len(names))
            run.log({f"weights/share/{n}": float(s) for n, s in zip(names, shares, strict=True)})

    def _probabilities(self, run: LiveRun, score: NDArray[np.float64]) -> NDArray[np.float64]:
        options = self.options
        return self._within(run, sampling_probabilities(score, options.min_clip, options.max_ratio))

    def _within(self, run: LiveRun, p: NDArray[np.float64]) -> NDArray[np.float64]:
        """Returns probabilities [N] within the classes, if asked for, and without the excluded."""
        labels = labels_of(run.dataset) if self.options.within_class else None
        p = p if labels is None else within_classes(p, labels)
        return p if self.excluded is None else without_emphasis(p, self.excluded, labels)

    def _summary(
        self, probabilities: NDArray[np.float64], score: NDArray[np.float64]
    ) -> WeightSummary:
        options = self.options
        return summarize_weights(probabilities, score, options.min_clip, options.max_ratio)

    def _fix_phase1_end(self, step: int) -> None:
        self.schedule = dataclasses.replace(self.schedule, fixed_phase1_end=step)

    def _start_phase2(self, run: LiveRun) -> None:
        self.phase = 2
        # The beginning of phase 2 stays where it is, also when the run is continued for longer.
        self._fix_phase1_end(self.schedule.phase1_end)
        self.choices.note_phase1_end(run.step)
        run.log(self.choices.logged())
        if self.options.aux != "none":
            self.auxiliary = add_auxiliary(run, self.options)
        # The state to compare with: what the generator makes before its draws are weighted.
        run.keep_generator(BEFORE)
        run.say(f"phase 2 begins at step {run.step}: samples are drawn by their score")
        self._close_loop(run)
        if not self.schedule.refreshes:
            self.recorder.tracker.close()  # a window of records is 200 bytes a sample

    def _close_loop(self, run: LiveRun) -> None:
        if self.options.rule == "feedback":
            assert self.probabilities is not None
            self.feedback = Feedback(
                run, self.probabilities, self.recorder.moments()[0], self.schedule.phase1_end
            )

    def _weights(self, run: LiveRun) -> NDArray[np.float64]:
        """Returns the weights [N] at this step: full strength, or part of the way from uniform."""
        assert self.probabilities is not None
        if self.feedback is not None:
            return self._within(run, self.feedback.probabilities)
        strength = self.schedule.strength(run.step)
        weights = strength * self.probabilities + (1 - strength) / len(self.probabilities)
        weights /= weights.sum()
        return weights

    def _set_weights(self, run: LiveRun) -> None:
        weights = self._weights(run)
        run.set_weights(weights)
        if self.auxiliary is not None and self.auxiliary.mode == "importance":
            self.auxiliary.set_probabilities(weights)
            run.log({"weights/importance_weight_variance": self.auxiliary.weight_variance})

    def diagnosis(self, run: LiveRun, *, named: bool = True) -> Diagnosis | None:
        """Returns the statistics of every sample as they stand; None before any record.

        Args:
            run: The run.
            named: With what a reader knows the samples by: names and labels, a million of them
                perhaps.
        """
        count = self.recorder.tracker.count.cpu().numpy()
        if not count.any():
            return None
        mean, variance = self.recorder.moments()
        score, probabilities = self.score, self.probabilities
        k = self.choices.k(self.recorder)
        if score is None or probabilities is None:  # a run that only diagnoses
            score = discrepancy_score(mean, variance, k)
            probabilities = np.full(len(score), np.nan)
            if np.isfinite(score).any():
                probabilities = self._probabilities(run, score)
        dataset = run.dataset
        samples, texts = described(dataset) if named else ({}, {})
        metadata = {
            **texts,
            "fingerprint": run.fingerprint,
            "k": k,
            "phase": self.phase,
            "window": self.options.window,
            "records": int(count.max()),
            **self.recorder.describe(run),
        }
        if self.excluded is not None:
            metadata["excluded"] = self.excluded.size
        if self.phase == 2:
            metadata["phase_boundary"] = self.schedule.phase1_end + 1
        return Diagnosis(
            ldrm=mean,
            ldrv=variance,
            score=score,
            probability=probabilities,
            count=count,
            group=np.full(len(score), -1) if dataset.groups is None else dataset.groups,
            history=self.recorder.history_table(),
            history_steps=np.asarray(self.recorder.history_steps, np.int64),
            history_indices=self.recorder.history_indices,
            metadata={name: str(value) for name, value in metadata.items()},
            **samples,
        )

    def result(self, run: LiveRun) -> dict[str, Any]:
        """Returns this plugin's entries for `result.json`."""
        diagnosis = self.diagnosis(run, named=False)
        result: dict[str, Any] = {}
        if diagnosis is not None and run.dataset.groups is not None:
            rows = group_table(
                diagnosis.group,
                ldrm=diagnosis.ldrm,
                ldrv=diagnosis.ldrv,
                score=diagnosis.score,
                names=run.dataset.group_names,
                drawn=self.draws if self.draws.any() else None,
            )
            result["groups"] = {
                row.name: {
                    name: row.to_result()[name] for name in ("share_drawn", "ldrm", "ldrv", "score")
                }
                for row in rows
                if row.group >= 0
            }
        if self.weight_summary is not None:
            result["weights"] = {
                **dataclasses.asdict(self.weight_summary),
                "warnings": self.warnings,
            }
            if self.auxiliary is not None and self.auxiliary.weight_variance is not None:
                variance = self.auxiliary.weight_variance
                result["weights"]["importance_weight_variance"] = variance
        if self.feedback is not None:
            result["feedback"] = self.feedback.result()
        result |= self.recorder.holdout.result()
        if chosen := self.choices.result():
            result["chosen"] = chosen
        return result

    def state(self) -> dict[str, Any]:
        """Returns the plugin's part of a checkpoint."""
        return {
            "version": _STATE_VERSION,
            "phase": self.phase,
            "phase1_end": self.schedule.phase1_end,
            **self.recorder.state(),
            "choices": self.choices.state(),
            "score": None if self.score is None else torch.from_numpy(self.score),
            "probabilities": (
                None if self.probabilities is None else torch.from_numpy(self.probabilities)
            ),
            "draws": torch.from_numpy(self.draws),
            "excluded": None if self.excluded is None else torch.from_numpy(self.excluded),
            "warnings": self.warnings,
            "feedback": None if self.feedback is None else self.feedback.state(),
            "auxiliary_calls": None if self.auxiliary is None else self.auxiliary.calls,
        }

    def load_state(self, run: LiveRun, state: Mapping[str, Any]) -> None:
        """Restores what :meth:`state` returned; the host fills the auxiliary D afterwards."""
        num = len(run.dataset)
        self.excluded = restored(state, num, self.excluded, self.options.exclude)
        self.phase = whole(state, "phase", 1, 2)
        if self.phase == 2:
            self._fix_phase1_end(whole(state, "phase1_end"))
        self.recorder.load_state(run, state, self.schedule)
        self.choices.load_state(state["choices"])
        if state["score"] is not None:
            self.score = tensor(state, "score", torch.float64, (num,)).numpy()
        if state["probabilities"] is not None and self.score is not None:
            self.probabilities = tensor(state, "probabilities", torch.float64, (num,)).numpy()
            self.weight_summary = self._summary(self.probabilities, self.score)
        self.draws = tensor(state, "draws", torch.int64, (num,)).numpy().copy()
        self.warnings = [str(text) for text in state["warnings"]]
        if state.get("feedback") is not None:
            self._close_loop(run)
            assert self.feedback is not None
            self.feedback.load_state(state["feedback"])
        if state["auxiliary_calls"] is not None:
            self.auxiliary = add_auxiliary(run, self.options)
            self.auxiliary.calls = whole(state, "auxiliary_calls")
            if self.auxiliary.mode == "importance":
                self.auxiliary.set_probabilities(self._weights(run))
