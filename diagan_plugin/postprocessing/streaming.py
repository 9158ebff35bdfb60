"""Endless streams of accepted proposals: what every post-processor that rejects has in common."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from typing import NamedTuple, TypeAlias

import torch
from torch import Tensor

from diagan_plugin.arguments import as_real, as_whole, as_work
from gan_registry.arriving import Arriving
from gan_registry.datasets.fetching import to_device
from gan_registry.errors import UserError

_MIN_ACCEPTED = 10
"""The rate is judged once as many as this would have been accepted at the floor's rate."""


class Proposal(NamedTuple):
    """Generated samples with their log-density ratios.

    Attributes:
        x: Samples [B, ...], on any device.
        logits: log p_data/p_g of each, [B] or [B, 1]; [B] where a sampler yields.
        y: The labels they were made for, [B], or None.
        z: The latents they were made from, [B, z_dim], or None.
    """

    x: Tensor
    logits: Tensor
    y: Tensor | None = None
    z: Tensor | None = None


#: `n -> Proposal`, or a plain tuple that begins with `(x, logits)`, of n new samples
Propose: TypeAlias = Callable[
    [int],
    "Proposal | tuple[Tensor, Tensor] | tuple[Tensor, Tensor, Tensor | None] "
    "| tuple[Tensor, Tensor, Tensor | None, Tensor | None]",
]


class AcceptanceRateError(UserError):
    """So few proposals are accepted that sampling would hardly ever end."""


