"""A discriminator that rates the samples of a run."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from diagan_plugin.logit_modes import logit_mode
from diagan_plugin.postprocessing.streaming import Proposal, Propose
from gan_registry.datasets.fetching import fetch, to_device
from gan_registry.errors import UserError
from gan_registry.evaluation.sources import BATCH, Proposals
from gan_registry.losses.logistic import Logistic

if TYPE_CHECKING:
    from gan_registry.training.run import Run


class Judge:
    """A discriminator, and how its log-density ratios are read.

    Args:
        run: The run whose samples it rates.
        network: The discriminator.
        logistic: Whether it was trained by the logistic loss, whatever the run's own is.
        unseen: Indices of training samples that it has not seen, int64 [n]; None if it has seen
            all of them.

    Attributes:
        is_density_ratio: Whether its logits are ratios, or a surrogate of which only the order and
            the spread mean anything.
    """

    def __init__(
        self,
        run: Run,
        network: nn.Module,
        *,
        logistic: bool = False,
        unseen: NDArray[np.int64] | None = None,
    ) -> None:
        self._run = run
        self.network = network
        self.unseen = unseen
        self._loss = Logistic(run.backbone.realness) if logistic else run.loss
        self.is_density_ratio = self._loss.is_density_ratio

    @torch.no_grad()
    def logits(self, x: Tensor, y: Tensor | None = None) -> Tensor:
        """Returns log-density ratios, float32 [B], in evaluation mode; the network is left alone.

        Raises:
            UserError: The discriminator does not rate samples one by one.
        """
        with logit_mode(self.network, "eval"):
            logits = self._loss.log_density_ratio(self.network(x, y), y).float()
        if len(logits) != len(x):
            raise UserError(
                f"The discriminator gives {len(logits)} answers for {len(x)} samples, as it judges "
                "several at once: use --post-judge fresh, or the post-processors drs_fresh and "
                "mh_fresh."
            )
        return logits

    def logits_of(self, dataset: object, indices: NDArray[np.int64]) -> Tensor:
        """Returns the log-density ratios of samples of a dataset, float32 [n] on the device."""
        parts = [indices[start : start + BATCH] for start in range(0, len(indices), BATCH)]
        return torch.cat([self.logits(*read(self._run, dataset, part)) for part in parts])

    def proposer(self, seed: int) -> Propose:
        """Returns an endless supply of the run's samples with their logits.

        Args:
            seed: Distinguishes several draws from one run.
        """
        proposals = Proposals(self._run, seed)

        def propose(n: int) -> Proposal:
            made = proposals(n)
            return Proposal(made.x, self.logits(made.x, made.y), made.y, made.z)

        return propose


def read(run: Run, dataset: object, indices: NDArray[np.int64]) -> tuple[Tensor, Tensor | None]:
    """Reads samples x [n, ...] and labels y [n] or None to the run's device."""
    x, y = fetch(dataset, indices)
    return to_device(x, run.device), None if y is None else to_device(y, run.device)
