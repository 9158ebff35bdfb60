"""Statistics of the log-density ratio of every training sample (LDRM and LDRV, paper eq. 2).

The discriminator's logit for a real sample is an estimate of log(p_data(x)/p_g(x)), the LDR (paper
eq. 1). :class:`LDRTracker` collects those logits while a GAN trains, a mini-batch or a sweep at a
time, and answers with their mean and unbiased variance for each sample.

Two ways of keeping them:

* ``window=W`` keeps the last W records of every sample in a float32 ring, and computes the
  statistics from it in float64 when asked. Nothing is summed over time, so nothing drifts.
  Memory: 4·W + 8 bytes a sample, and 16 more once the statistics were read.
* ``window=None`` keeps running moments by Welford's update in float64, which is exact to rounding
  and takes 24 bytes a sample. It counts every record since the start (or the last ``reset``).

Recording makes no decision on the host that depends on data on the device, so it never waits for a
GPU: what must not be stored is masked, not selected.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

__all__ = ["LDRTracker"]

Indices = Tensor | npt.NDArray[np.integer[Any]] | Sequence[int]
Values = Tensor | npt.NDArray[np.floating[Any]] | Sequence[float]

_STATE_VERSION = 1
_NON_FINITE_KEPT = 10
# Columns handled at once: a block of a 50-record window in float64 then fits a CPU's L2 cache.
_STATISTICS_CHUNK = 4096
_RECORD_CHUNK = 1 << 16


class LDRTracker:
    """Mean (LDRM) and unbiased variance (LDRV) of each sample's recorded log-density ratios.

    Args:
        num_samples: N, the number of training samples; indices are in [0, N).
        window: W, how many of a sample's last records count; ``None`` for all (running moments).
        device: Where the statistics live. Put them where the logits are: then recording copies
            nothing between devices. Must offer float64, so not ``mps`` (use ``"cpu"`` there).

    Raises:
        ValueError: If an argument is out of range.

    Example:
        >>> import torch
        >>> tracker = LDRTracker(num_samples=3, window=2)
        >>> tracker.record(torch.tensor([0, 0, 0, 1]), torch.tensor([9.0, 1.0, 3.0, 5.0]))
        >>> tracker.mean.tolist(), tracker.variance.tolist()
        ([2.0, 5.0, nan], [2.0, nan, nan])
    """

    def __init__(
        self,
        num_samples: int,
        window: int | None = 50,
        device: torch.device | str = "cpu",
    ) -> None:
        if num_samples < 1:
            raise ValueError(f"Argument `num_samples` must be at least 1, but got {num_samples}.")
        if window is not None and window < 1:
            raise ValueError(f"Argument `window` must be None or at least 1, but got {window}.")
        self.device = torch.device(device)
        if self.device.type == "mps":
            raise ValueError(
                "Argument `device` must be a device with float64, but got 'mps'; use 'cpu'."
            )
        self.num_samples = int(num_samples)
        self.window = None if window is None else int(window)
        self.reset()

    def reset(self) -> None:
        """Forget every record, also the non-finite ones."""
        n, device = self.num_samples, self.device
        # A sample's number of records is its own count plus the one that all samples share: whole
        # sweeps need not touch N counters, and while `_even` holds, all own counts are zero.
        self._own = torch.zeros(n, dtype=torch.int64, device=device)
        self._shared = 0
        self._even = True
        if self.window is None:
            self._mean = torch.zeros(n, dtype=torch.float64, device=device)
            self._m2 = torch.zeros(n, dtype=torch.float64, device=device)
        else:
            # The ring, [window, N] row by row, and one last slot for what must not be stored.
            self._slots = torch.zeros(self.window * n + 1, dtype=torch.float32, device=device)
        self._non_finite_count = torch.zeros((), dtype=torch.int64, device=device)
        # The first indices met, -1 where there are fewer; the last slot takes the overflow.
        self._non_finite = torch.full((_NON_FINITE_KEPT + 1,), -1, dtype=torch.int64, device=device)
        self._cached: tuple[Tensor, Tensor] | None = None

    # ------------------------------------------------------------------ recording

    def record(self, indices: Indices, values: Values) -> None:
        """Record the log-density ratios of a mini-batch: O(B log B), whatever N is.

        An index that occurs several times is recorded as often, in the order of the batch.

        Args:
            indices: [B] integers in [0, N). Checked where they are on the CPU; on another device
                the check would have to wait for it, and an index out of range fails there.
            values: [B], [B, 1] or any shape with B elements and a first dimension of B; any real
                floating type, any device. NaN, infinity and what overflows float32 is counted
                (``non_finite_count``) and not stored.

        Raises:
            TypeError: If a dtype is wrong.
            ValueError: If shapes differ or a CPU index is out of range.
        """
        index = self._as_indices(indices)
        value = self._as_values(values, index.shape[0])
        if index.shape[0] == 0:
            return
        self._cached = None
        self._even = False
        finite = torch.isfinite(value.to(torch.float32))
        self._count_non_finite(index, finite)
        # Equal indices become neighbours, still in the order in which they came.
        index, order = torch.sort(index, stable=True)
        value, finite = value.index_select(0, order), finite.index_select(0, order)
        first = torch.ones_like(finite)
        torch.ne(index[1:], index[:-1], out=first[1:])
        if self.window is None:
            self._update_moments(index, value, finite, first)
        else:
            self._update_ring(index, value, finite, first, self.window)

    def record_all(self, values: Values) -> None:
        """Record one log-density ratio for every sample: a sweep over the dataset.

        Args:
            values: [N] or [N, 1], in the order of the dataset; otherwise as for ``record``.

        Raises:
            TypeError: If the dtype is wrong.
            ValueError: If the shape is wrong.
        """
        value = self._as_values(values, self.num_samples)
        self._cached = None
        if self._known_finite(value) and self._even:
            self._record_sweep(value)
            return
        self._even = False
        # In chunks, so that the temporaries stay small beside the statistics.
        for start in range(0, self.num_samples, _RECORD_CHUNK):
            part = slice(start, min(start + _RECORD_CHUNK, self.num_samples))
            self._record_range(part, value[part])

    def _record_sweep(self, value: Tensor) -> None:
        """Record finite values of all samples that have equally many: no masks, no counters."""
        if self.window is None:
            count = self._shared + 1
            for start in range(0, self.num_samples, _RECORD_CHUNK):
                part = slice(start, start + _RECORD_CHUNK)
                delta = value[part].to(torch.float64).sub_(self._mean[part])
                self._mean[part].add_(delta, alpha=1.0 / count)
                self._m2[part].addcmul_(delta, delta, value=self._shared / count)
        else:
            self._ring(self.window)[self._shared % self.window].copy_(value)
        self._shared += 1

    def _record_range(self, part: slice, value: Tensor) -> None:
        """Record one value for each sample of a range; there are no duplicates to sort out."""
        finite = torch.isfinite(value.to(torch.float32))
        index = torch.arange(part.start, part.stop, device=self.device)
        self._count_non_finite(index, finite)
        own = self._own[part]
        if self.window is None:
            own += finite
            mean, m2 = self._mean[part], self._m2[part]
            # A value left out equals the mean: then both updates below add an exact zero.
            delta = torch.where(finite, value.to(torch.float64), mean).sub_(mean)
            total = (own + self._shared).to(torch.float64)
            m2.addcmul_(delta.square(), ((total - 1) / total.clamp(min=1)).clamp(min=0))
            mean.addcdiv_(delta, total.clamp_(min=1))
        else:
            slot = torch.remainder(own + self._shared, self.window)
            slot = slot.mul_(self.num_samples).add_(index)
            slot = torch.where(finite, slot, self._slots.shape[0] - 1)
            self._slots.scatter_(0, slot, value.to(torch.float32))
            own += finite

    def _update_ring(
        self, index: Tensor, value: Tensor, finite: Tensor, first: Tensor, window: int
    ) -> None:
        """Store a batch sorted by index; the n-th record of a sample goes to ring row n mod W."""
        stored = finite.to(torch.int64)
        earlier = torch.cumsum(stored, 0) - stored
        earlier -= torch.cummax(torch.where(first, earlier, 0), 0).values
        number = self._own.index_select(0, index) + self._shared + earlier
        self._own.index_add_(0, index, stored)
        # More than W records of one sample in one batch: only its last W may be written, since
        # the order of writes to one slot is not defined.
        oldest = self._own.index_select(0, index) + (self._shared - window)
        slot = torch.remainder(number, window).mul_(self.num_samples).add_(index)
        slot = torch.where(finite & (number >= oldest), slot, self._slots.shape[0] - 1)
        self._slots.scatter_(0, slot, value.to(torch.float32))

    def _update_moments(self, index: Tensor, value: Tensor, finite: Tensor, first: Tensor) -> None:
        """Merge the moments of each group of equal indices into the running ones (Chan et al.)."""
        weight = finite.to(torch.float64)
        value = torch.where(finite, value.to(torch.float64), 0.0)
        group = torch.cumsum(first, 0) - 1
        zeros = torch.zeros_like(value)
        n = zeros.index_add(0, group, weight).index_select(0, group)
        mean = zeros.index_add(0, group, value).index_select(0, group) / n.clamp(min=1.0)
        m2 = zeros.index_add(0, group, (value - mean).square() * weight).index_select(0, group)

        old_n = (self._own.index_select(0, index) + self._shared).to(torch.float64)
        old_mean = self._mean.index_select(0, index)
        share = n / (old_n + n).clamp(min=1.0)
        delta = mean - old_mean
        new_m2 = self._m2.index_select(0, index) + m2 + delta.square() * (old_n * share)
        # Equal indices write equal values, so the order of the writes does not matter.
        self._mean.scatter_(0, index, old_mean + delta * share)
        self._m2.scatter_(0, index, new_m2)
        self._own.index_add_(0, index, finite.to(torch.int64))

    def _count_non_finite(self, index: Tensor, finite: Tensor) -> None:
        bad = torch.logical_not(finite)
        place = torch.cumsum(bad, 0).add_(self._non_finite_count - 1)
        place = torch.where(bad, place, _NON_FINITE_KEPT).clamp_(max=_NON_FINITE_KEPT)
        self._non_finite.scatter_(0, place, index)
        self._non_finite_count += bad.sum()

    # ------------------------------------------------------------------ reading

    @property
    def count(self) -> Tensor:
        """[N] int64: the number of records that ``mean`` and ``variance`` rest on (at most W)."""
        return self.total if self.window is None else self.total.clamp_(max=self.window)

    @property
    def total(self) -> Tensor:
        """[N] int64: the number of finite records ever made, also those the window has left."""
        return self._own + self._shared

    @property
    def mean(self) -> Tensor:
        """[N] float64: LDRM (paper eq. 2), NaN for a sample without a record."""
        return self.statistics()[0]

    @property
    def variance(self) -> Tensor:
        """[N] float64: unbiased LDRV (paper eq. 2), NaN for fewer than two records."""
        return self.statistics()[1]

    def statistics(self) -> tuple[Tensor, Tensor]:
        """Mean and variance, both [N] float64.

        Of a window they are computed once for all reads between two records.
        """
        if self.window is None:
            return self._moment_statistics()
        if self._cached is None:
            self._cached = self._window_statistics(self.window)
        mean, variance = self._cached
        return mean.clone(), variance.clone()

    def _moment_statistics(self) -> tuple[Tensor, Tensor]:
        mean, variance = self._mean.clone(), self._m2.clone()
        if self._even and self._shared >= 2:  # all samples have equally many records
            return mean, variance.div_(self._shared - 1)
        # In chunks, so that the temporaries stay small beside the statistics.
        for start in range(0, self.num_samples, _RECORD_CHUNK):
            part = slice(start, start + _RECORD_CHUNK)
            count = self._own[part] + self._shared
            mean[part].masked_fill_(count < 1, torch.nan)
            variance[part].div_((count - 1).clamp(min=1)).masked_fill_(count < 2, torch.nan)
        return mean, variance

    def _window_statistics(self, window: int) -> tuple[Tensor, Tensor]:
        count = self.count
        nan = torch.full((), torch.nan, dtype=torch.float64, device=self.device)
        mean, m2 = torch.empty_like(count, dtype=torch.float64), self._own.double()
        row = torch.arange(window, device=self.device).unsqueeze(1)
        full = self._even and self._shared >= window
        ring = self._ring(window)
        for start in range(0, self.num_samples, _STATISTICS_CHUNK):
            part = slice(start, start + _STATISTICS_CHUNK)
            held = count[part]
            block = ring[:, part].to(torch.float64)
            # Rows not yet written hold zeros: nothing in a sum, but deviations to mask.
            mean[part] = block.sum(0) / held.clamp(min=1)
            block.sub_(mean[part])
            if not full:
                block.mul_(row < held)
            m2[part] = block.square_().sum(0)
        variance = torch.where(count >= 2, m2 / (count - 1).clamp(min=1), nan)
        return torch.where(count >= 1, mean, nan), variance

    def _ring(self, window: int) -> Tensor:
        return self._slots[:-1].view(window, self.num_samples)

    @property
    def non_finite_count(self) -> int:
        """How many values were NaN or infinite and therefore not stored."""
        return int(self._non_finite_count)

    @property
    def non_finite_indices(self) -> list[int]:
        """The indices of the first non-finite values (at most 10), in the order they came."""
        return [i for i in self._non_finite[:_NON_FINITE_KEPT].tolist() if i >= 0]

    @property
    def nbytes(self) -> int:
        """Bytes held now by the records and statistics."""
        kept = [self._own]
        kept += [self._mean, self._m2] if self.window is None else [self._slots]
        kept += [] if self._cached is None else list(self._cached)
        return sum(tensor.nbytes for tensor in kept)

    # ------------------------------------------------------------------ merging and saving

    def merge(self, other: LDRTracker) -> None:
        """Add another tracker's records, as if they had been made here after one's own.

        For ranks or workers that each recorded a share: merged by index, in the order of calls.

        Args:
            other: A tracker of the same N and window, on any device. It is not changed.

        Raises:
            ValueError: If N or the window differ.
        """
        if (other.num_samples, other.window) != (self.num_samples, self.window):
            raise ValueError(
                f"Argument `other` must be a tracker of {self.num_samples} samples with window "
                f"{self.window}, but got {other.num_samples} samples with window {other.window}."
            )
        self._cached = None
        mine, added = self.total, other.total.to(self.device)
        if self.window is None:
            n, m = mine.double(), added.double()
            share = m / (n + m).clamp(min=1.0)
            delta = other._mean.to(self.device) - self._mean
            self._m2 += other._m2.to(self.device) + delta.square() * n * share
            self._mean += delta * share
        else:
            self._merge_ring(other, mine, added, self.window)
        self._own += other._own.to(self.device)
        self._shared += other._shared
        self._even = self._even and other._even
        place = torch.arange(_NON_FINITE_KEPT, device=self.device) + self._non_finite_count
        theirs = other._non_finite[:_NON_FINITE_KEPT].to(self.device)
        self._non_finite.scatter_(0, place.clamp_(max=_NON_FINITE_KEPT), theirs)
        self._non_finite_count += other._non_finite_count.to(self.device)

    def _merge_ring(self, other: LDRTracker, mine: Tensor, added: Tensor, window: int) -> None:
        """Append the other ring's rows from its oldest record to its newest."""
        columns = torch.arange(self.num_samples, device=self.device)
        held = added.clamp(max=window)
        theirs = other._slots.to(self.device)
        for age in range(window):
            number = added - held + age
            source = torch.remainder(number, window).mul_(self.num_samples).add_(columns)
            target = torch.remainder(number + mine, window).mul_(self.num_samples)
            target = torch.where(age < held, target.add_(columns), self._slots.shape[0] - 1)
            self._slots.scatter_(0, target, theirs.index_select(0, source))

    def state_dict(self) -> dict[str, Any]:
        """Everything needed to go on: copies of tensors and plain values, with a version."""
        state: dict[str, Any] = {
            "version": _STATE_VERSION,
            "num_samples": self.num_samples,
            "window": self.window,
            "total": self.total,
            "non_finite_count": self.non_finite_count,
            "non_finite_indices": self.non_finite_indices,
        }
        if self.window is None:
            return state | {"mean": self._mean.clone(), "m2": self._m2.clone()}
        return state | {"ring": self._ring(self.window).clone()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore what ``state_dict`` returned, from whatever device it was saved on.

        Raises:
            ValueError: If the state is of another version, N or window.
        """
        for key, mine in (
            ("version", _STATE_VERSION),
            ("num_samples", self.num_samples),
            ("window", self.window),
        ):
            if state.get(key) != mine:
                raise ValueError(
                    f"The tracker's state has {key} {state.get(key)!r}, but this one has {mine!r}."
                )
        self.reset()
        self._own.copy_(state["total"])
        low, high = (int(bound) for bound in torch.aminmax(self._own))
        if low == high:
            self._own.zero_()
            self._shared = low
        self._even = low == high
        if self.window is None:
            self._mean.copy_(state["mean"])
            self._m2.copy_(state["m2"])
        else:
            self._ring(self.window).copy_(state["ring"])
        self._non_finite_count.fill_(int(state["non_finite_count"]))
        first = torch.tensor(state["non_finite_indices"][:_NON_FINITE_KEPT], dtype=torch.int64)
        self._non_finite[: len(first)] = first.to(self.device)

    # ------------------------------------------------------------------ checking

    def _as_indices(self, indices: Indices) -> Tensor:
        index = indices if isinstance(indices, Tensor) else torch.tensor(np.asarray(indices))
        if index.numel() == 0 and not isinstance(indices, (Tensor, np.ndarray)):
            index = index.to(torch.int64)  # an empty list has no dtype of its own
        if index.dtype == torch.bool or index.is_floating_point() or index.is_complex():
            raise TypeError(f"Argument `indices` must be integers, but got {index.dtype}.")
        if index.dim() != 1:
            raise ValueError(f"Argument `indices` must be [B], but got {list(index.shape)}.")
        if index.device.type == "cpu" and index.numel() > 0:
            # Through numpy, which reads the memory where it is.
            array = index.numpy()
            low, high = int(array.min()), int(array.max())
            if low < 0 or high >= self.num_samples:
                raise ValueError(
                    f"Argument `indices` must be in [0, {self.num_samples}), "
                    f"but got {low if low < 0 else high}."
                )
        return index.to(self.device, torch.int64, non_blocking=True)

    def _as_values(self, values: Values, size: int) -> Tensor:
        value = values.detach() if isinstance(values, Tensor) else torch.tensor(np.asarray(values))
        if value.dtype == torch.bool or value.is_complex():
            raise TypeError(f"Argument `values` must be real numbers, but got {value.dtype}.")
        if value.dim() == 0 or value.shape[0] != size or value.numel() != size:
            raise ValueError(
                f"Argument `values` must be [{size}] or [{size}, 1], but got {list(value.shape)}."
            )
        if not value.is_floating_point():
            value = value.to(torch.float64)
        return value.reshape(-1).to(self.device, non_blocking=True)

    def _known_finite(self, value: Tensor) -> bool:
        """Whether all values are finite in float32, asked only where asking is free (the CPU)."""
        if self.device.type != "cpu":
            return False
        return bool(np.isfinite(value.to(torch.float32).numpy()).all())
