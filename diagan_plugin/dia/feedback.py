"""Closes the loop of `--dia-rule feedback`: the auxiliary discriminator steers the weights.

The rule is in :mod:`diagan_plugin.scoring.feedback`; this asks the auxiliary discriminator of a run
for its ratios when it is time.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from diagan_plugin.dia.auxiliary import auxiliary_loss
from diagan_plugin.dia.centring import as_a_ratio
from diagan_plugin.dia.schedule import FEEDBACK_PASSES
from diagan_plugin.recording.logit_modes import resolve_logit_mode
from diagan_plugin.recording.sweep import random_part, sweep
from diagan_plugin.scoring.feedback import UPDATES, FeedbackWeights
from gan_registry.state_checks import tensor, whole

if TYPE_CHECKING:
    from diagan_plugin.auxiliary.discriminator import AuxiliaryDiscriminator
    from gan_registry.live_run import LiveRun

_LOG = logging.getLogger(__name__)


class Feedback:
    """The loop of one run.

    Args:
        run: The run.
        probabilities: The sampling probabilities of the scores, [N].
        ldrm: LDRM, [N].
        phase1_end: The last step of phase 1.

    Attributes:
        weights: The weights.
        released_at: The step at which the weights of the scores were let go; None before.
        mean_ratio: The mean log ratio under the weights, when they were last updated.
    """

    def __init__(
        self,
        run: LiveRun,
        probabilities: NDArray[np.float64],
        ldrm: NDArray[np.float64],
        phase1_end: int,
    ) -> None:
        self.weights = FeedbackWeights(probabilities, as_a_ratio(torch.from_numpy(ldrm)))
        self.released_at: int | None = None
        self.mean_ratio = math.nan
        self._begin, self._end = phase1_end, run.total_steps
        steps = max(self._end - self._begin, 1)
        self._every = max(steps // UPDATES, 1)
        updates = max(steps // self._every, 1)
        self._fraction = min(
            FEEDBACK_PASSES * steps * run.samples_per_step / updates / len(run.dataset), 1
        )

    @property
    def probabilities(self) -> NDArray[np.float64]:
        """The sampling probabilities [N]."""
        w = self.weights.weights
        p: NDArray[np.float64] = w / w.sum()
        return p

    @property
    def idle(self) -> bool:
        """Whether next to nothing was missed, so that the weights stay uniform."""
        return self.weights.strength == 0.0

    def due(self, step: int) -> bool:
        """Whether the weights follow after this step."""
        since = step - self._begin
        return not self.idle and since > 0 and step < self._end and since % self._every == 0

    def update(self, run: LiveRun, auxiliary: AuxiliaryDiscriminator) -> None:
        """Asks the auxiliary discriminator and follows it."""
        indices = self._indices(run)
        ratio = as_a_ratio(self._ratios(run, auxiliary, indices))
        progress = (run.step - self._begin) / (self._end - self._begin)
        self.weights.update(ratio, progress, indices)
        if self.released_at is None and not self.weights.pressing:
            self.released_at = run.step
            _LOG.info("step %d: the weights of the scores are let go, and follow now.", run.step)
        w, known = self.weights.weights, ~np.isnan(self.weights.ratio)
        if known.any():  # on large data the first updates know a part of the samples
            self.mean_ratio = float(np.average(self.weights.ratio[known], weights=w[known]))
        run.log(
            {
                "weights/mean_log_ratio": self.mean_ratio,
                "weights/ess_share": float(1 / np.square(w).mean()),
            }
        )

    def _indices(self, run: LiveRun) -> NDArray[np.int64] | None:
        """Chooses the samples of an update, a random part that follows from (seed, step)."""
        if self._fraction == 1:
            return None
        return random_part(len(run.dataset), self._fraction, run.seed, "feedback", run.step)

    def _ratios(
        self, run: LiveRun, auxiliary: AuxiliaryDiscriminator, indices: NDArray[np.int64] | None
    ) -> Tensor:
        """Returns the auxiliary discriminator's log ratios [n], in the mode of evaluation."""
        network, loss = auxiliary.discriminator, auxiliary_loss(run)
        return sweep(
            lambda x, y: loss.log_density_ratio(auxiliary.forward(network, x, y), y).float(),
            run.dataset,
            discriminator=network,
            mode=resolve_logit_mode("auto", network),
            batch_size=run.batch_size,
            seed=run.seed,
            step=run.step,
            device=run.device,
            indices=indices,
            ranks=run.group,
        )

    def result(self) -> dict[str, Any]:
        """Returns the entry `feedback` of `result.json`."""
        return {
            "aim": self.weights.aim,
            "strength": self.weights.strength,
            "released_at": self.released_at,
            "mean_log_ratio": self.mean_ratio,
        }

    def state(self) -> dict[str, Any]:
        """Returns this part of a checkpoint."""
        state = self.weights.state_dict()
        arrays = {k: torch.from_numpy(v) for k, v in state.items() if isinstance(v, np.ndarray)}
        own = {"released_at": self.released_at, "mean_ratio": self.mean_ratio}
        return {**state, **arrays, **own}

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Restores what :meth:`state` returned."""
        size = (self.weights.ratio.size,)
        kinds = {"log_weights": torch.float64, "ratio": torch.float64, "age": torch.int64}
        arrays = {name: tensor(state, name, kind, size).numpy() for name, kind in kinds.items()}
        self.weights.load_state_dict({**state, **arrays})
        self.released_at = None if state["released_at"] is None else whole(state, "released_at")
        self.mean_ratio = float(state["mean_ratio"])
