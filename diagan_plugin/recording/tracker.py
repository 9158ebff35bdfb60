"""Statistics of the log-density ratio of every training sample (LDRM and LDRV, paper eq. 2).

The discriminator's logit for a real sample is an estimate of log(p_data(x)/p_g(x)), the LDR (paper
eq. 1). :class:`LDRTracker` collects those logits while a GAN trains, a mini-batch or a sweep at a
time, and answers with their mean and unbiased variance for each sample.

Two ways of keeping them:

* `window=W` keeps the last W records of every sample in a float32 ring
  (:mod:`diagan_plugin.recording.window`), and computes the statistics from it in float64 when
  asked. Nothing is summed over time, so nothing drifts. Memory: 4·W + 8 bytes a sample.
* `window=None` keeps running moments by Welford's update in float64
  (:mod:`diagan_plugin.recording.moments`), which is exact to rounding and takes 24 bytes a sample.
  It counts every record since the start (or the last `reset`).

Once no more records will come, :meth:`LDRTracker.close` keeps mean and variance alone: 24 bytes a
sample, in memory and in checkpoints.

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

from diagan_plugin.arguments import as_kind, as_state, as_whole, check_data
from diagan_plugin.recording.moments import ClosedMoments, RunningMoments
from diagan_plugin.recording.non_finite import NonFiniteLog
from diagan_plugin.recording.window import RecordWindow

__all__ = ["LDRTracker"]

Indices = Tensor | npt.NDArray[np.integer[Any]] | Sequence[int]
Values = Tensor | npt.NDArray[np.floating[Any]] | Sequence[float]

_STATE_VERSION = 1
# Large enough that calling torch costs little beside the work, small enough for a CPU's caches.
_CHUNK = 1 << 15


class LDRTracker:
    """Mean (LDRM) and unbiased variance (LDRV) of each sample's recorded log-density ratios.

    Args:
        num_samples: N, the number of training samples; indices are in [0, N).
        window: W, how many of a sample's last records count; `None` for all (running moments).
        device: Where the statistics live. Put them where the logits are: then recording copies
            nothing between devices. Must offer float64, so not `mps` (use `"cpu"` there).

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
        num_samples = as_whole("num_samples", num_samples, 1)
        window = None if window is None else as_whole("window", window)
        if window is not None and window < 1:
            raise ValueError(f"Argument `window` must be None or at least 1, but got {window}.")
        self.device = torch.device(device)
        if self.device.type == "mps":
            raise ValueError(
                "Argument `device` must be a device with float64, but got 'mps'; use 'cpu'."
            )
        self.num_samples = num_samples
        self.window = window
        self.reset()

    def reset(self) -> None:
        """Forgets every record, also the non-finite ones."""
        self._total = torch.zeros(self.num_samples, dtype=torch.int64, device=self.device)
        self._records: RunningMoments | RecordWindow | ClosedMoments = (
            RunningMoments(self.num_samples, self.device)
            if self.window is None
            else RecordWindow(self.num_samples, self.window, self.device)
        )
        self._non_finite = NonFiniteLog(self.device)

    def close(self) -> None:
        """Ends the recording: what is kept from here on are the statistics, not the records."""
        self._records = ClosedMoments(*self.statistics())

    # ------------------------------------------------------------------ recording

    def record(self, indices: Indices, values: Values) -> None:
        """Records the log-density ratios of a mini-batch: O(B log B), whatever N is.

        An index that occurs several times is recorded as often, in the order of the batch.

        Args:
            indices: [B] integers in [0, N). Checked where they are on the CPU; on another device
                the check would have to wait for it, and an index out of range fails there.
            values: [B], [B, 1] or any shape with B elements and a first dimension of B; any real
                floating type, any device. NaN, infinity and what overflows float32 is counted
                (`non_finite_count`) and not stored.

        Raises:
            TypeError: If a dtype is wrong.
            ValueError: If shapes differ or a CPU index is out of range.
            RuntimeError: If the tracker is closed.
        """
        records = self._open_records()
        index = self._as_indices(indices)
        value = self._as_values(values, index.shape[0])
        if index.shape[0] == 0:
            return
        finite = torch.isfinite(value.to(torch.float32))
        self._non_finite.add(index, finite)
        # Equal indices become neighbours, still in the order in which they came.
        index, order = torch.sort(index, stable=True)
        value, finite = value.index_select(0, order), finite.index_select(0, order)
        first = torch.ones_like(finite)
        torch.ne(index[1:], index[:-1], out=first[1:])
        before = self._total.index_select(0, index)
        self._total.index_add_(0, index, finite.to(torch.int64))
        after = self._total.index_select(0, index)
        records.add_batch(index, value, finite, first, before, after)

    def record_all(self, values: Values) -> None:
        """Records one log-density ratio for every sample: a sweep over the dataset.

        Args:
            values: [N] or [N, 1], in the order of the dataset; otherwise as for `record`.

        Raises:
            TypeError: If the dtype is wrong.
            ValueError: If the shape is wrong.
            RuntimeError: If the tracker is closed.
        """
        records = self._open_records()
        value = self._as_values(values, self.num_samples)
        # In chunks, so that the temporaries stay small beside the statistics.
        for start in range(0, self.num_samples, _CHUNK):
            part = slice(start, min(start + _CHUNK, self.num_samples))
            piece = value[part]
            finite = torch.isfinite(piece.to(torch.float32))
            index = torch.arange(part.start, part.stop, device=self.device)
            self._non_finite.add(index, finite)
            self._total[part] += finite
            records.add_range(part, piece, finite, self._total[part])

    # ------------------------------------------------------------------ reading

    @property
    def count(self) -> Tensor:
        """[N] int64: the number of records that `mean` and `variance` rest on (at most W)."""
        return self.total if self.window is None else self.total.clamp_(max=self.window)

    @property
    def total(self) -> Tensor:
        """[N] int64: the number of finite records ever made, also those the window has left."""
        return self._total.clone()

    @property
    def mean(self) -> Tensor:
        """[N] float64: LDRM (paper eq. 2), NaN for a sample without a record."""
        return self.statistics()[0]

    @property
    def variance(self) -> Tensor:
        """[N] float64: unbiased LDRV (paper eq. 2), NaN for fewer than two records."""
        return self.statistics()[1]

    def statistics(self) -> tuple[Tensor, Tensor]:
        """Returns mean and variance, both [N] float64."""
        return self._records.statistics(self._total)

    @property
    def non_finite_count(self) -> int:
        """How many values were NaN or infinite and therefore not stored."""
        return self._non_finite.count

    @property
    def non_finite_indices(self) -> list[int]:
        """The indices of the first non-finite values, in the order they came.

        At most :data:`~diagan_plugin.recording.non_finite.KEPT`.
        """
        return self._non_finite.indices

    @property
    def nbytes(self) -> int:
        """Bytes held by the records and their numbers."""
        return self._total.nbytes + self._records.nbytes

    # ------------------------------------------------------------------ merging and saving

    def merge(self, other: LDRTracker) -> None:
        """Adds another tracker's records, as if they had been made here after one's own.

        For ranks or workers that each recorded a share: merged by index, in the order of calls.

        Args:
            other: A tracker of the same N and window, on any device. It is not changed.

        Raises:
            ValueError: If N or the window differ.
            RuntimeError: If one of them is closed.
        """
        other = as_kind("other", other, LDRTracker)
        if (other.num_samples, other.window) != (self.num_samples, self.window):
            raise ValueError(
                f"Argument `other` must be a tracker of {self.num_samples} samples with window "
                f"{self.window}, but got {other.num_samples} samples with window {other.window}."
            )
        added = other._total.to(self.device)
        theirs: Any = other._open_records()  # of the same kind, since the windows are equal
        self._open_records().merge(theirs, self._total, added)
        self._total += added
        self._non_finite.append(other._non_finite)

    def state_dict(self) -> dict[str, Any]:
        """Returns what is needed to go on: copies of tensors and plain values, with a version."""
        return {
            "version": _STATE_VERSION,
            "num_samples": self.num_samples,
            "window": self.window,
            "total": self.total,
            "non_finite_count": self.non_finite_count,
            "non_finite_indices": self.non_finite_indices,
            **self._records.state_dict(),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restores what `state_dict` returned, from whatever device it was saved on.

        Raises:
            ValueError: If the state is of another version, N or window.
        """
        as_state(state)
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
        if "closed_mean" in state:
            self.close()
        as_state(state, self.state_dict())
        self._total.copy_(state["total"])
        self._records.load_state_dict(state)
        self._non_finite.load(int(state["non_finite_count"]), state["non_finite_indices"])

    # ------------------------------------------------------------------ checking

    def _open_records(self) -> RunningMoments | RecordWindow:
        if isinstance(self._records, ClosedMoments):
            raise RuntimeError("The tracker is closed: it takes no more records.")
        return self._records

    def _as_indices(self, indices: Indices) -> Tensor:
        if self.device.type != "meta":  # there, nothing has data
            check_data("indices", indices)
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
        if self.device.type != "meta":  # there, nothing has data
            check_data("values", values)
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
