"""Metropolis–Hastings GAN: each sample is the end of a Markov chain over generated samples.

The generator proposes x' independently of the chain's present x, and the move is made with
probability (Turner et al. 2019, arXiv:1811.11357, eq. 3 and algorithm 1)

    min(1, (1/D(x) − 1) / (1/D(x') − 1)) = min(1, exp(l' − l)),

where l is the logit of a *calibrated* D, log p_data/p_g. The stationary distribution is that of the
data if the logits are right, whatever the generator; unlike rejection sampling there is no largest
ratio M to be known. A chain begins at the score of a real sample, so that it is stationary from the
start. If it never moves it holds no generated sample: it begins anew at one.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from diagan_plugin.arguments import as_kind, as_whole, as_work
from diagan_plugin.postprocessing.streaming import (
    Proposal,
    Propose,
    SampleStream,
    no_finite_logit,
    rows,
    without_infinity,
)

STEPS = 640
"""Length of a chain in the published experiments."""

_LEAST = torch.float32  # log-ratios in half precision would be too coarse
_METHOD = "Metropolis–Hastings sampling"


def acceptance_probability(current: Tensor, proposed: Tensor) -> Tensor:
    """Computes min(1, exp(l' − l)), the probability of a move from logits l to as many l'.

    Returns:
        Probabilities, at least float32. 0 where l' is NaN, ±inf; 1 where l is −inf or NaN (a place
        to leave at once) and l' is finite.
    """
    at_least = torch.promote_types(current.dtype, _LEAST)
    ratio = (proposed.to(at_least) - current.to(at_least)).clamp(max=0).exp()
    ratio = torch.where(current.isfinite(), ratio, 1.0)
    return torch.where(proposed.isfinite(), ratio, 0.0)


class MetropolisHastingsSampler(SampleStream):
    """Independent chains over the generator's samples, a batch of chains at a time (MH-GAN).

    `batch_size` chains advance together; each gives one sample after `steps` proposals, whose
    logits are to be calibrated (:mod:`diagan_plugin.postprocessing.calibration`). What all samplers
    have in common, further arguments too, is told at
    :class:`~diagan_plugin.postprocessing.streaming.SampleStream`.

    Args:
        rng: Generator for the decisions, best on the proposals' device.
        initial: `n -> logits [n]` of real samples, calibrated likewise: where chains begin. None
            begins at generated samples; then short chains keep a trace of the generator's own
            distribution.
        steps: The length K of a chain; 640 as published. A sample costs K proposals.
        batch_size: The number of chains that run together.
        floor: The share of proposals that chains move to under which sampling stops.

    Attributes:
        chains: The number of chains that were finished.
        restarted: How many of them never left the real sample they began at, and were run again
            from a generated one, as published.
        accepted: The number of moves.

    Example:
        >>> rng = torch.Generator().manual_seed(0)
        >>> noise = torch.Generator().manual_seed(1)
        >>> def propose(n):
        ...     x = torch.randn(n, generator=noise)
        ...     return x, -(x**2)
        >>> sampler = MetropolisHastingsSampler(propose, rng=rng, steps=20)
        >>> sum(len(batch.x) for batch in sampler.sample(1000))
        1000
    """

    def __init__(
        self,
        propose: Propose,
        *,
        rng: torch.Generator,
        initial: Callable[[int], Tensor] | None = None,
        steps: int = STEPS,
        batch_size: int = 256,
        floor: float = 1e-4,
    ) -> None:
        super().__init__(propose, batch_size=batch_size, floor=floor)
        steps = as_whole("steps", steps, 1)
        as_kind("rng", rng, torch.Generator)
        if initial is not None:
            as_work("initial", initial)
        self.rng = rng
        self.initial = initial
        self.steps = steps
        self.chains = 0
        self.restarted = 0
        self._rated = False  # whether any logit was finite
        self._tally = torch.zeros(2, dtype=torch.int64)  # NaN and finite logits since last read

    def _accept(self) -> Proposal:
        while True:
            ends, usable = self._run(self.batch_size, self.initial)
            self.chains += self.batch_size
            # The first look at the device since the chains began.
            stuck = (~usable).nonzero().flatten()
            if len(stuck) and self.initial is not None:
                self.restarted += len(stuck)
                again, mended = self._run(len(stuck), None)
                ends = _scattered(ends, stuck, again)
                usable[stuck] = mended
            self._check_floor(
                _METHOD,
                "The generator hardly ever makes what the discriminator takes for real: train it "
                "longer, calibrate the logits, or lower the floor to go on at this rate.",
            )
            kept = usable.nonzero().flatten()
            if len(kept):
                return rows(ends, kept)
            if not self._rated:
                raise no_finite_logit(_METHOD, self.proposed)

    def _run(self, count: int, initial: Callable[[int], Tensor] | None) -> tuple[Proposal, Tensor]:
        """Runs `count` chains; returns where they end and which hold a usable sample, [count]."""
        state = self._tallied(count)
        moves = torch.zeros((), dtype=torch.int64, device=state.logits.device)
        usable, steps = state.logits.isfinite(), self.steps
        if initial is not None:
            # A real sample is never handed out: where a chain still rests at it, x, y and z are
            # those of the first proposal, a mere placeholder.
            start = self._starts(initial, count).to(state.logits)
            usable, steps = self._decide(start, state.logits), steps - 1
            state = state._replace(logits=torch.where(usable, state.logits, start))
            moves = moves + usable.sum()
        for _ in range(steps):
            new = self._tallied(count)
            moved = self._decide(state.logits, new.logits)
            state = _where(moved, new, state)
            usable = usable | moved
            moves = moves + moved.sum()
        self.proposed += count * self.steps
        self.accepted += int(moves)
        invalid, finite = self._tally.tolist()
        self._tally.zero_()
        self.invalid += invalid
        self._rated |= finite > 0
        return state, usable

    def _tallied(self, count: int) -> Proposal:
        """Returns proposals, unusable logits NaN, and counts on the device, without waiting."""
        batch = self._propose(count)
        logits = without_infinity(batch.logits.to(torch.promote_types(batch.logits.dtype, _LEAST)))
        found = torch.stack([logits.isnan().sum(), logits.isfinite().sum()])
        self._tally = self._tally.to(found.device) + found
        return batch._replace(logits=logits)

    def _decide(self, current: Tensor, proposed: Tensor) -> Tensor:
        """Decides which chains move, bool [B]."""
        chance = torch.rand(len(current), generator=self.rng, device=self.rng.device)
        return chance.to(current.device) < acceptance_probability(current, proposed)

    def _starts(self, initial: Callable[[int], Tensor], count: int) -> Tensor:
        with torch.no_grad():
            start = as_kind("initial", initial(count), Tensor).detach()
        if start.numel() != count:
            raise ValueError(
                f"Argument `initial` must return {count} logits, "
                f"but got the shape {tuple(start.shape)}."
            )
        return without_infinity(start.reshape(-1))


def _where(moved: Tensor, new: Proposal, old: Proposal) -> Proposal:
    """Takes the new sample where a chain moved, [B], and keeps the old one elsewhere."""

    def choose(one: Tensor | None, other: Tensor | None) -> Tensor | None:
        if one is None or other is None:
            return None
        mask = moved.to(one.device).reshape(-1, *[1] * (one.dim() - 1))
        return torch.where(mask, one, other)

    return Proposal(*(choose(one, other) for one, other in zip(new, old, strict=True)))  # type: ignore[arg-type]


def _scattered(batch: Proposal, places: Tensor, part: Proposal) -> Proposal:
    """Returns a batch with the samples of `part` at `places`, row numbers [b]."""

    def put(whole: Tensor | None, piece: Tensor | None) -> Tensor | None:
        if whole is None or piece is None:
            return None
        whole = whole.clone()  # which may be the proposals of the caller
        whole[places.to(whole.device)] = piece
        return whole

    return Proposal(*(put(one, other) for one, other in zip(batch, part, strict=True)))  # type: ignore[arg-type]
