"""A training of NVlabs' trainers as hooks see it: the `run`."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from torch import nn

from diagan_plugin.hosts.kit.run import HostRun
from gan_registry.records import AddedTerms, MicroBatch
from gan_registry.training.discriminator_regularization import DiscriminatorRegularization


class NvlabsRun(HostRun):
    """One training.

    Attributes:
        seen: The stream position behind the batch that D sees now, or saw last.
        reads_ahead: Whether G's batch has been read, too, while D sees its own.
    """

    seen = 0
    reads_ahead = False

    def drawn(self, batches: Sequence[MicroBatch]) -> NDArray[np.int64]:
        """Returns the dataset indices of an update's micro-batches, those of all ranks."""
        return self.sampler.draw(self.seen - len(batches) * self.batch_size, self.seen)

    def regularization_of(self, discriminator: nn.Module, name: str) -> AddedTerms:
        """Returns the trainer's R1, for R3GAN with R2."""
        return DiscriminatorRegularization(self, discriminator, name)
