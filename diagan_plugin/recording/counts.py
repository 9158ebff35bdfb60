"""How often each sample was recorded, and what could not be: the tracker's bookkeeping."""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["NonFiniteLog", "RecordCounts"]

_KEPT = 10


class RecordCounts:
    """The number of records of each sample: its own, plus those that all samples share.

    Whole sweeps then need not touch N counters. While `even` holds, all own counts are zero.

    Args:
        num_samples: N.
        device: Where the counters live.
    """

    def __init__(self, num_samples: int, device: torch.device) -> None:
        self.own = torch.zeros(num_samples, dtype=torch.int64, device=device)
        self.shared = 0
        self.even = True

    @property
    def total(self) -> Tensor:
        """[N] int64, a new tensor."""
        return self.own + self.shared

    def of(self, part: slice) -> Tensor:
        """The counts of a range of samples, int64, a new tensor."""
        return self.own[part] + self.shared

    def add_batch(self, index: Tensor, stored: Tensor) -> tuple[Tensor, Tensor]:
        """Counts `stored` [B] (0 or 1) for samples [B]; returns their counts before and after."""
        self.even = False
        before = self.own.index_select(0, index).add_(self.shared)
        self.own.index_add_(0, index, stored)
        return before, self.own.index_select(0, index).add_(self.shared)

    def end_even(self, reached: int) -> None:
        """Goes over to own counts in the middle of a sweep that has counted `reached` samples."""
        self.own[:reached] += 1
        self.even = False

    def add(self, other: RecordCounts) -> None:
        """Adds another tracker's counts."""
        self.own += other.own.to(self.own.device)
        self.shared += other.shared
        self.even = self.even and other.even

    def load(self, total: Tensor) -> None:
        """Takes over saved counts [N]."""
        self.own.copy_(total)
        low, high = (int(bound) for bound in torch.aminmax(self.own))
        self.even, self.shared = low == high, 0
        if self.even:
            self.own.zero_()
            self.shared = low


class NonFiniteLog:
    """How many values could not be recorded, and the samples of the first of them.

    Args:
        device: Where it is kept.
    """

    def __init__(self, device: torch.device) -> None:
        self._count = torch.zeros((), dtype=torch.int64, device=device)
        # -1 where there are fewer; the last slot takes the overflow.
        self._first = torch.full((_KEPT + 1,), -1, dtype=torch.int64, device=device)

    def add(self, index: Tensor, finite: Tensor) -> None:
        """Notes those of the samples [B] whose value was not finite."""
        bad = torch.logical_not(finite)
        place = torch.cumsum(bad, 0).add_(self._count - 1)
        place = torch.where(bad, place, _KEPT).clamp_(max=_KEPT)
        self._first.scatter_(0, place, index)
        self._count += bad.sum()

    def append(self, other: NonFiniteLog) -> None:
        """Adds what another tracker noted, after one's own."""
        device = self._first.device
        place = torch.arange(_KEPT, device=device) + self._count
        self._first.scatter_(0, place.clamp_(max=_KEPT), other._first[:_KEPT].to(device))
        self._count += other._count.to(device)

    def load(self, count: int, indices: list[int]) -> None:
        """Takes over what was saved."""
        self._count.fill_(count)
        first = torch.tensor(indices[:_KEPT], dtype=torch.int64)
        self._first[: len(first)] = first.to(self._first.device)

    @property
    def count(self) -> int:
        """How many values there were."""
        return int(self._count)

    @property
    def indices(self) -> list[int]:
        """Samples of the first (at most 10), in the order they came."""
        return [i for i in self._first[:_KEPT].tolist() if i >= 0]
