"""Samples as they are, for points in the plane and for artificial data."""

from __future__ import annotations

import math

from torch import Tensor

from gan_registry.features.base import FeatureContext, Features
from gan_registry.features.samples import check_samples


class Raw:
    """The values of a sample, flattened; no class probabilities.

    Of images these are the pixels in the dataset's range. Distances between pixels say little of
    what is seen; for images prefer an extractor that has learnt what matters.

    Args:
        context: Its `dataset` gives the shape of a sample.
    """

    identity = "raw 1"
    keep = False  # a copy of the data on disk would save no time

    def __init__(self, context: FeatureContext) -> None:
        self._shape = tuple(context.dataset.sample_shape)
        self.num_features = math.prod(self._shape)

    def __call__(self, samples: Tensor) -> Features:
        """Returns float32 [B, D]."""
        return Features(check_samples(samples, self._shape).reshape(-1, self.num_features))
