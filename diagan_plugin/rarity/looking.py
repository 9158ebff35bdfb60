"""Which samples are looked at closely, and what is measured of them: one bounded pass."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import avg_pool2d

from gan_registry.datasets.base import Dataset
from gan_registry.features.base import FeatureExtractor, Features
from gan_registry.features.store import BATCH, extract, real_features

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]

MOST = 20_000
"""Samples that are looked at in all; of more, both tails of the score and a random part."""

_HALVED = 16  # pixels, the shorter side: smaller images are not halved
_EXTRA = 3  # numbers of appearance
_FLAT = 1e-3  # standard deviation of an image, of a range of 2, below which it is one colour


@dataclass(frozen=True)
class Chosen:
    """The samples that are looked at.

    Attributes:
        indices: Dataset indices, ascending, int64 [M].
        at_random: Whether a sample would have been taken whatever its score: these stand for the
            data, bool [M]. All are, if no more than `MOST` samples exist.
    """

    indices: Integers
    at_random: NDArray[np.bool_]


def choose(score: Floats, seed: int, most: int = MOST) -> Chosen:
    """Chooses what is looked at by score [N]: all, or a quarter from each end and half at random.

    Samples without a finite score belong to neither end.
    """
    count = len(score)
    if count <= most:
        return Chosen(np.arange(count), np.ones(count, bool))
    rng = np.random.default_rng([seed, 0x0DD])
    part = rng.choice(count, most // 2, replace=False)
    known = np.flatnonzero(np.isfinite(score))
    end = min(most // 4, known.size // 2)
    order = known[np.argpartition(score[known], [end, known.size - end - 1])] if end else known[:0]
    indices = np.unique(np.concatenate([part, order[:end], order[order.size - end :]]))
    return Chosen(indices, np.isin(indices, part))


@dataclass(frozen=True)
class Seen:
    """What was measured of M samples.

    Attributes:
        features: float32 [M, D].
        coherence: Of images the correlation of neighbouring pixels, as they are and at half the
            size, float64 [M, 2]; NaN of an image of one colour, and of what is no image.
        flat: Whether an image is of one colour, bool [M].
    """

    features: NDArray[np.float32]
    coherence: Floats
    flat: NDArray[np.bool_]


def look(
    dataset: Dataset, indices: Integers, extractor: FeatureExtractor, cache: Path | None
) -> Seen:
    """Measures samples of the dataset; they are read once, in batches.

    Raises:
        UserError: Samples or features are not finite.
    """
    measure = _WithAppearance(extractor, dataset.kind == "image")
    device = torch.device("cpu")
    return _seen(real_features(measure, dataset, indices, cache, device=device).features)


def look_at(samples: NDArray[Any], dataset: Dataset, extractor: FeatureExtractor) -> Seen:
    """Measures generated samples [n, *sample_shape], in the data's range."""
    measure = _WithAppearance(extractor, dataset.kind == "image")
    x = torch.as_tensor(np.ascontiguousarray(samples, np.float32))
    parts = [extract(measure, part).features for part in torch.split(x, BATCH)]
    return _seen(torch.cat(parts))


def appearance(images: Tensor) -> Tensor:
    """Returns coherence, that of the images at half their size, and flatness: [B, 3].

    The second one finds noise that was enlarged. Images below 16 pixels are not halved: so few
    pairs of pixels tell nothing.
    """
    fine, flat = coherence(images)
    coarse = fine
    if min(images.shape[2:]) >= _HALVED:
        coarse, _ = coherence(avg_pool2d(images, 2))
    return torch.stack([fine, coarse, flat.to(fine)], 1)


def coherence(images: Tensor) -> tuple[Tensor, Tensor]:
    """Returns the correlation of neighbouring pixels of [B, C, H, W], and which are of one colour.

    It is near 1 of photographs, lower where there is much detail, and near 0 of noise, whatever its
    contrast. Images of one colour have none: theirs is 0.
    """
    x = images.double()
    x = x - x.mean((2, 3), keepdim=True)
    pairs = [(x[:, :, 1:], x[:, :, :-1]), (x[:, :, :, 1:], x[:, :, :, :-1])]
    dims = (1, 2, 3)
    shared = sum((a * b).sum(dims) for a, b in pairs)
    own = sum((a.square() + b.square()).sum(dims) for a, b in pairs) / 2
    flat = x.square().mean(dims).sqrt() < _FLAT
    return torch.where(flat, 0.0, shared / torch.as_tensor(own).clamp_min(1e-12)), flat


class _WithAppearance:
    """An extractor whose features are followed by coherence and flatness, for one pass."""

    def __init__(self, inner: FeatureExtractor, is_image: bool) -> None:
        self._inner, self._is_image = inner, is_image
        self.identity = f"{inner.identity} with appearance 1"
        self.num_features = inner.num_features + _EXTRA
        self.keep = getattr(inner, "keep", True)

    def __call__(self, samples: Tensor) -> Features:
        features = self._inner(samples).features
        extra = torch.zeros(len(samples), _EXTRA)
        if self._is_image and len(samples):
            extra = appearance(samples)
        return Features(torch.cat([features, extra.to(features)], 1))


def _seen(joined: Tensor) -> Seen:
    values = joined.numpy()
    correlation, flat = values[:, -3:-1].astype(np.float64), values[:, -1] > 0
    # Of what is no image all are 0; that says nothing.
    known = ~flat if correlation.any() else np.zeros_like(flat)
    correlation[~known] = np.nan
    return Seen(values[:, :-_EXTRA], correlation, flat)
