"""What a metric is: it sees real and generated samples in batches, then says numbers."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor

Needs = Literal["samples", "features", "probabilities", "labels", "groups"]
Directions = Mapping[str, Literal["up", "down", "none"]]
"""Name of a result → whether more of it is better ("up"), less ("down"), or neither ("none")."""

Progress = Callable[[str, int, int], None]
"""Called with (what is done, how much is done, how much there is)."""


def no_progress(what: str, done: int, total: int) -> None:
    """Shows nothing."""


@dataclass(frozen=True)
class Batch:
    """Some samples, real or generated, with what is known of them; all on the metric's device.

    Only what the metric `needs` is sure to be there.

    Attributes:
        samples: float32 [b, *sample_shape].
        features: float32 [b, D], from the chosen extractor.
        probabilities: float32 [b, C], the extractor's class probabilities.
        labels: int64 [b], class labels; of real samples, and of samples made for a class.
        groups: int64 [b]; of a generated sample as the dataset classifies it; -1 belongs to none.
    """

    samples: Tensor | None = None
    features: Tensor | None = None
    probabilities: Tensor | None = None
    labels: Tensor | None = None
    groups: Tensor | None = None


@dataclass(frozen=True)
class MetricContext:
    """What a metric may know before it sees samples.

    Attributes:
        sample_shape: Shape of one sample.
        value_range: Smallest and largest value, (-1, 1) for images; None if unbounded.
        group_names: Name of each group of the data, by number; empty if there are none.
        num_classes: Number of class labels.
        device: Where to compute.
        seed: What all randomness follows from.
        progress: Told how far a long computation is.
    """

    sample_shape: tuple[int, ...]
    value_range: tuple[float, float] | None = None
    group_names: tuple[str, ...] = ()
    num_classes: int = 1
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))
    seed: int = 0
    progress: Progress = no_progress


class Metric(ABC):
    """A metric in streaming form; the catalog `metrics` maps names to such classes.

    Args:
        context: What is known beforehand.

    Attributes:
        needs: What of a :class:`Batch` it reads.
        directions: Of each result.
    """

    needs: ClassVar[frozenset[Needs]] = frozenset({"features"})
    directions: ClassVar[Directions] = {}

    def __init__(self, context: MetricContext) -> None:
        self.context = context

    @abstractmethod
    def update_real(self, batch: Batch) -> None:
        """Takes some real samples in; all of them come before the first generated one."""

    @abstractmethod
    def update_fake(self, batch: Batch) -> None:
        """Takes some generated samples in."""

    @abstractmethod
    def compute(self) -> dict[str, Any]:
        """Returns name → number; the key `groups` may hold group name → (name → number).

        Raises:
            UserError: There are too few samples; says how many it takes.
        """

    def reset_fake(self) -> None:
        """Forgets the generated samples and keeps what was learnt from the real ones.

        So that one pass over the real data serves plain and corrected samples.
        """
        raise NotImplementedError
