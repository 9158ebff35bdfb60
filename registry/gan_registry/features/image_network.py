"""What extractors that are published networks for RGB images have in common."""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch
from torch import Tensor

from gan_registry.features.base import FeatureContext, Features
from gan_registry.features.samples import check_samples, image_range, to_levels, to_rgb

_BATCH = 50
"""Images of 299 px at once, as in pytorch-fid: their feature maps take 2 MB or more each."""


class ImageNetwork(ABC):
    """Brings samples to RGB images of 256 levels and hands them on in small batches.

    Args:
        name: The extractor's, for messages.
        context: Its `dataset` gives shape and range of the samples.

    Attributes:
        num_features: D.

    Raises:
        UserError: The samples are no images of 1 or 3 channels.
    """

    num_features = 2048

    def __init__(self, name: str, context: FeatureContext) -> None:
        self._range = image_range(name, context.dataset)
        self._shape = tuple(context.dataset.sample_shape)

    @torch.no_grad()
    def __call__(self, samples: Tensor) -> Features:
        """Returns float32 [B, D] and, if the network has classes, probabilities [B, C]."""
        samples = check_samples(samples, self._shape)
        count = len(samples)
        if count == 0:  # not every layer takes no images at all: one goes in, and none is kept
            samples = samples.new_zeros(1, *self._shape)
        parts = [
            self._extract(to_rgb(to_levels(x, self._range))) for x in torch.split(samples, _BATCH)
        ]
        features = torch.cat([part.features for part in parts])[:count]
        probabilities = [part.probabilities for part in parts if part.probabilities is not None]
        return Features(features, torch.cat(probabilities)[:count] if probabilities else None)

    @abstractmethod
    def _extract(self, levels: Tensor) -> Features:
        """Extracts from images [b, 3, H, W] with whole values from 0 to 255."""


def unbiased_probabilities(features: Tensor, weight: Tensor) -> Tensor:
    """Returns class probabilities as the Inception Score takes them.

    The original score multiplies the pooled features [b, D] by the matrix of the last layer,
    `weight` [C, D], and leaves its bias out; torch-fidelity ("logits_unbiased") and StyleGAN2-ADA
    (`no_output_bias`) follow it.

    Returns:
        float32 [b, C], rows that sum to 1.
    """
    return (features @ weight.T).softmax(1)
