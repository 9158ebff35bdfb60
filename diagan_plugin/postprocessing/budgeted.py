"""Optimal budgeted rejection sampling: the best that can be kept at a given cost.

Exact rejection keeps a proposal x with probability r(x)/M, where r = p_data/p_g and M is its
maximum, which may be one in thousands. Where a larger share b must be kept (a budget of 1/b
proposals a sample), no acceptance brings what is kept nearer to the data, by any f-divergence, than
(OBRS; Verine et al. 2024, arXiv:2311.00460)

    a(x) = min(1, c · r(x)/M),        c ≥ 1 such that the mean of a over what is generated is b.

With c = 1 it is exact rejection; the larger c, the more proposals are kept for certain. Where exact
rejection keeps more than b already, nothing is gained by keeping less, and c is 1.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from diagan_plugin.arguments import as_real
from diagan_plugin.postprocessing.streaming import Propose
from diagan_plugin.postprocessing.thinning import ThinnedStream


def budget_offset(log_ratio: Tensor, budget: float) -> float:
    """Computes the number t = log(c/M) for which the mean of min(1, exp(l + t)) is the budget.

    c may be below 1 here; the sampler's is at least 1.

    Args:
        log_ratio: l = log p_data/p_g of generated samples, of any shape and floating dtype; NaN and
            ±inf are not kept.
        budget: The share of them to keep, in (0, 1].

    Returns:
        t; inf where the budget covers all finite log-ratios.

    Raises:
        ValueError: `budget` is out of range.
    """
    if not 0 < budget <= 1:
        raise ValueError(f"Argument `budget` must lie in (0, 1], but got {budget}.")
    logits = log_ratio.detach().to("cpu", torch.float64).flatten()
    total = budget * len(logits)  # the sum that the probabilities are to have
    finite = logits[logits.isfinite()].sort(descending=True).values
    if total >= len(finite):
        return math.inf
    # With the j largest kept for certain, the others share total − j: t is linear in log space on
    # each such piece, and the right piece is the first on which none of the others exceeds 1.
    largest = math.ceil(total)
    rest = finite.flip(0).logcumsumexp(0).flip(0)[:largest]
    offsets = (total - torch.arange(largest, dtype=torch.float64)).log() - rest
    fits = (offsets + finite[:largest] <= 0).nonzero()
    return float(offsets[fits[0] if len(fits) else -1])  # the last one fits but for rounding


def _acceptance(logits: Tensor, offset: float) -> Tensor:
    return torch.where(logits.isfinite(), (logits + offset).clamp(max=0).exp(), 0.0)


class BudgetedRejectionSampler(ThinnedStream):
    """An endless source of accepted samples (OBRS).

    The burn-in is for M and c. A larger logit that comes up later raises M, and c with it, so that
    the budget is kept to; only where c is 1 does the probability of acceptance fall, as it does for
    exact rejection. Further arguments and attributes are those of
    :class:`~diagan_plugin.postprocessing.thinning.ThinnedStream`.

    Args:
        budget: The share of the proposals to keep, in (0, 1]; more is kept where exact rejection
            would keep more. Logits of NaN and ±inf are proposals, too, and never kept.

    Attributes:
        log_constant: log c; NaN before the burn-in, inf where all is kept.

    Example:
        >>> rng = torch.Generator().manual_seed(0)
        >>> noise = torch.Generator().manual_seed(1)
        >>> def propose(n):
        ...     x = torch.randn(n, generator=noise)
        ...     return x, -9 * x**2
        >>> sampler = BudgetedRejectionSampler(propose, rng=rng, budget=0.5)
        >>> sum(len(batch.x) for batch in sampler.sample(1000))
        1000
    """

    method = "Budgeted rejection sampling"
    advice = "Take a larger budget, or lower the floor to go on at this rate."

    def __init__(
        self,
        propose: Propose,
        *,
        rng: torch.Generator,
        budget: float = 0.5,
        burn_in: int = 10_000,
        batch_size: int = 256,
        floor: float = 1e-4,
    ) -> None:
        super().__init__(propose, rng=rng, burn_in=burn_in, batch_size=batch_size, floor=floor)
        budget = as_real("budget", budget)
        if not 0 < budget <= 1:
            raise ValueError(f"Argument `budget` must lie in (0, 1], but got {budget}.")
        self.budget = budget
        self._budgeted = math.nan

    @property
    def log_constant(self) -> float:
        """The logarithm of c."""
        return self._offset + self.max_logit

    @property
    def _offset(self) -> float:
        return max(self._budgeted, -self.max_logit)

    def _settle(self, logits: Tensor) -> None:
        self._budgeted = budget_offset(logits, self.budget)

    def _probability(self, logits: Tensor) -> Tensor:
        return _acceptance(logits, self._offset)
