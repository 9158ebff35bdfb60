"""Discriminator rejection sampling: generated samples, thinned out to follow the data.

A proposal x from the generator is kept with a probability proportional to p_data(x)/p_g(x), whose
logarithm is the discriminator's logit l (DRS; Azadi et al. 2019, arXiv:1810.06758). With M the
largest logit there is,

    F0 = (l − M) − log(1 − exp(l − M − ε)),        accept with probability sigmoid(F0 − γ).

γ = 0 is exact rejection sampling: the probability is exp(l − M) up to ε, one proposal in
exp(M) is kept on average, and what is kept follows the data if the logits are right. A γ above 0
is stricter. The published choice is a percentile of F0: it keeps a useful share of the proposals
whatever M is, but it is no longer exact.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor

from diagan_plugin.arguments import as_real
from diagan_plugin.postprocessing.streaming import (
    AcceptanceRateError as AcceptanceRateError,
)
from diagan_plugin.postprocessing.streaming import Proposal as Proposal
from diagan_plugin.postprocessing.streaming import Propose
from diagan_plugin.postprocessing.thinning import ThinnedStream


def drs_statistic(logits: Tensor, max_logit: float, eps: float = 1e-6) -> Tensor:
    """Computes F0 = (l − M) − log(1 − exp(l − M − ε)) in float64 (Azadi et al. 2019).

    Log-density ratios l may be of any shape and floating dtype. One above M, their maximum, counts
    as M; ε > 0 keeps F0 finite at l = M.

    Returns:
        F0, float64, of the same shape on the CPU: −inf where l is −inf, NaN where l is NaN.

    Raises:
        ValueError: `max_logit` is not finite or `eps` is not positive.
    """
    if not math.isfinite(max_logit):
        raise ValueError(f"Argument `max_logit` must be finite, but got {max_logit}.")
    if not eps > 0:
        raise ValueError(f"Argument `eps` must be positive, but got {eps}.")
    # On the CPU, as not every device has float64.
    gap = (logits.detach().to("cpu", torch.float64) - max_logit).clamp(max=0)
    # −expm1 keeps the digits that 1 − exp would lose where l is close to M.
    return gap - torch.log(-torch.expm1(gap - eps))


def acceptance_probability(
    logits: Tensor, max_logit: float, gamma: float = 0.0, eps: float = 1e-6
) -> Tensor:
    """Computes the probability sigmoid(F0 − γ) with which a proposal is accepted.

    With γ = 0 that is exact rejection, exp(l − M) up to a relative error of ε. The other arguments
    and the errors are those of :func:`drs_statistic`.

    Returns:
        Probabilities, float64, of the same shape on the CPU; 0 where l is NaN.
    """
    return torch.sigmoid(drs_statistic(logits, max_logit, eps) - gamma).nan_to_num(nan=0.0)


class RejectionSampler(ThinnedStream):
    """An endless source of accepted samples (DRS).

    The burn-in, 10,000 as published, is for M and for γ. M is raised whenever a larger logit comes
    up later; that is counted and logged, as samples accepted before were held to a lower standard.
    Further arguments and attributes are those of
    :class:`~diagan_plugin.postprocessing.thinning.ThinnedStream`.

    Args:
        gamma: A fixed γ (0: exact rejection), or None for a percentile.
        percentile: With `gamma=None`, γ is this percentile of F0 over the burn-in and then fixed;
            in [0, 100], 80 as published. Proposals of F0 = −inf don't count for it.
        per_batch: Takes the percentile within each batch instead, as the published code does.
        eps: ε of :func:`drs_statistic`.

    Attributes:
        gamma: γ; None before the burn-in, and always with `per_batch`.

    Example:
        >>> rng = torch.Generator().manual_seed(0)
        >>> noise = torch.Generator().manual_seed(1)
        >>> def propose(n):
        ...     x = torch.randn(n, generator=noise)
        ...     return x, -(x**2)
        >>> sampler = RejectionSampler(propose, rng=rng, gamma=0.0)
        >>> sum(len(batch.x) for batch in sampler.sample(1000))
        1000
    """

    method = "Rejection sampling"
    advice = "Take γ from a lower percentile, or lower the floor to go on at this rate."

    def __init__(
        self,
        propose: Propose,
        *,
        rng: torch.Generator,
        gamma: float | None = None,
        percentile: float = 80.0,
        per_batch: bool = False,
        burn_in: int = 10_000,
        batch_size: int = 256,
        eps: float = 1e-6,
        floor: float = 1e-3,
    ) -> None:
        gamma = None if gamma is None else as_real("gamma", gamma)
        percentile, eps = as_real("percentile", percentile), as_real("eps", eps)
        if gamma is not None and not math.isfinite(gamma):
            raise ValueError(f"Argument `gamma` must be finite or None, but got {gamma}.")
        if gamma is not None and per_batch:
            raise ValueError(f"Argument `gamma` must be None with `per_batch`, but got {gamma}.")
        if not 0 <= percentile <= 100:
            raise ValueError(f"Argument `percentile` must lie in [0, 100], but got {percentile}.")
        if not eps > 0:
            raise ValueError(f"Argument `eps` must be positive, but got {eps}.")
        super().__init__(propose, rng=rng, burn_in=burn_in, batch_size=batch_size, floor=floor)
        self.percentile = percentile
        self.per_batch = per_batch
        self.eps = eps
        self.gamma = gamma

    def _settle(self, logits: Tensor) -> None:
        if self.gamma is None and not self.per_batch:
            self.gamma = self._percentile(drs_statistic(logits, self.max_logit, self.eps))

    def _probability(self, logits: Tensor) -> Tensor:
        gamma = self.gamma
        if gamma is None:
            gamma = self._percentile(drs_statistic(logits, self.max_logit, self.eps))
        return acceptance_probability(logits, self.max_logit, gamma, self.eps)

    def _percentile(self, statistic: Tensor) -> float:
        finite = statistic[statistic.isfinite()].numpy()
        return float(np.percentile(finite, self.percentile)) if len(finite) else 0.0
