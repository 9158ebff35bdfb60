"""The forms in which the auxiliary discriminator takes its batches."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, Protocol, TypeAlias, cast

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

__all__ = ["Batch", "Parts", "Provider", "Samples", "as_sequence", "parts_of"]


class Samples(Protocol):
    """A batch with attributes `x` and `y`: the host's `Real` and `Fake` are such."""

    @property
    def x(self) -> Tensor:
        """Samples [B, ...]."""
        ...

    @property
    def y(self) -> Tensor | None:
        """Labels [B], or None."""
        ...


#: One batch: `x`, `(x, y)`, or an object with `.x` and `.y` (and `.indices`, of real samples).
Batch: TypeAlias = "Tensor | tuple[Tensor, Tensor | None] | Samples"
#: `indices [B] -> (x [B, ...], y [B] or None)`
Provider: TypeAlias = Callable[[NDArray[np.int64]], "tuple[Tensor, Tensor | None]"]


class Parts(NamedTuple):
    """Samples x [B, ...], labels y [B] or None, and weights [B] of their terms or None.

    `source` is the object that they were taken from, where there was one.
    """

    x: Tensor
    y: Tensor | None = None
    weights: Tensor | None = None
    source: Any = None


def parts_of(batch: Batch) -> Parts:
    """Takes a batch of any form apart."""
    if isinstance(batch, Tensor):
        return Parts(batch)
    if isinstance(batch, tuple):
        return Parts(*batch[:2])
    return Parts(batch.x, batch.y, source=batch)


def as_sequence(batches: Batch | Sequence[Batch]) -> Sequence[Batch]:
    """Returns the micro-batches: a single batch is a sequence of one."""
    if isinstance(batches, (list, tuple)) and not (
        isinstance(batches, tuple) and batches and isinstance(batches[0], Tensor)
    ):
        return batches
    return [cast("Batch", batches)]
