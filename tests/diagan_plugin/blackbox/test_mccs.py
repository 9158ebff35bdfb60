from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from diagan_plugin.blackbox import mccs as module
from diagan_plugin.blackbox.mccs import (
    angular_distances,
    collapse_score,
    compare,
    mccs,
    similarity,
    unit_vectors,
)


def by_hand(anchor, samples, theta):
    """Equations 3, 4 and 7 as they stand, one pair at a time."""
    total = 0.0
    for sample in samples:
        cosine = np.dot(anchor, sample) / np.linalg.norm(anchor) / np.linalg.norm(sample)
        distance = math.acos(min(1.0, max(-1.0, cosine))) / math.pi
        total += (math.exp(max(0.0, theta - distance)) - 1.0) / (math.exp(theta) - 1.0)
    mean = total / len(samples)
    return 1.0 / (1.0 - math.log(mean)) if mean > 0 else 0.0


@pytest.mark.parametrize("theta", [0.1, 0.4, 1.0])
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_agrees_with_the_equations(theta, dtype):
    rng = np.random.default_rng(0)
    anchors = torch.from_numpy(rng.normal(size=(5, 3))).to(dtype)
    samples = torch.from_numpy(rng.normal(size=(60, 3)) * 7).to(dtype)
    want = [by_hand(a, samples.double().numpy(), theta) for a in anchors.double().numpy()]
    np.testing.assert_allclose(mccs(anchors, samples, theta), want, atol=2e-4)


def test_extremes():
    same = np.tile([[3.0, 4.0]], (10, 1))
    assert mccs(same[:1], same, 0.25)[0] == pytest.approx(1.0, abs=1e-3)
    assert mccs([[1.0, 0.0]], [[-1.0, 0.0], [0.0, 1.0]], 0.25)[0] == 0.0
    # Half of the samples equal the anchor: 1 / (1 + ln 2).
    half = mccs([[1.0, 0.0]], [[1.0, 0.0], [0.0, 1.0]], 0.25)[0]
    assert half == pytest.approx(1.0 / (1.0 + math.log(2.0)), abs=1e-3)


def test_distances_are_angles():
    u = unit_vectors([[1.0, 0.0], [1.0, 1.0], [-2.0, 0.0], [0.0, 5.0]])
    np.testing.assert_allclose(angular_distances(u[:1], u)[0], [0, 0.25, 1, 0.5], atol=1e-6)
    assert similarity(torch.tensor([0.0, 0.2, 0.25, 0.9]), 0.25).tolist()[2:] == [0.0, 0.0]


def test_pieces_and_blocks_change_nothing(monkeypatch):
    rng = torch.Generator().manual_seed(0)
    anchors, samples = (unit_vectors(torch.randn(n, 8, generator=rng)) for n in (23, 101))
    whole = compare(anchors, samples, 0.4, 0.3)
    monkeypatch.setattr(module, "_TILE", 64)
    monkeypatch.setattr(module, "_COLUMNS", 16)
    pieces = compare(anchors, samples, 0.4, 0.3, blocks=7)
    assert pieces.sizes.sum() == 101
    assert pieces.neighbors.shape == (23, 7)
    np.testing.assert_array_equal(pieces.neighbors.sum(1), whole.neighbors[:, 0])
    np.testing.assert_allclose(pieces.scores, whole.scores, rtol=1e-6)
    count = (angular_distances(anchors, samples) <= 0.3).sum(1)
    np.testing.assert_array_equal(whole.neighbors[:, 0], count)


def test_unit_vectors_of_extreme_lengths():
    u = unit_vectors(torch.tensor([[1e30, 1e30], [1e-30, 0.0], [0.0, 0.0]]))
    np.testing.assert_allclose(u, [[0.5**0.5, 0.5**0.5], [1, 0], [0, 0]], atol=1e-6)
    centred = unit_vectors([[2.0, 1.0], [0.0, 1.0]], center=[1.0, 1.0])
    np.testing.assert_allclose(centred, [[1, 0], [-1, 0]], atol=1e-6)


@pytest.mark.parametrize(
    ("anchors", "samples", "theta", "message"),
    [
        ([[1.0, math.nan]], [[1.0, 0.0]], 0.2, "anchors"),
        ([[1.0, 0.0]], [[1.0, math.inf]], 0.2, "samples"),
        ([1.0, 0.0], [[1.0, 0.0]], 0.2, "matrix"),
        ([[1.0, 0.0]], [[1.0, 0.0, 0.0]], 0.2, "D"),
        (np.empty((0, 2)), [[1.0, 0.0]], 0.2, "M > 0"),
        ([[1.0, 0.0]], np.empty((0, 2)), 0.2, "blocks"),
        ([[1.0, 0.0]], [[1.0, 0.0]], 0.0, "theta"),
        ([[1.0, 0.0]], [[1.0, 0.0]], math.nan, "theta"),
    ],
)
def test_refuses(anchors, samples, theta, message):
    with pytest.raises(ValueError, match=message):
        mccs(anchors, samples, theta)


def test_score_grows_with_similarity():
    scores = collapse_score(np.linspace(0, 1, 50))
    assert (np.diff(scores) > 0).all()
    assert scores[0] == 0.0
    assert scores[-1] == 1.0


def test_public_names_resolve():
    import diagan_plugin.blackbox as package

    for name in package.__all__:
        assert callable(getattr(package, name)), name  # and no module of the same name hides it
