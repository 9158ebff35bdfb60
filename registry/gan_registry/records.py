"""The batches that hooks receive: real samples with their indices, and generated ones."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class Real:
    """A batch of training samples.

    Attributes:
        indices: Dataset indices, int64 [B], always on the CPU.
        x: Samples [B, ...] on the run's device.
        y: Class labels, int64 [B], or None.
    """

    indices: Tensor
    x: Tensor
    y: Tensor | None = None


@dataclass(frozen=True)
class Fake:
    """A batch of generated samples.

    Attributes:
        x: Samples [B, ...] on the run's device.
        z: The latents they were made from, [B, z_dim].
        y: The class labels they were made for, int64 [B], or None.
    """

    x: Tensor
    z: Tensor
    y: Tensor | None = None


@dataclass(frozen=True)
class MicroBatch:
    """One micro-batch of a discriminator update, as `gan_discriminator_updated` sees it.

    Attributes:
        real: The training samples.
        fake: The generated samples, detached from the generator.
        real_out: D's raw output on `real.x`, detached tensors.
        fake_out: D's raw output on `fake.x`, detached tensors.
    """

    real: Real
    fake: Fake
    real_out: Any = None
    fake_out: Any = None
