"""What the tracker could not record: how often, and of which samples."""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["KEPT", "NonFiniteLog"]

KEPT = 10
"""Of so many values the sample is noted, of the others only that there were any."""


class NonFiniteLog:
    """How many values could not be recorded, and the samples of the first of them.

    Args:
        device: Where it is kept.
    """

    def __init__(self, device: torch.device) -> None:
        self._count = torch.zeros((), dtype=torch.int64, device=device)
        # -1 where there are fewer; the last slot takes the overflow.
        self._first = torch.full((KEPT + 1,), -1, dtype=torch.int64, device=device)

    def add(self, index: Tensor, finite: Tensor) -> None:
        """Notes those of the samples [B] whose value was not finite."""
        bad = torch.logical_not(finite)
        place = torch.cumsum(bad, 0).add_(self._count - 1)
        place = torch.where(bad, place, KEPT).clamp_(max=KEPT)
        self._first.scatter_(0, place, index)
        self._count += bad.sum()

    def append(self, other: NonFiniteLog) -> None:
        """Adds what another tracker noted, after one's own."""
        device = self._first.device
        place = torch.arange(KEPT, device=device) + self._count
        self._first.scatter_(0, place.clamp_(max=KEPT), other._first[:KEPT].to(device))
        self._count += other._count.to(device)

    def load(self, count: int, indices: list[int]) -> None:
        """Takes over what was saved."""
        self._count.fill_(count)
        first = torch.tensor(indices[:KEPT], dtype=torch.int64)
        self._first[: len(first)] = first.to(self._first.device)

    @property
    def count(self) -> int:
        """How many values there were."""
        return int(self._count)

    @property
    def indices(self) -> list[int]:
        """Samples of the first (at most :data:`KEPT`), in the order they came."""
        return [i for i in self._first[:KEPT].tolist() if i >= 0]