class SampleStream(ABC):
    """An endless stream of accepted samples, made and judged in batches.

    Accepted samples that a call did not ask for wait for the next one: what comes depends on the
    random states alone, not on how it is asked for, and memory does not grow with the number.

    Args:
        propose: `n -> (x, logits)`, `(x, logits, y)` or `(x, logits, y, z)` of n new samples; run
            without gradients. It brings its own random state.
        batch_size: The number of proposals at a time.
        floor: The acceptance rate under which sampling stops; judged from 10/`floor` proposals on.
            0 never stops.

    Attributes:
        proposed: The number of proposals judged.
        accepted: The number of them accepted, including those waiting.
        invalid: The number of proposals with a logit of NaN or +inf; they are never accepted.

    Raises:
        ValueError: An argument is out of range, or `propose` gives tensors of the wrong length.
        AcceptanceRateError: The acceptance rate is under `floor`, or no logit is finite.
    """

    def __init__(self, propose: Propose, *, batch_size: int, floor: float) -> None:
        batch_size, floor = as_whole("batch_size", batch_size, 1), as_real("floor", floor)
        as_work("propose", propose)
        if not 0 <= floor < 1:
            raise ValueError(f"Argument `floor` must lie in [0, 1), but got {floor}.")
        self.propose = propose
        self.batch_size = batch_size
        self.floor = floor
        self.proposed = 0
        self.accepted = 0
        self.invalid = 0
        self._waiting: Proposal | None = None
        self._coming: tuple[Proposal, Arriving] | None = None

    @property
    def acceptance_rate(self) -> float:
        """The share of the proposals that were accepted; NaN before the first."""
        return self.accepted / self.proposed if self.proposed else math.nan

    def __iter__(self) -> Iterator[Proposal]:
        """Yields accepted samples for ever, at most `batch_size` at a time."""
        while True:
            yield self._next_batch()

    def sample(self, n: int) -> Iterator[Proposal]:
        """Yields exactly n accepted samples, n ≥ 0, at most `batch_size` at a time.

        Raises:
            ValueError: `n` is negative.
            AcceptanceRateError: See the class.
        """
        n = as_whole("n", n, 0)
        return self._take(n)

    @abstractmethod
    def _accept(self) -> Proposal:
        """Returns at least one accepted sample."""

    def _take(self, n: int) -> Iterator[Proposal]:
        while n > 0:
            batch = self._next_batch()
            size = len(batch.x)
            if size > n:
                self._waiting = rows(batch, slice(n, None))
                batch = rows(batch, slice(n))
            n -= size
            yield batch

    def _next_batch(self) -> Proposal:
        """Returns the accepted samples that wait, or makes new ones."""
        if self._waiting is not None:
            batch, self._waiting = self._waiting, None
            return batch
        return self._accept()

    def _propose(self, n: int) -> Proposal:
        """Returns n proposals with logits [n]."""
        with torch.no_grad():
            made = self.propose(n)
        if not (
            isinstance(made, (tuple, list))
            and len(made) in (2, 3, 4)
            and all(isinstance(each, Tensor) for each in made[:2])
        ):
            raise TypeError(
                "Argument `propose` must return a tuple that begins with two tensors, samples and "
                f"logits, but got a {type(made).__name__}."
            )
        batch = Proposal(*made)
        if batch.logits.numel() != n or len(batch.x) != n:
            raise ValueError(
                f"Argument `propose` must return {n} samples and a logit for each, "
                f"but got {len(batch.x)} and logits of shape {tuple(batch.logits.shape)}."
            )
        return batch._replace(logits=batch.logits.detach().reshape(-1))

    def _draw(self) -> Proposal:
        """Returns a batch of proposals, its logits float64 [B] on the CPU, the unusable ones NaN.

        A logit of +inf is unusable, too: it would outdo all others for ever.
        """
        batch, logits = self._coming or self._begun()
        # A GPU makes the next proposals while these are judged, so that it never waits for us.
        self._coming = self._begun() if logits.travels else None
        return batch._replace(logits=self._usable(logits.read()))

    def _begun(self) -> tuple[Proposal, Arriving]:
        batch = self._propose(self.batch_size)
        return batch, Arriving(batch.logits)

    def _usable(self, logits: Tensor) -> Tensor:
        """Counts unusable logits, and returns them as NaN; in float64, of which a CPU is sure."""
        logits = without_infinity(logits.double())
        self.invalid += int(logits.isnan().sum())
        return logits

    def _burn_in(self, count: int) -> Tensor:
        """Returns the logits of `count` proposals, in whole batches, that are not kept."""
        batches = range(math.ceil(count / self.batch_size))
        logits = torch.cat([self._propose(self.batch_size).logits for _ in batches])
        return self._usable(Arriving(logits).read())

    def _check_floor(self, method: str, advice: str, fact: str = "") -> None:
        """Stops where the acceptance rate is too low.

        The message begins with the method, ends with an advice, and has a fact to judge it by in
        brackets.
        """
        if self.proposed * self.floor < _MIN_ACCEPTED or self.acceptance_rate >= self.floor:
            return
        unusable = f" {self.invalid:,} logits were NaN or infinite." if self.invalid else ""
        raise AcceptanceRateError(
            f"{method} accepted {self.accepted:,} of {self.proposed:,} proposals, under "
            f"the floor of {self.floor:g}{fact and f' ({fact})'}.{unusable} {advice}"
        )


def no_finite_logit(method: str, count: int) -> AcceptanceRateError:
    """Builds the error for a discriminator that rates nothing."""
    return AcceptanceRateError(
        f"{method} found no finite logit among {count:,} proposals: check that the discriminator "
        "belongs to this generator and did not diverge."
    )


def without_infinity(logits: Tensor) -> Tensor:
    """Makes logits of +inf NaN."""
    return torch.where(logits == math.inf, math.nan, logits)


def rows(batch: Proposal, chosen: Tensor | slice) -> Proposal:
    """Returns some samples of a batch, by a slice or by row numbers [b] on any device."""

    def pick(tensor: Tensor | None) -> Tensor | None:
        if tensor is None:
            return None
        return tensor[chosen if isinstance(chosen, slice) else to_device(chosen, tensor.device)]

    return Proposal(*map(pick, batch))  # type: ignore[arg-type]
