"""The sampler `class_balanced`: every class equally often, whatever its size."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

import numpy as np
import numpy.typing as npt

from gan_registry.datasets.base import Ints
from gan_registry.datasets.labels import labels_of
from gan_registry.errors import UserError
from gan_registry.samplers.base import epoch_permutation
from gan_registry.samplers.epochs import EpochSampler

if TYPE_CHECKING:
    from gan_registry.live_run import LiveRun

_WITHIN = 1  # apart from the order of an epoch, whose seeds have two words


class ClassBalancedSampler(EpochSampler):
    """Visits each of K classes N/K times an epoch, to within one, in a new order each epoch.

    A class's own samples come round in turn: none is seen twice before all have been seen.

    Args:
        labels: Label of each sample [N]; classes without any sample do not count.
        seed: The run's seed.

    Raises:
        ValueError: There is no sample.
    """

    name: ClassVar[str] = "class_balanced"

    def __init__(self, labels: npt.ArrayLike, seed: int = 0) -> None:
        labels = np.asarray(labels, np.int64)
        if not len(labels):
            raise ValueError("Argument `labels` must hold at least one label, but got none.")
        super().__init__(len(labels), seed)
        self._members = [np.flatnonzero(labels == label) for label in np.unique(labels)]

    def order(self, epoch: int) -> Ints:
        """Returns the dataset indices of an epoch, int64 [N]."""
        size, classes = self.num_samples, len(self._members)
        # Class c has had ⌊(eN + c)/K⌋ samples before epoch e; over c that sums to eN exactly.
        drawn = [
            self._draw_class(c, (epoch * size + c) // classes, ((epoch + 1) * size + c) // classes)
            for c in range(classes)
        ]
        order: Ints = np.concatenate(drawn)[epoch_permutation(size, self.seed, epoch)]
        return order

    def _draw_class(self, number: int, start: int, stop: int) -> Ints:
        """Returns what stands at places [start, stop) of a class's own endless stream."""
        members = self._members[number]
        pieces = [np.empty(0, np.int64)]
        while start < stop:
            turn, offset = divmod(start, len(members))
            words = np.random.SeedSequence([self.seed, turn, number, _WITHIN])
            order = np.random.Generator(np.random.PCG64(words)).permutation(members)
            piece = order[offset : offset + stop - start]
            pieces.append(piece)
            start += len(piece)
        return np.concatenate(pieces)


def build_class_balanced(run: LiveRun) -> ClassBalancedSampler:
    """Builds the sampler `class_balanced` of a run.

    Raises:
        UserError: The dataset has a single class.
    """
    if run.dataset.num_classes < 2:
        raise UserError(
            f"The sampler 'class_balanced' needs classes, but the dataset {run.dataset.name!r} has "
            "none."
        )
    return ClassBalancedSampler(labels_of(run.dataset), run.seed)
