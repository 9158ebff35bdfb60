"""The last records of every sample, kept in a ring: what a sliding window's statistics rest on."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

__all__ = ["RecordWindow"]

# Columns handled at once: a block of a 50-record window in float64 then fits a CPU's L2 cache.
_CHUNK = 4096


class RecordWindow:
    """The last W records of each sample in float32; the n-th is in row n mod W of the ring.

    Args:
        num_samples: N.
        window: W.
        device: Where they live.
    """

    def __init__(self, num_samples: int, window: int, device: torch.device) -> None:
        self._window = window
        # The ring, [W, N] row by row, and one last slot for what must not be stored.
        self._slots = torch.zeros(window * num_samples + 1, dtype=torch.float32, device=device)
        self._ring = self._slots[:-1].view(window, num_samples)

    @property
    def nbytes(self) -> int:
        """Bytes held."""
        return self._slots.nbytes

    def add_range(self, part: slice, value: Tensor, finite: Tensor, total: Tensor) -> None:
        """Adds the finite ones of the values [n] of a range; `total` records [n] there are then."""
        index = torch.arange(part.start, part.stop, device=self._slots.device)
        self._store(index, value, finite, total - 1)

    def add_batch(
        self,
        index: Tensor,
        value: Tensor,
        finite: Tensor,
        first: Tensor,
        before: Tensor,
        after: Tensor,
    ) -> None:
        """Adds a batch; an index that occurs several times is added as often.

        Args:
            index: Samples [B], sorted.
            value: Their values [B].
            finite: Which of them count, [B].
            first: Where an index occurs for the first time, [B].
            before: Records of each sample before the batch, [B].
            after: Records after it, [B].
        """
        stored = finite.to(torch.int64)
        earlier = torch.cumsum(stored, 0) - stored
        earlier -= torch.cummax(torch.where(first, earlier, 0), 0).values
        number = before + earlier
        # More than W records of one sample in one batch: only its last W may be written, since
        # the order of writes to one slot is not defined.
        self._store(index, value, finite & (number >= after - self._window), number)

    def _store(self, index: Tensor, value: Tensor, kept: Tensor, number: Tensor) -> None:
        """Writes each kept value as the record of that number of its sample."""
        slot = torch.remainder(number, self._window).mul_(self._ring.shape[1]).add_(index)
        slot = torch.where(kept, slot, self._slots.shape[0] - 1)
        self._slots.scatter_(0, slot, value.to(torch.float32))

    def merge(self, other: RecordWindow, mine: Tensor, added: Tensor) -> None:
        """Appends another ring's rows, oldest first: of `added` records [N], after `mine`."""
        window, (_, num_samples) = self._window, self._ring.shape
        columns = torch.arange(num_samples, device=self._slots.device)
        held = added.clamp(max=window)
        theirs = other._slots.to(self._slots.device)
        for age in range(window):
            number = added - held + age
            source = torch.remainder(number, window).mul_(num_samples).add_(columns)
            self._store(columns, theirs.index_select(0, source), age < held, number + mine)

    def statistics(self, total: Tensor) -> tuple[Tensor, Tensor]:
        """Returns mean and unbiased variance, [N] float64, of `total` records [N] of each sample.

        NaN where there are too few.
        """
        window, (_, num_samples) = self._window, self._ring.shape
        device = self._slots.device
        mean = torch.empty(num_samples, dtype=torch.float64, device=device)
        variance = torch.empty_like(mean)
        row = torch.arange(window, device=device).unsqueeze(1)
        # In chunks: a float64 copy of the whole ring would take twice its memory.
        for start in range(0, num_samples, _CHUNK):
            part = slice(start, start + _CHUNK)
            held = total[part].clamp(max=window)
            block = self._ring[:, part].to(torch.float64)
            # Rows not yet written hold zeros: nothing in a sum, but deviations to mask.
            mean[part] = block.sum(0) / held.clamp(min=1)
            block.sub_(mean[part]).mul_(row < held)
            variance[part] = block.square_().sum(0) / (held - 1).clamp_(min=1)
            mean[part].masked_fill_(held < 1, torch.nan)
            variance[part].masked_fill_(held < 2, torch.nan)
        return mean, variance

    def state_dict(self) -> dict[str, Tensor]:
        """Returns a copy of the ring."""
        return {"ring": self._ring.clone()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restores it."""
        self._ring.copy_(state["ring"])
