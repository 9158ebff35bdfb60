"""Post-processors as sources of samples for the host's commands."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from diagan_plugin.driver import AUXILIARY
from diagan_plugin.rejection import Proposal, RejectionSampler
from gan_registry.evaluation.sources import Proposals
from gan_registry.training.seeding import generator_for

if TYPE_CHECKING:
    from gan_registry.training.run import Run


class RejectionSource:
    """Discriminator rejection sampling (post-processor `drs`).

    Uses the auxiliary discriminator where the run has one, as its ratio is unbiased by the weighted
    sampling (paper, §4.3), else the run's own.

    Args:
        run: The run, trained.
        seed: Distinguishes several draws from one run.
    """

    def __init__(self, run: Run, seed: int = 0) -> None:
        self._run = run
        self._proposals = Proposals(run, seed)
        auxiliary = run.additions.get(AUXILIARY)
        self._discriminator = auxiliary if isinstance(auxiliary, nn.Module) else run.discriminator
        self._sampler = RejectionSampler(
            self._propose, rng=generator_for(run.seed, "rejection", seed)
        )

    @torch.no_grad()
    def _propose(self, n: int) -> Proposal:
        proposed = self._proposals(n)
        was_training = self._discriminator.training
        self._discriminator.eval()
        try:
            logits = self._run.logits(proposed.x, proposed.y, self._discriminator)
            return Proposal(proposed.x, logits)
        finally:
            self._discriminator.train(was_training)

    def batches(self, n: int) -> Iterator[Tensor]:
        """Yields exactly n accepted samples."""
        for batch in self._sampler.sample(n):
            yield batch.x

    def statistics(self) -> dict[str, float]:
        """Returns the share of proposals that were accepted."""
        return {"acceptance_rate": self._sampler.acceptance_rate}
