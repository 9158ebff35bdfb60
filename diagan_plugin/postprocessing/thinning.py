"""Thinning out: what the samplers that know the largest log-density ratio have in common."""

from __future__ import annotations

import logging
import math
from abc import abstractmethod
from typing import ClassVar

import torch
from torch import Tensor

from diagan_plugin.arguments import as_kind, as_whole
from diagan_plugin.postprocessing.streaming import (
    Proposal,
    Propose,
    SampleStream,
    no_finite_logit,
    rows,
)

_LOG = logging.getLogger(__name__)


class ThinnedStream(SampleStream):
    """A stream that keeps each proposal with a probability of its own, settled by a burn-in.

    Further arguments and attributes are those of
    :class:`~diagan_plugin.postprocessing.streaming.SampleStream`. The burn-in happens at the first
    use.

    Args:
        rng: Generator for the decisions, on any device.
        burn_in: The number of proposals (in whole batches) that are judged first and not kept.

    Attributes:
        max_logit: The largest logit so far; −inf before the burn-in.
        max_updates: How often it was raised after the burn-in.
        proposed: The number of proposals judged, without the burn-in; `invalid` counts that too.
    """

    method: ClassVar[str]
    advice: ClassVar[str]
    """What to do where hardly anything is kept."""

    def __init__(
        self,
        propose: Propose,
        *,
        rng: torch.Generator,
        burn_in: int,
        batch_size: int,
        floor: float,
    ) -> None:
        burn_in, batch_size = as_whole("burn_in", burn_in), as_whole("batch_size", batch_size)
        as_kind("rng", rng, torch.Generator)
        if burn_in < 1 or batch_size < 1:
            raise ValueError(
                "Arguments `burn_in` and `batch_size` must be at least 1, "
                f"but got {burn_in} and {batch_size}."
            )
        super().__init__(propose, batch_size=batch_size, floor=floor)
        self.rng = rng
        self.burn_in = burn_in
        self.max_logit = -math.inf
        self.max_updates = 0

    @abstractmethod
    def _settle(self, logits: Tensor) -> None:
        """Takes in the logits of the burn-in, float64; `max_logit` is theirs."""

    @abstractmethod
    def _probability(self, logits: Tensor) -> Tensor:
        """Returns the probabilities of acceptance of a batch, float64 [B], 0 for NaN."""

    def _accept(self) -> Proposal:
        """Proposes until at least one sample is accepted."""
        if self.max_logit == -math.inf:
            self._run_burn_in()
        while True:
            batch = self._draw()
            self._raise_maximum(batch.logits)
            probability = self._probability(batch.logits)
            chance = torch.rand(
                self.batch_size, generator=self.rng, device=self.rng.device, dtype=torch.float64
            )
            kept = (chance.cpu() < probability).nonzero().flatten()
            self.proposed += self.batch_size
            self.accepted += len(kept)
            self._check_floor(self.method, self.advice, f"largest logit {self.max_logit:.3g}")
            if len(kept):
                return rows(batch, kept)

    def _run_burn_in(self) -> None:
        logits = self._burn_in(self.burn_in)
        maximum = _largest(logits)
        if maximum == -math.inf:
            raise no_finite_logit(self.method, len(logits))
        self.max_logit = maximum
        self._settle(logits)

    def _raise_maximum(self, logits: Tensor) -> None:
        maximum = _largest(logits)
        if maximum > self.max_logit:
            _LOG.info(
                "A larger logit after %d proposals: M raised from %.4f to %.4f",
                self.proposed,
                self.max_logit,
                maximum,
            )
            self.max_logit = maximum
            self.max_updates += 1


def _largest(logits: Tensor) -> float:
    """Returns the largest logit, ignoring NaN; −inf where there is none."""
    return float(torch.where(logits.isnan(), -math.inf, logits).max())
