"""Dia-GAN's phases with the weights in D's loss, where Dia puts them into the sampler."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from diagan_plugin.dia.driver import DiaDriver
from diagan_plugin.dia.options import DiaOptions
from gan_registry.errors import UserError

if TYPE_CHECKING:
    from gan_registry.live_run import LiveRun


class WeightingDriver(DiaDriver):
    """Diagnoses and scores as Dia does, but leaves the draws alone.

    Attributes:
        active_probabilities: float32 [N] on the run's device, or None in phase 1.
    """

    def __init__(self, run: LiveRun, options: DiaOptions) -> None:
        super().__init__(run, options, weighted=True)
        self.active_probabilities: Tensor | None = None

    def load_state(self, run: LiveRun, state: Mapping[str, Any]) -> None:
        """Restores what `state` returned, and the weights that were active."""
        super().load_state(run, state)
        if self.weights.probabilities is not None:
            self._set_weights(run)

    def _score(self, run: LiveRun) -> None:
        if np.isnan(self.recorder.moments()[1]).all():
            raise UserError(
                f"No training sample has two finite logits on record at step {run.step}: the "
                "training has diverged; lower OPTIMIZATION.g_lr and d_lr, and start anew in "
                "another folder with --out."
            )
        super()._score(run)

    def _set_weights(self, run: LiveRun) -> None:
        weights = torch.from_numpy(self.acting_weights(run))
        self.active_probabilities = weights.float().to(run.device)
