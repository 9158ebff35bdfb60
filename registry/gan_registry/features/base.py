"""What a feature extractor is, and what it may know of the run that it serves."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple, Protocol

import torch
from torch import Tensor

from gan_registry.datasets.base import Dataset


class Features(NamedTuple):
    """What an extractor says of a batch.

    Attributes:
        features: float32 [B, D].
        probabilities: float32 [B, C], rows that sum to 1; None if it has no classes.
    """

    features: Tensor
    probabilities: Tensor | None = None


@dataclass(frozen=True)
class FeatureContext:
    """What an extractor may need to be built.

    Attributes:
        dataset: The real data.
        device: Where to compute.
        cache: Folder for what is expensive to make or fetch (weights, trained classifiers).
        seed: What all randomness follows from.
        path: The file, for an extractor that is one.
    """

    dataset: Dataset
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))
    cache: Path | None = None
    seed: int = 0
    path: Path | None = None


class FeatureExtractor(Protocol):
    """Turns samples into features.

    The catalog `features` maps names to factories `(FeatureContext) -> FeatureExtractor`.

    Attributes:
        identity: Text that differs wherever the features would: name, weights, preprocessing.
            Features of the real data are kept on disk under it.
        num_features: D.
    """

    identity: str
    num_features: int

    def __call__(self, samples: Tensor) -> Features:
        """Extracts, without gradients.

        Args:
            samples: float32 [B, *sample_shape] on the context's device, in the dataset's range
                ((-1, 1) for images). B may be 0.

        Raises:
            ValueError: The samples are of another shape than the extractor takes.
        """
        ...
