from __future__ import annotations

import numpy as np
import pytest
import torch

from diagan_plugin.rarity.looking import appearance, choose, coherence, look, look_at
from gan_registry.datasets.base import ArrayDataset
from gan_registry.errors import UserError
from gan_registry.features.base import FeatureContext
from gan_registry.features.descriptor import Descriptor
from gan_registry.features.raw import Raw


def test_all_are_looked_at_where_they_fit() -> None:
    chosen = choose(np.arange(100.0), seed=0, most=100)
    assert chosen.indices.tolist() == list(range(100))
    assert chosen.at_random.all()


def test_of_more_both_ends_and_a_random_part_are_looked_at() -> None:
    score = np.random.default_rng(0).permutation(10_000).astype(float)
    score[:500] = np.nan
    chosen = choose(score, seed=1, most=400)
    assert np.all(np.diff(chosen.indices) > 0)
    assert 300 <= chosen.indices.size <= 400
    assert chosen.at_random.sum() == 200
    order = np.argsort(np.where(np.isnan(score), np.inf, score))
    known = order[: np.isfinite(score).sum()]
    assert set(known[:100]) | set(known[-100:]) <= set(chosen.indices.tolist())
    # The random part stands for the data: also for samples without a score.
    assert np.isnan(score[chosen.indices[chosen.at_random]]).any()
    assert chosen.indices.tolist() != choose(score, seed=2, most=400).indices.tolist()


def test_scores_that_are_not_known_choose_nothing() -> None:
    chosen = choose(np.full(1000, np.nan), seed=0, most=100)
    assert chosen.indices.size == 50
    assert chosen.at_random.all()


def test_coherence_is_the_correlation_of_neighbouring_pixels() -> None:
    rng = np.random.default_rng(0)
    noise = torch.from_numpy(rng.random((50, 3, 32, 32)))
    ramp = torch.arange(32.0).repeat(1, 3, 32, 1) / 16 - 1
    board = (torch.arange(32)[:, None] + torch.arange(32)) % 2 * 2.0 - 1
    value, flat = coherence(torch.cat([noise, ramp, board.expand(1, 3, 32, 32)]))
    assert value[:50].abs().max() < 0.1
    assert value[50] > 0.9
    assert value[51] == pytest.approx(-1.0)
    assert not flat.any()
    # Contrast and brightness change nothing.
    assert torch.allclose(coherence(noise * 0.1 - 0.5)[0], value[:50])


def test_an_image_of_one_colour_is_flat_and_has_no_coherence() -> None:
    colour = torch.tensor([0.1, -0.7, 0.4]).reshape(1, 3, 1, 1).expand(1, 3, 16, 16)
    value, flat = coherence(colour)
    assert (value.item(), flat.item()) == (0.0, True)


def test_enlarged_noise_shows_at_half_the_size() -> None:
    small = torch.rand(20, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    large = small.repeat_interleave(2, 2).repeat_interleave(2, 3)
    fine, coarse, _ = appearance(large).T
    assert fine.min() > 0.3
    assert coarse.abs().max() < 0.4
    # Images below 16 pixels are not halved.
    assert torch.equal(*appearance(small).T[:2])


def images(count: int = 12, channels: int = 1) -> ArrayDataset:
    x = np.random.default_rng(0).integers(0, 256, (count, channels, 16, 16), np.uint8)
    x[3] = 7
    return ArrayDataset("made", x)


def test_looking_gives_features_and_appearance() -> None:
    dataset = images()
    extractor = Descriptor(FeatureContext(dataset))
    seen = look(dataset, np.array([5, 3, 0]), extractor, None)
    x, _ = dataset.__getitems__([5, 3, 0])
    assert np.array_equal(seen.features, extractor(x).features.numpy())
    assert seen.flat.tolist() == [False, True, False]
    assert np.isnan(seen.coherence[1]).all()
    assert np.abs(seen.coherence[[0, 2]]).max() < 0.4
    # Generated samples are measured alike.
    assert np.allclose(look_at(x.numpy(), dataset, extractor).features, seen.features)


def test_points_have_no_appearance() -> None:
    dataset = ArrayDataset("plane", np.zeros((5, 2), np.float32))
    seen = look(dataset, np.arange(5), Raw(FeatureContext(dataset)), None)
    assert np.isnan(seen.coherence).all()
    assert not seen.flat.any()
    assert seen.features.shape == (5, 2)


def test_samples_that_are_not_finite_are_refused() -> None:
    dataset = ArrayDataset("plane", np.full((5, 2), np.nan, np.float32))
    with pytest.raises(UserError, match="not finite"):
        look(dataset, np.arange(5), Raw(FeatureContext(dataset)), None)
