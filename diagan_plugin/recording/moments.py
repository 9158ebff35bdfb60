"""Mean and variance of every sample's records, where the records themselves are not kept.

:class:`RunningMoments` go on with each record; :class:`ClosedMoments` are those of a tracker that
takes no more.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

__all__ = ["ClosedMoments", "RunningMoments"]

_CHUNK = 1 << 16


class RunningMoments:
    """Welford's moments in float64: 16 bytes a sample, exact to rounding.

    Args:
        num_samples: N.
        device: Where they live.
    """

    def __init__(self, num_samples: int, device: torch.device) -> None:
        self._mean = torch.zeros(num_samples, dtype=torch.float64, device=device)
        self._m2 = torch.zeros_like(self._mean)  # sum of squared deviations from the mean

    @property
    def nbytes(self) -> int:
        """Bytes held."""
        return self._mean.nbytes + self._m2.nbytes

    def add_range(self, part: slice, value: Tensor, finite: Tensor, total: Tensor) -> None:
        """Adds the finite ones of the values [n] of a range; `total` records [n] there are then."""
        mean = self._mean[part]
        # A value left out equals the mean: then both updates below add an exact zero.
        delta = torch.where(finite, value.to(torch.float64), mean).sub_(mean)
        step = delta / total.clamp(min=1)
        mean.add_(step)
        self._m2[part].addcmul_(delta, delta - step)

    def add_batch(
        self,
        index: Tensor,
        value: Tensor,
        finite: Tensor,
        first: Tensor,
        before: Tensor,
        after: Tensor,
    ) -> None:
        """Merges the moments of each group of equal indices into the running ones (Chan et al.).

        Args:
            index: Samples [B], sorted.
            value: Their values [B].
            finite: Which of them count, [B].
            first: Where an index occurs for the first time, [B].
            before: Records of each sample before the batch, [B].
            after: Records after it, [B].
        """
        weight = finite.to(torch.float64)
        value = torch.where(finite, value.to(torch.float64), 0.0)
        n = (after - before).to(torch.float64)
        group = torch.cumsum(first, 0) - 1
        zeros = torch.zeros_like(value)
        mean = zeros.index_add(0, group, value).index_select(0, group) / n.clamp(min=1.0)
        m2 = zeros.index_add(0, group, (value - mean).square() * weight).index_select(0, group)

        old_mean = self._mean.index_select(0, index)
        share = n / after.to(torch.float64).clamp(min=1.0)
        delta = mean - old_mean
        new_m2 = self._m2.index_select(0, index) + m2 + delta.square() * (before * share)
        # Equal indices write equal values, so the order of the writes does not matter.
        self._mean.scatter_(0, index, old_mean + delta * share)
        self._m2.scatter_(0, index, new_m2)

    def merge(self, other: RunningMoments, mine: Tensor, added: Tensor) -> None:
        """Adds other moments: of `added` records [N], where one's own are of `mine` [N]."""
        n, m = mine.double(), added.double()
        share = m / (n + m).clamp(min=1.0)
        delta = other._mean.to(n.device) - self._mean
        self._m2 += other._m2.to(n.device) + delta.square() * n * share
        self._mean += delta * share

    def statistics(self, total: Tensor) -> tuple[Tensor, Tensor]:
        """Returns mean and unbiased variance, [N] float64, of `total` records [N] of each sample.

        NaN where there are too few.
        """
        mean, variance = self._mean.clone(), self._m2.clone()
        # In chunks, so that the temporaries stay small beside the statistics.
        for start in range(0, len(mean), _CHUNK):
            part = slice(start, start + _CHUNK)
            mean[part].masked_fill_(total[part] < 1, torch.nan)
            variance[part].div_((total[part] - 1).clamp_(min=1))
            variance[part].masked_fill_(total[part] < 2, torch.nan)
        return mean, variance

    def state_dict(self) -> dict[str, Tensor]:
        """Returns copies of the moments."""
        return {"mean": self._mean.clone(), "m2": self._m2.clone()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restores them."""
        self._mean.copy_(state["mean"])
        self._m2.copy_(state["m2"])


class ClosedMoments:
    """Mean and unbiased variance as they were when the records ended: 16 bytes a sample.

    Args:
        mean: [N] float64, NaN for a sample without a record.
        variance: [N] float64, NaN for fewer than two records.
    """

    def __init__(self, mean: Tensor, variance: Tensor) -> None:
        self._mean, self._variance = mean, variance

    @property
    def nbytes(self) -> int:
        """Bytes held."""
        return self._mean.nbytes + self._variance.nbytes

    def statistics(self, total: Tensor) -> tuple[Tensor, Tensor]:
        """Returns mean and unbiased variance, [N] float64."""
        return self._mean.clone(), self._variance.clone()

    def state_dict(self) -> dict[str, Tensor]:
        """Returns copies of both."""
        return {"closed_mean": self._mean.clone(), "closed_variance": self._variance.clone()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restores them."""
        self._mean.copy_(state["closed_mean"])
        self._variance.copy_(state["closed_variance"])
