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

import logging
import math
from collections.abc import Callable, Iterator
from typing import NamedTuple, TypeAlias

import numpy as np
import torch
from torch import Tensor

from gan_registry.errors import UserError

_LOG = logging.getLogger(__name__)


class Proposal(NamedTuple):
    """Generated samples with their log-density ratios.

    Attributes:
        x: Samples [B, ...], on any device.
        logits: log p_data/p_g of each, [B] or [B, 1]; [B] where :class:`RejectionSampler` yields.
        y: The labels they were made for, [B], or None.
    """

    x: Tensor
    logits: Tensor
    y: Tensor | None = None


#: `n -> Proposal`, or a plain tuple `(x, logits)` or `(x, logits, y)`, of n new samples
Propose: TypeAlias = Callable[
    [int], "Proposal | tuple[Tensor, Tensor] | tuple[Tensor, Tensor, Tensor | None]"
]


class AcceptanceRateError(UserError):
    """So few proposals are accepted that sampling would hardly ever end."""


def drs_statistic(logits: Tensor, max_logit: float, eps: float = 1e-6) -> Tensor:
    """Computes F0 = (l − M) − log(1 − exp(l − M − ε)) in float64 (Azadi et al. 2019).

    Args:
        logits: Log-density ratios l, any shape, any floating dtype.
        max_logit: Their maximum M; a logit above it counts as M.
        eps: ε > 0, which keeps F0 finite at l = M.

    Returns:
        F0, float64, of the same shape on the CPU: −inf where l is −inf, NaN where l is NaN.

    Raises:
        ValueError: `max_logit` is not finite or `eps` is not positive.
    """
    if not math.isfinite(max_logit):
        raise ValueError(f"Argument `max_logit` must be finite, but got {max_logit}")
    if not eps > 0:
        raise ValueError(f"Argument `eps` must be positive, but got {eps}")
    # On the CPU, as not every device has float64.
    gap = (logits.detach().to("cpu", torch.float64) - max_logit).clamp(max=0)
    # −expm1 keeps the digits that 1 − exp would lose where l is close to M.
    return gap - torch.log(-torch.expm1(gap - eps))


def acceptance_probability(
    logits: Tensor, max_logit: float, gamma: float = 0.0, eps: float = 1e-6
) -> Tensor:
    """Computes the probability sigmoid(F0 − γ) with which a proposal is accepted.

    Args:
        logits: Log-density ratios l, any shape.
        max_logit: Their maximum M; a logit above it counts as M.
        gamma: γ; 0 is exact rejection, exp(l − M) up to a relative error of ε.
        eps: ε of :func:`drs_statistic`.

    Returns:
        Probabilities, float64, of the same shape on the CPU; 0 where l is NaN.

    Raises:
        ValueError: As :func:`drs_statistic`.
    """
    return torch.sigmoid(drs_statistic(logits, max_logit, eps) - gamma).nan_to_num(nan=0.0)


