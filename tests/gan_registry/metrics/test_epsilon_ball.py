from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.neighbors import NearestNeighbors

from gan_registry.errors import UserError
from gan_registry.metrics.base import Batch, MetricContext
from gan_registry.metrics.epsilon_ball import (
    EpsilonBall,
    EpsilonBallPlain,
    epsilon_ball,
    unit_length,
)


def sets(seed, width=4, sizes=(200, 150)):
    rng = np.random.default_rng(seed)
    return rng.standard_normal((sizes[0], width)), rng.standard_normal((sizes[1], width)) + 0.5


def by_sklearn(real, fake, epsilon, k):
    def share(of, among):
        distances, _ = NearestNeighbors(n_neighbors=k).fit(among).kneighbors(of)
        return (distances[:, -1] < epsilon).mean()

    real, fake = (points / np.linalg.norm(points, axis=1, keepdims=True) for points in (real, fake))
    return {"epsilon_precision": share(fake, real), "epsilon_recall": share(real, fake)}


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize(("epsilon", "k"), [(0.4, 3), (0.2, 1), (0.8, 20)])
def test_equals_distances_to_the_kth_neighbour(seed, epsilon, k):
    real, fake = sets(seed)
    values = epsilon_ball(real, fake, epsilon=epsilon, k=k)
    assert values == pytest.approx(by_sklearn(real, fake, epsilon, k), abs=1e-12)
    assert 0 < values["epsilon_precision"] < 1
    assert 0 < values["epsilon_recall"] < 1


def test_by_hand_without_normalisation():
    real = [[0.0], [0.125], [0.25], [5.0]]
    fake = [[0.125], [0.5], [5.0], [5.125]]
    values = epsilon_ball(real, fake, epsilon=0.375, k=2, normalise=False)
    assert values == {"epsilon_precision": 0.25, "epsilon_recall": 0.5}
    # Now 0.125 and 0.5 are close, which were exactly ε apart.
    values = epsilon_ball(real, fake, epsilon=0.376, k=2, normalise=False)
    assert values == {"epsilon_precision": 0.5, "epsilon_recall": 0.75}


def test_the_boundary_is_outside():
    values = epsilon_ball([[0.0]], [[0.5]], epsilon=0.5, k=1, normalise=False)
    assert values == {"epsilon_precision": 0.0, "epsilon_recall": 0.0}


def test_lengths_count_only_without_normalisation():
    real, fake = sets(0)
    lengths = np.random.default_rng(1).uniform(1, 9, (len(fake), 1))
    assert epsilon_ball(real, fake * lengths) == epsilon_ball(real, fake)
    assert epsilon_ball(real, fake * lengths, normalise=False) != epsilon_ball(
        real, fake, normalise=False
    )


def test_unit_length_of_zeros_and_extremes():
    points = torch.tensor([[0.0, 0.0], [3e30, 4e30], [3e-30, 4e-30], [-3.0, 4.0]])
    expected = torch.tensor([[0.0, 0.0], [0.6, 0.8], [0.6, 0.8], [-0.6, 0.8]])
    torch.testing.assert_close(unit_length(points), expected)


def test_known_answers():
    real, _ = sets(0, sizes=(2000, 1))
    same = epsilon_ball(real, real, k=1)
    assert same == {"epsilon_precision": 1.0, "epsilon_recall": 1.0}
    collapsed = epsilon_ball(real, np.ones((50, 4)))
    assert collapsed["epsilon_precision"] == 1.0
    assert collapsed["epsilon_recall"] < 0.1
    opposite = epsilon_ball(np.abs(real), -np.abs(real))
    assert max(opposite.values()) < 0.05
    swapped = epsilon_ball(np.ones((50, 4)), real)
    assert list(swapped.values()) == list(collapsed.values())[::-1]


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_compared_in_float32(dtype):
    real, fake = (torch.from_numpy(points).to(dtype) for points in sets(1))
    assert epsilon_ball(real, fake) == epsilon_ball(real.float(), fake.float())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"epsilon": 0.0}, "`epsilon` must be positive, but got 0"),
        ({"epsilon": float("nan")}, "`epsilon` must be positive"),
        ({"k": 0}, "`k` must be at least 1"),
        ({"k": 151}, "at least k = 151 rows, but got 200 and 150"),
    ],
)
def test_bad_arguments_are_named(options, message):
    with pytest.raises(ValueError, match=message):
        epsilon_ball(*sets(0), **options)


def test_values_that_are_not_finite_are_refused():
    real, fake = sets(0)
    fake[5, 1] = np.nan
    with pytest.raises(ValueError, match="1 of 150 rows"):
        epsilon_ball(real, fake)


@pytest.mark.parametrize(("metric", "normalise"), [(EpsilonBall, True), (EpsilonBallPlain, False)])
def test_streaming_gives_the_numbers_of_the_function(metric, normalise):
    real, fake = (torch.from_numpy(points).float() for points in sets(2))
    metric = metric(MetricContext(sample_shape=(4,)))
    for part in real.split(33):
        metric.update_real(Batch(features=part))
    for part in fake.split(33):
        metric.update_fake(Batch(features=part))
    values = metric.compute()
    assert values == epsilon_ball(real, fake, normalise=normalise)
    assert set(values) == set(metric.directions)
    metric.reset_fake()
    metric.update_fake(Batch(features=fake[:2]))
    with pytest.raises(UserError, match="at least 3 generated samples, but there are 2"):
        metric.compute()
