"""Carries out Dia-GAN in one run: records, scores, sets weights, trains the auxiliary D.

The hook class in :mod:`diagan_plugin.dia.plugin` only says when; the statistics, the sampler and
the auxiliary discriminator are modules of their own. This one connects them.
"""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from diagan_plugin.auxiliary.discriminator import AuxiliaryDiscriminator
from diagan_plugin.dia.decisions import Choices
from diagan_plugin.dia.options import AUXILIARY, NAME, DiaOptions
from diagan_plugin.dia.recorder import Recorder
from diagan_plugin.dia.schedule import Schedule
from diagan_plugin.report.diagnosis import Diagnosis, group_table
from diagan_plugin.scoring.score import discrepancy_score, sampling_probabilities
from diagan_plugin.scoring.weights import (
    WeightSummary,
    group_shares,
    summarize_weights,
    weight_warnings,
)
from diagan_plugin.scoring.within_class import within_classes
from gan_registry.datasets.fetching import fetch, to_device
from gan_registry.datasets.labels import labels_of
from gan_registry.losses.logistic import Logistic

if TYPE_CHECKING:
    from gan_registry.records import MicroBatch, Real
    from gan_registry.training.run import Run

MAX_LOGGED_GROUPS = 40
"""With more groups than this, their shares of the weights are not logged one by one."""

_AUXILIARY_OPTIMIZER = f"{NAME}.auxiliary_optimizer"
_STATE_VERSION = 1
_LOG = logging.getLogger(__name__)