class RejectionSampler:
    """An endless source of accepted samples (DRS).

    The first use proposes `burn_in` samples, which are not kept, for M and for γ. M is raised
    whenever a larger logit comes up later; that is counted and logged, as samples accepted before
    were held to a lower standard. Proposals are made and judged in batches of `batch_size`, and
    accepted ones that a call did not ask for wait for the next: the samples depend on the seed
    alone, not on how they are asked for, and memory does not grow with their number.

    Args:
        propose: `n -> (x, logits)` or `(x, logits, y)` of n new samples; run without gradients. It
            brings its own random state.
        rng: Generator for the decisions, on any device.
        gamma: A fixed γ (0: exact rejection), or None for a percentile.
        percentile: With `gamma=None`, γ is this percentile of F0 over the burn-in and then fixed;
            in [0, 100], 80 as published. Proposals of F0 = −inf don't count for it.
        per_batch: Takes the percentile within each batch instead, as the published code does.
        burn_in: The number of proposals (in whole batches) for M; 10,000 as published.
        batch_size: The number of proposals at a time.
        eps: ε of :func:`drs_statistic`.
        floor: The acceptance rate under which sampling stops; judged from 10/`floor` proposals on.
            0 never stops.

    Attributes:
        max_logit: M; −inf before the burn-in.
        gamma: γ; None before the burn-in, and always with `per_batch`.
        max_updates: How often M was raised after the burn-in.
        proposed: The number of proposals judged, without the burn-in.
        accepted: The number of them accepted, including those waiting.
        invalid: The number of proposals with a logit of NaN or +inf, burn-in included; they are
            never accepted.

    Raises:
        ValueError: An argument is out of range, or `propose` gives tensors of the wrong length.
        AcceptanceRateError: The acceptance rate is under `floor`, or no burn-in logit is finite.

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
        if gamma is not None and not math.isfinite(gamma):
            raise ValueError(f"Argument `gamma` must be finite or None, but got {gamma}")
        if gamma is not None and per_batch:
            raise ValueError(f"Argument `gamma` must be None with `per_batch`, but got {gamma}")
        if not 0 <= percentile <= 100:
            raise ValueError(f"Argument `percentile` must lie in [0, 100], but got {percentile}")
        if burn_in < 1 or batch_size < 1:
            raise ValueError(
                "Arguments `burn_in` and `batch_size` must be at least 1, "
                f"but got {burn_in} and {batch_size}"
            )
        if not eps > 0:
            raise ValueError(f"Argument `eps` must be positive, but got {eps}")
        if not 0 <= floor < 1:
            raise ValueError(f"Argument `floor` must lie in [0, 1), but got {floor}")
        self.propose = propose
        self.rng = rng
        self.percentile = percentile
        self.per_batch = per_batch
        self.burn_in = burn_in
        self.batch_size = batch_size
        self.eps = eps
        self.floor = floor
        self.gamma = gamma
        self.max_logit = -math.inf
        self.max_updates = 0
        self.proposed = 0
        self.accepted = 0
        self.invalid = 0
        self._waiting: Proposal | None = None

    @property
    def acceptance_rate(self) -> float:
        """The share of the proposals that were accepted; NaN before the first."""
        return self.accepted / self.proposed if self.proposed else math.nan

    def __iter__(self) -> Iterator[Proposal]:
        """Yields accepted samples for ever, at most `batch_size` at a time."""
        while True:
            yield self._next_batch()

    def sample(self, n: int) -> Iterator[Proposal]:
        """Yields exactly n accepted samples, at most `batch_size` at a time.

        Args:
            n: How many, at least 0.

        Raises:
            ValueError: `n` is negative.
            AcceptanceRateError: See the class.
        """
        if n < 0:
            raise ValueError(f"Argument `n` must be at least 0, but got {n}")
        return self._take(n)

    def _take(self, n: int) -> Iterator[Proposal]:
        while n > 0:
            batch = self._next_batch()
            size = len(batch.x)
            if size > n:
                self._waiting = _rows(batch, slice(n, None))
                batch = _rows(batch, slice(n))
            n -= size
            yield batch

    def _next_batch(self) -> Proposal:
        """Returns the accepted samples that wait, or proposes until at least one is accepted."""
        if self._waiting is not None:
            batch, self._waiting = self._waiting, None
            return batch
        if self.max_logit == -math.inf:
            self._run_burn_in()
        while True:
            batch = self._draw()
            self._raise_maximum(batch.logits)
            gamma = self.gamma
            if gamma is None:
                gamma = self._percentile(drs_statistic(batch.logits, self.max_logit, self.eps))
            probability = acceptance_probability(batch.logits, self.max_logit, gamma, self.eps)
            chance = torch.rand(
                self.batch_size, generator=self.rng, device=self.rng.device, dtype=torch.float64
            )
            kept = (chance.cpu() < probability).nonzero().flatten()
            self.proposed += self.batch_size
            self.accepted += len(kept)
            self._check_floor()
            if len(kept):
                return _rows(batch, kept)

    def _run_burn_in(self) -> None:
        logits = torch.cat(
            [self._draw().logits for _ in range(math.ceil(self.burn_in / self.batch_size))]
        )
        maximum = _largest(logits)
        if maximum == -math.inf:
            raise AcceptanceRateError(
                f"Rejection sampling found no finite logit among {len(logits):,} proposals: check "
                "that the discriminator belongs to this generator and did not diverge."
            )
        self.max_logit = maximum
        if self.gamma is None and not self.per_batch:
            self.gamma = self._percentile(drs_statistic(logits, maximum, self.eps))

    def _draw(self) -> Proposal:
        """Returns a batch of proposals, its logits float64 [B] on the CPU, the unusable ones NaN.

        A logit of +inf is unusable, too: as the maximum it would reject all others.
        """
        with torch.no_grad():
            batch = Proposal(*self.propose(self.batch_size))
        logits = batch.logits.detach().to("cpu", torch.float64)
        if logits.numel() != self.batch_size or len(batch.x) != self.batch_size:
            raise ValueError(
                f"Argument `propose` must return {self.batch_size} samples and a logit for each, "
                f"but got {len(batch.x)} and logits of shape {tuple(logits.shape)}"
            )
        logits = logits.reshape(-1)
        logits = torch.where(logits == math.inf, math.nan, logits)
        self.invalid += int(logits.isnan().sum())
        return batch._replace(logits=logits)

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

    def _percentile(self, statistic: Tensor) -> float:
        finite = statistic[statistic.isfinite()].numpy()
        return float(np.percentile(finite, self.percentile)) if len(finite) else 0.0

    def _check_floor(self) -> None:
        if self.proposed * self.floor < 10 or self.acceptance_rate >= self.floor:
            return
        unusable = f" {self.invalid:,} logits were NaN or infinite." if self.invalid else ""
        raise AcceptanceRateError(
            f"Rejection sampling accepted {self.accepted:,} of {self.proposed:,} proposals, under "
            f"the floor of {self.floor:g} (largest logit {self.max_logit:.3g}).{unusable} "
            "Take γ from a lower percentile, or lower the floor to go on at this rate."
        )


def _largest(logits: Tensor) -> float:
    """Returns the largest logit, ignoring NaN; −inf where there is none."""
    return float(torch.where(logits.isnan(), -math.inf, logits).max())


def _rows(batch: Proposal, rows: Tensor | slice) -> Proposal:
    def pick(tensor: Tensor) -> Tensor:
        return tensor[rows if isinstance(rows, slice) else rows.to(tensor.device)]

    return Proposal(pick(batch.x), pick(batch.logits), None if batch.y is None else pick(batch.y))
