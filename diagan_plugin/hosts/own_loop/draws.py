"""Follows what the loop's loader draws, and notices where it is not what Dia handed out."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from diagan_plugin.sampling.sampler import DiaSampler

PATIENCE = 100
"""Steps beside those of an epoch that a loader may read ahead without asking the sampler again."""


class LoopSampler(DiaSampler):
    """A :class:`diagan_plugin.DiaSampler` that remembers how often it handed out each index.

    Args:
        num_samples: N.
        *arguments: As for the class itself.
        **options: Likewise.
    """

    def __init__(self, num_samples: int, *arguments: Any, **options: Any) -> None:
        super().__init__(num_samples, *arguments, **options)
        self.handed_out: npt.NDArray[np.int64] = np.zeros(num_samples, np.int64)

    def __iter__(self) -> Iterator[int]:
        for index in super().__iter__():
            self.handed_out[index] += 1
            yield index


class DrawCheck:
    """Notices a loader that does not draw by Dia's sampler.

    Args:
        sampler: Dia's.
        batch_size: Samples of a batch over all processes.
    """

    def __init__(self, sampler: LoopSampler, batch_size: int) -> None:
        self._sampler = sampler
        self._patience = PATIENCE + -(-sampler.num_samples // batch_size)
        self.forget()

    def forget(self) -> None:
        """Starts anew, as where the sampler has taken up a saved position."""
        self._start = self._position = self._sampler.position
        self._idle = 0

    def after_step(self) -> str | None:
        """Returns what is wrong with the loader after one more step, or None."""
        position = self._sampler.position
        self._idle = 0 if position != self._position else self._idle + 1
        self._position = position
        if position == self._start:
            return _NEVER_ASKED
        if self._idle > self._patience:
            return (
                f"dia.sampler was last asked {self._idle} steps ago: the batches come from "
                f"elsewhere, or are kept and used again. {_REMEDY}"
            )
        return None

    def check(self, indices: Any) -> Tensor:
        """Returns the indices of a batch, int64 [B] on the CPU.

        Raises:
            TypeError: They are no whole numbers.
            ValueError: They are not one-dimensional, or not what the sampler handed out.
        """
        found = as_indices(indices, self._sampler.num_samples)
        handed_out = self._sampler.handed_out
        if not handed_out.any():
            return found  # after_step says that the sampler is not asked
        rows, often = np.unique(found.numpy(), return_counts=True)
        foreign = rows[often > handed_out[rows]]
        if len(foreign):
            raise ValueError(
                f"Argument `indices` names the samples {foreign[:5].tolist()}"
                f"{' …' if len(foreign) > 5 else ''} more often than dia.sampler handed them out: "
                "give what dia.dataset appends to each item, not labels, and let the loader draw "
                "by dia.sampler."
            )
        return found


def as_indices(indices: Any, num_samples: int) -> Tensor:
    """Returns dataset indices as int64 [B] on the CPU.

    Raises:
        TypeError: They are no whole numbers.
        ValueError: They are not one-dimensional, or outside [0, N).
    """
    found: Tensor = torch.as_tensor(indices)
    if found.is_floating_point() or found.is_complex() or found.dtype == torch.bool:
        raise TypeError(
            f"Argument `indices` must be whole numbers, but got {found.dtype}: give what "
            "dia.dataset appends to each item, not labels."
        )
    found = found.detach().to("cpu", torch.int64)
    if found.dim() != 1:
        raise ValueError(f"Argument `indices` must be [B], but got {list(found.shape)}.")
    if len(found) and not 0 <= int(found.min()) <= int(found.max()) < num_samples:
        raise ValueError(
            f"Argument `indices` must lie in [0, {num_samples}), but got {int(found.min())} … "
            f"{int(found.max())}."
        )
    return found


_REMEDY = (
    "Give it to the loader, DataLoader(dia.dataset, sampler=dia.sampler) without shuffle; until "
    "then Dia diagnoses, but its weights reach no batch."
)
_NEVER_ASKED = (
    f"The loader does not ask dia.sampler, so Dia decides nothing of what is drawn. {_REMEDY}"
)
