"""Edges and colours of an image on a grid of cells: nothing to download, nothing to train."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from gan_registry.features.base import FeatureContext, Features
from gan_registry.features.samples import check_samples, image_range

_SIDE = 32  # pixels: larger images shrink to this
_CELLS = 8  # a side, at most; a cell is at least two pixels wide
_DIRECTIONS = 8
_FAINT = 1e-3  # squared strength of edges, in a range of 1, below which they do not count


class Descriptor:
    """Histograms of the directions of edges, normalised in each cell, and the mean colour.

    In the manner of Dalal and Triggs' HOG. It knows shapes and colours, no objects: of digits and
    the like its nearest neighbours are of one class, of photographs prefer a pretrained network.

    Args:
        context: `dataset` is read.

    Raises:
        UserError: The samples are no images.
    """

    identity = "descriptor 1"
    keep = False  # computed as fast as read

    def __init__(self, context: FeatureContext) -> None:
        self._low, high = image_range("descriptor", context.dataset)
        self._width = high - self._low
        self._shape = tuple(context.dataset.sample_shape)
        channels, height, width = self._shape
        self._pixels = (min(height, _SIDE), min(width, _SIDE))
        self._grid = (_cells(height), _cells(width))
        self.num_features = math.prod(self._grid) * (_DIRECTIONS + channels)

    @torch.no_grad()
    def __call__(self, samples: Tensor) -> Features:
        """Returns float32 [B, D]; no probabilities."""
        x = (check_samples(samples, self._shape) - self._low) / self._width
        x = F.adaptive_avg_pool2d(x, self._pixels)
        edges = F.adaptive_avg_pool2d(_directions(x), self._grid)
        edges = edges / (edges.square().sum(1, keepdim=True) + _FAINT).sqrt()
        colours = F.adaptive_avg_pool2d(x, self._grid)
        return Features(torch.cat([edges, colours], 1).reshape(len(x), self.num_features))


def _cells(side: int) -> int:
    return max(1, min(_CELLS, side // 2))


def _directions(x: Tensor) -> Tensor:
    """Splits the strength of each pixel's edge between the two directions next to its own."""
    padded = F.pad(x, (1, 1, 1, 1), mode="replicate")
    across = padded[:, :, 1:-1, 2:] - padded[:, :, 1:-1, :-2]
    down = padded[:, :, 2:, 1:-1] - padded[:, :, :-2, 1:-1]
    strength, strongest = (across.square() + down.square()).sqrt().max(1, keepdim=True)
    angle = torch.atan2(down.gather(1, strongest), across.gather(1, strongest))
    place = angle.remainder(math.pi) / math.pi * _DIRECTIONS
    first, part = place.floor(), place - place.floor()
    split = strength.new_zeros(len(x), _DIRECTIONS, *x.shape[2:])
    split.scatter_add_(1, first.long() % _DIRECTIONS, strength * (1 - part))
    return split.scatter_add_(1, (first.long() + 1) % _DIRECTIONS, strength * part)
