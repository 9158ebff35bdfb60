"""Carries out Dia-GAN in one run: records, scores, sets weights, trains the auxiliary D.

The hook class in :mod:`diagan_plugin.dia.plugin` only says when; the statistics, the choices, the
weights, the sampler and the auxiliary discriminator are modules of their own. This one connects
them.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from diagan_plugin.auxiliary.discriminator import AuxiliaryDiscriminator
from diagan_plugin.dia.auxiliary import add_auxiliary, train_auxiliary
from diagan_plugin.dia.decisions import Choices
from diagan_plugin.dia.options import DiaOptions
from diagan_plugin.dia.progress import is_due, progress_verdict
from diagan_plugin.dia.recorder import Recorder
from diagan_plugin.dia.sample_weights import SampleWeights
from diagan_plugin.dia.schedule import Schedule
from diagan_plugin.report.diagnosis import Diagnosis
from diagan_plugin.report.groups import group_table
from diagan_plugin.report.names import described
from diagan_plugin.report.shares import BEFORE
from diagan_plugin.scoring.score import discrepancy_score
from gan_registry.state_checks import tensor, whole

if TYPE_CHECKING:
    from gan_registry.live_run import LiveRun
    from gan_registry.records import MicroBatch, Real

_STATE_VERSION = 1


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
        self.weights = SampleWeights(options)
        self.auxiliary: AuxiliaryDiscriminator | None = None
        self.draws = np.zeros(len(run.dataset), np.int64)  # of each sample, in phase 2

    def start(self, run: LiveRun) -> None:
        """Reads what is not to be emphasised; makes the record of step 0 for the heat map."""
        self.weights.read_excluded(run)
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
        elif self.weights.feedback is not None and self.weights.feedback.due(run.step):
            assert self.auxiliary is not None
            self.weights.feedback.update(run, self.auxiliary)
            self._set_weights(run)
        # Draw by them more strongly, while the weights are ramped in.
        elif self.schedule.ramps_at(run.step):
            self._set_weights(run)

        if is_due(run.step, run.total_steps) and run.rank == 0:
            diagnosis = self.diagnosis(run, named=False)
            if diagnosis is not None:
                run.log_text("verdict", progress_verdict(run, diagnosis))

    def _score(self, run: LiveRun) -> None:
        # k is chosen once: when scored again, it is the data that should have changed, not the
        # score.
        k = self.choices.k(self.recorder, final=True)
        self.weights.score_records(run, self.recorder, k)

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
        self.weights.close_loop(run, self.recorder, self.schedule.phase1_end)
        idle = self.weights.idle
        how = "as before, as next to nothing was missed" if idle else "by their score"
        run.say(f"phase 2 begins at step {run.step}: samples are drawn {how}")
        if not self.schedule.refreshes:
            self.recorder.tracker.close()  # a window of records is 200 bytes a sample

    def acting_weights(self, run: LiveRun) -> NDArray[np.float64]:
        """Returns the weights [N] at this step: full strength, or part of the way from uniform."""
        return self.weights.acting(run, self.schedule.strength(run.step))

    def _set_weights(self, run: LiveRun) -> None:
        weights = self.acting_weights(run)
        if not self.weights.idle:  # uniform weights would still begin another order of the samples
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
        score, probabilities = self.weights.score, self.weights.probabilities
        k = self.choices.k(self.recorder)
        if score is None or probabilities is None:  # a run that only diagnoses
            score = discrepancy_score(mean, variance, k)
            probabilities = np.full(len(score), np.nan)
            if np.isfinite(score).any():
                probabilities = self.weights.probabilities_of(run, score)
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
        if self.weights.excluded is not None:
            metadata["excluded"] = self.weights.excluded.size
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
        result |= self.weights.result()
        if self.auxiliary is not None and self.auxiliary.weight_variance is not None:
            variance = self.auxiliary.weight_variance
            result["weights"]["importance_weight_variance"] = variance
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
            **self.weights.state(),
            "draws": torch.from_numpy(self.draws),
            "auxiliary_calls": None if self.auxiliary is None else self.auxiliary.calls,
        }

    def load_state(self, run: LiveRun, state: Mapping[str, Any]) -> None:
        """Restores what :meth:`state` returned; the host fills the auxiliary D afterwards."""
        self.phase = whole(state, "phase", 1, 2)
        if self.phase == 2:
            self._fix_phase1_end(whole(state, "phase1_end"))
        self.recorder.load_state(run, state, self.schedule)
        self.choices.load_state(state["choices"])
        self.weights.load_state(run, state, self.recorder, self.schedule.phase1_end)
        self.draws = tensor(state, "draws", torch.int64, (len(run.dataset),)).numpy().copy()
        if state["auxiliary_calls"] is not None:
            self.auxiliary = add_auxiliary(run, self.options)
            self.auxiliary.calls = whole(state, "auxiliary_calls")
            if self.auxiliary.mode == "importance":
                self.auxiliary.set_probabilities(self.acting_weights(run))