class DiaDriver:
    """Dia-GAN in one run.

    Args:
        run: The run, with dataset and networks.
        options: The plugin's options.
        weighted: Whether the run draws by score in phase 2; otherwise it only diagnoses.
    """

    def __init__(self, run: Run, options: DiaOptions, weighted: bool) -> None:
        self.options = options
        self.schedule = Schedule(options, run.total_steps, weighted)
        self.recorder = Recorder(run, options)
        self.choices = Choices(options)
        self.phase = 1
        self.score: NDArray[np.float64] | None = None
        self.probabilities: NDArray[np.float64] | None = None
        self.auxiliary: AuxiliaryDiscriminator | None = None
        self.weight_summary: WeightSummary | None = None
        self.warnings: list[str] = []
        self.draws = np.zeros(len(run.dataset), np.int64)  # of each sample, in phase 2

    def start(self, run: Run) -> None:
        """Makes the record of step 0 for the heat map."""
        self.recorder.start(run)

    def observe(self, run: Run, real: Real, logits: Tensor) -> None:
        """Records the logits of a training batch, when streaming."""
        self.recorder.observe(run, real, logits, self.schedule)

    def discriminator_updated(self, run: Run, batches: Sequence[MicroBatch]) -> None:
        """Counts the draws of phase 2, and trains the auxiliary discriminator."""
        if self.phase != 2:
            self.recorder.train_ratio_head(run, batches)
            return
        # Read off the sampler rather than the batches, which hold this rank's share only.
        drawn = run.sampler.draw(run.position - len(batches) * run.batch_size, run.position)
        np.add.at(self.draws, drawn, 1)
        if self.auxiliary is None:
            return
        fakes = [(batch.fake.x, batch.fake.y) for batch in batches]
        if self.auxiliary.mode == "importance":
            losses = self.auxiliary.step([batch.real for batch in batches], fakes)
        else:

            def provide(indices: NDArray[np.int64]) -> tuple[Tensor, Tensor | None]:
                x, y = fetch(run.dataset, indices)
                return to_device(x, run.device), None if y is None else to_device(y, run.device)

            losses = self.auxiliary.step(provide, fakes)
        if losses is not None:
            run.log({"loss/auxiliary discriminator": losses.real + losses.fake})

    def step_end(self, run: Run) -> None:
        """Does what the schedule asks for after this step."""
        step = run.step
        self.recorder.step_end(run, self.schedule)
        if self.choices.ends_phase1(step, self.recorder, self.schedule):
            self.schedule = dataclasses.replace(self.schedule, fixed_phase1_end=step)
        schedule = self.schedule
        if schedule.scores_at(step):
            self._score(run)
            if self.phase == 1:
                self._start_phase2(run)
            self._set_weights(run)
        elif schedule.ramps_at(step):
            self._set_weights(run)

    def _score(self, run: Run) -> None:
        options = self.options
        mean, variance = self.recorder.moments()
        # Chosen once: when scored again, it is the data that should have changed, not the score.
        k = self.choices.k(self.recorder, final=True)
        self.score = discrepancy_score(mean, variance, k)
        self.probabilities = self._probabilities(run, self.score)
        self.weight_summary = summarize_weights(
            self.probabilities, self.score, options.min_clip, options.max_ratio
        )
        self.warnings = weight_warnings(self.weight_summary)
        tracker = self.recorder.tracker
        if tracker.non_finite_count:
            first = ", ".join(map(str, tracker.non_finite_indices))
            self.warnings.append(
                f"{tracker.non_finite_count} logits were NaN or infinite and were not "
                f"recorded; the first belong to the samples {first}."
            )
        for warning in self.warnings:
            _LOG.warning("step %d: %s", run.step, warning)
        run.log(
            {
                "weights/ess_share": self.weight_summary.ess_share,
                "weights/share_at_floor": self.weight_summary.share_at_floor,
                "weights/share_at_cap": self.weight_summary.share_at_cap,
                "weights/max_over_mean": self.weight_summary.max_over_mean,
            }
        )
        groups, names = run.dataset.groups, run.dataset.group_names
        if groups is not None and len(names) <= MAX_LOGGED_GROUPS:
            shares = group_shares(self.probabilities, groups, len(names))
            run.log({f"weights/share/{n}": float(s) for n, s in zip(names, shares, strict=True)})

    def _probabilities(self, run: Run, score: NDArray[np.float64]) -> NDArray[np.float64]:
        options = self.options
        p = sampling_probabilities(score, options.min_clip, options.max_ratio)
        return within_classes(p, labels_of(run.dataset)) if options.within_class else p

    def _start_phase2(self, run: Run) -> None:
        self.phase = 2
        # The beginning of phase 2 stays where it is, also when the run is continued for longer.
        self.schedule = dataclasses.replace(
            self.schedule, fixed_phase1_end=self.schedule.phase1_end
        )
        self.choices.note_phase1_end(run.step)
        run.log(self.choices.logged())
        self._add_auxiliary(run)

    def _add_auxiliary(self, run: Run) -> None:
        if self.options.aux == "none":
            return
        self.auxiliary = AuxiliaryDiscriminator(
            run.discriminator,
            run.optimizers["discriminator"],
            # A ratio is what DRS needs; D's own loss may not give one.
            Logistic(run.backbone.realness) if self.options.aux_ratio else run.loss,
            len(run.dataset),
            seed=run.seed,
            every=self.options.aux_every,
            mode=self.options.aux,
            rank=run.rank,
            world_size=run.world_size,
            forward=lambda network, x, y: network(x, y),
            average_gradients=run.group.average_gradients,
        )
        run.add(AUXILIARY, self.auxiliary.discriminator)
        run.add(_AUXILIARY_OPTIMIZER, self.auxiliary.optimizer)

    def _weights(self, step: int) -> NDArray[np.float64]:
        """Returns the weights [N] after a step: full strength, or part of the way from uniform."""
        assert self.probabilities is not None
        strength = self.schedule.strength(step)
        weights = strength * self.probabilities + (1 - strength) / len(self.probabilities)
        weights /= weights.sum()
        return weights

    def _set_weights(self, run: Run) -> None:
        weights = self._weights(run.step)
        run.set_weights(weights)
        if self.auxiliary is not None and self.auxiliary.mode == "importance":
            self.auxiliary.set_probabilities(weights)
            run.log({"weights/importance_weight_variance": self.auxiliary.weight_variance})

    def diagnosis(self, run: Run) -> Diagnosis | None:
        """Returns the statistics of every sample as they stand; None before any record."""
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
        metadata = {
            "fingerprint": run.fingerprint,
            "k": k,
            "phase": self.phase,
            "window": self.options.window,
            "records": int(count.max()),
            **self.recorder.describe(run),
        }
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
        )

    def result(self, run: Run) -> dict[str, Any]:
        """Returns this plugin's entries for `result.json`."""
        diagnosis = self.diagnosis(run)
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
            "warnings": self.warnings,
            "auxiliary_calls": None if self.auxiliary is None else self.auxiliary.calls,
        }

    def load_state(self, run: Run, state: Mapping[str, Any]) -> None:
        """Restores what :meth:`state` returned; the host fills the auxiliary D afterwards."""
        options = self.options
        self.phase = state["phase"]
        if self.phase == 2:
            self.schedule = dataclasses.replace(self.schedule, fixed_phase1_end=state["phase1_end"])
        self.recorder.load_state(run, state, self.schedule)
        if "choices" in state:  # none in a checkpoint of an earlier version
            self.choices.load_state(state["choices"])
        self.score = None if state["score"] is None else state["score"].numpy()
        if state["probabilities"] is not None and self.score is not None:
            self.probabilities = state["probabilities"].numpy()
            self.weight_summary = summarize_weights(
                self.probabilities, self.score, options.min_clip, options.max_ratio
            )
        self.draws = state["draws"].numpy().copy()
        self.warnings = list(state["warnings"])
        if state["auxiliary_calls"] is not None:
            self._add_auxiliary(run)
            assert self.auxiliary is not None
            self.auxiliary.calls = state["auxiliary_calls"]
            if self.auxiliary.mode == "importance":
                self.auxiliary.set_probabilities(self._weights(run.step))
