from __future__ import annotations

import numpy as np
import pytest
import torch

from gan_registry.datasets.base import ArrayDataset
from gan_registry.errors import UserError
from gan_registry.features.base import FeatureContext
from gan_registry.features.descriptor import Descriptor


def descriptor(channels: int = 1, height: int = 16, width: int = 16) -> Descriptor:
    x = np.zeros((2, channels, height, width), np.uint8)
    return Descriptor(FeatureContext(ArrayDataset("made", x)))


def parts(extractor: Descriptor, x: torch.Tensor, channels: int = 1):
    """The share of each direction [B, 8, rows, columns], and the colours."""
    rows, columns = 8, 8
    found = extractor(x).features.reshape(len(x), 8 + channels, rows, columns)
    return found[:, :8], found[:, 8:]


def test_an_edge_shows_in_the_cells_where_it_lies_by_its_direction() -> None:
    x = torch.full((1, 1, 16, 16), -1.0)
    x[..., 8:] = 1.0  # black on the left, white on the right
    edges, colours = parts(descriptor(), x)
    here = torch.zeros(8, dtype=torch.bool)
    here[3:5] = True  # the columns on both sides of it
    assert (edges[0, 0][:, here] > 0.99).all()
    assert edges[0, 1:].abs().max() < 1e-6
    assert edges[0, 0][:, ~here].abs().max() < 1e-6
    assert colours[0, 0, :, :4].abs().max() == 0.0
    assert (colours[0, 0, :, 4:] == 1.0).all()
    # Turned by a quarter it is of the fifth of eight directions, over half a turn.
    turned, _ = parts(descriptor(), x.transpose(2, 3).contiguous())
    assert (turned[0, 4][here] > 0.99).all()


def test_contrast_and_sign_of_an_edge_hardly_count() -> None:
    x = torch.full((3, 1, 16, 16), -1.0)
    x[0, ..., 8:], x[1, ..., 8:], x[2, ..., :8] = 1.0, 0.0, 1.0
    edges, _ = parts(descriptor(), x)
    assert torch.allclose(edges[0], edges[1], atol=0.02)
    assert torch.allclose(edges[0], edges[2], atol=1e-6)


@pytest.mark.parametrize(
    ("shape", "expected"),
    [((3, 32, 32), 64 * 11), ((1, 8, 8), 16 * 9), ((3, 20, 64), 64 * 11), ((1, 1, 1), 9)],
)
def test_features_have_their_number_whatever_the_size(shape, expected) -> None:
    extractor = descriptor(*shape)
    x = torch.rand(4, *shape, generator=torch.Generator().manual_seed(0)) * 2 - 1
    features = extractor(x).features
    assert features.shape == (4, expected) == (4, extractor.num_features)
    assert torch.isfinite(features).all()
    assert extractor(x[:0]).features.shape == (0, expected)


def test_large_images_shrink_first() -> None:
    small = torch.rand(2, 1, 32, 32, generator=torch.Generator().manual_seed(0)) * 2 - 1
    large = small.repeat_interleave(3, 2).repeat_interleave(3, 3)
    one, other = descriptor(1, 32, 32)(small), descriptor(1, 96, 96)(large)
    assert torch.allclose(one.features, other.features, atol=1e-4)


def test_points_are_refused() -> None:
    with pytest.raises(UserError, match=r"descriptor.*choose the features 'raw'"):
        Descriptor(FeatureContext(ArrayDataset("plane", np.zeros((3, 2), np.float32))))
