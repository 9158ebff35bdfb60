from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.neighbors import NearestNeighbors

from gan_registry.catalogs import Catalogs
from gan_registry.errors import UserError
from gan_registry.metrics.base import Batch, MetricContext
from gan_registry.metrics.epsilon_ball import (
    EpsilonBall,
    EpsilonBallKth,
    EpsilonBallPlain,
    NearestBalls,
    epsilon_ball,
    nearest_balls,
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


def test_by_default_the_nearest_counts_as_in_the_published_code():
    real, fake = sets(0, width=16)
    values = epsilon_ball(real, fake, epsilon=0.8)
    # However many neighbours are looked up, the smallest of their distances is the first one's.
    unit = [points / np.linalg.norm(points, axis=1, keepdims=True) for points in (real, fake)]
    for of, among, name in (
        (1, 0, "epsilon_precision"), (0, 1, "epsilon_recall"),
    ):  # fmt: skip
        distances, _ = NearestNeighbors(n_neighbors=3).fit(unit[among]).kneighbors(unit[of])
        assert values[name] == pytest.approx((distances.min(1) < 0.8).mean(), abs=1e-12)
    kth = epsilon_ball(real, fake, epsilon=0.8, k=3)
    assert all(kth[name] < 0.75 * values[name] for name in values)


def test_the_nearest_ball_by_hand():
    real = [[0.0], [1.0], [3.0], [9.0]]
    fake = [[1.5], [9.5], [20.0], [2.0]]
    # k = 2 with the centre itself: each ball reaches to the one nearest neighbour.
    # Real radii 1, 1, 2, 6: 1.5 and 2.0 are near 1.0, 9.5 near 9; 20 is 11 away from 9.
    # Fake radii 0.5, 7.5, 10.5, 0.5: 0 is 1.5 from 1.5; 1 is 0.5, on the boundary; 3 is 1 from 2.
    values = nearest_balls(real, fake, k=2)
    assert values == {"nearest_precision": 0.75, "nearest_recall": 0.5}


@pytest.mark.parametrize(("seed", "k"), [(0, 5), (1, 2), (2, 20)])
def test_the_nearest_ball_equals_its_definition(seed, k):
    real, fake = sets(seed, width=2)

    def share(of, among):
        # The centre is its own nearest neighbour here.
        own, _ = NearestNeighbors(n_neighbors=k).fit(among).kneighbors(among)
        distances, nearest = NearestNeighbors(n_neighbors=1).fit(among).kneighbors(of)
        return (distances[:, 0] <= own[nearest[:, 0], -1] + 1e-8).mean()

    values = nearest_balls(real, fake, k=k)
    assert values["nearest_precision"] == pytest.approx(share(fake, real), abs=1e-12)
    assert values["nearest_recall"] == pytest.approx(share(real, fake), abs=1e-12)
    assert 0 < min(values.values()) < 1


def test_the_nearest_ball_reaches_its_boundary():
    real = [[0.0], [0.5]]
    assert nearest_balls(real, [[1.0], [7.0]], k=2)["nearest_precision"] == 0.5
    with pytest.raises(ValueError, match="`k` must be at least 2, but got 1"):
        nearest_balls(real, real, k=1)
    with pytest.raises(ValueError, match="at least k = 3 rows, but got 2 and 2"):
        nearest_balls(real, real, k=3)
    with pytest.raises(ValueError, match="same number of columns, but got 1 and 2"):
        nearest_balls(real, np.zeros((2, 2)), k=2)


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
    same = epsilon_ball(real, real)
    assert same == {"epsilon_precision": 1.0, "epsilon_recall": 1.0}
    collapsed = epsilon_ball(real, np.ones((50, 4)), k=3)
    assert collapsed["epsilon_precision"] == 1.0
    assert collapsed["epsilon_recall"] < 0.1
    opposite = epsilon_ball(np.abs(real), -np.abs(real), k=3)
    assert max(opposite.values()) < 0.05
    swapped = epsilon_ball(np.ones((50, 4)), real, k=3)
    assert list(swapped.values()) == list(collapsed.values())[::-1]


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_compared_in_float32(dtype):
    real, fake = (torch.from_numpy(points).to(dtype) for points in sets(1))
    assert epsilon_ball(real, fake) == epsilon_ball(real.float(), fake.float())
    assert nearest_balls(real, fake) == nearest_balls(real.float(), fake.float())


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
    for function in (epsilon_ball, nearest_balls):
        with pytest.raises(ValueError, match="1 of 150 rows"):
            function(real, fake)


def told(values):
    return {f"{name}_kth": value for name, value in values.items()}


@pytest.mark.parametrize(
    ("metric", "function", "least"),
    [
        (EpsilonBall, epsilon_ball, 1),
        (EpsilonBallPlain, lambda real, fake: epsilon_ball(real, fake, normalise=False), 1),
        (EpsilonBallKth, lambda real, fake: told(epsilon_ball(real, fake, k=3)), 3),
        (NearestBalls, nearest_balls, 5),
    ],
)
def test_streaming_gives_the_numbers_of_the_function(metric, function, least):
    real, fake = (torch.from_numpy(points).float() for points in sets(2))
    metric = metric(MetricContext(sample_shape=(4,)))
    for part in real.split(33):
        metric.update_real(Batch(features=part))
    for part in fake.split(33):
        metric.update_fake(Batch(features=part))
    values = metric.compute()
    assert values == function(real, fake)
    assert set(values) == set(metric.directions)
    metric.reset_fake()
    if least > 1:
        metric.update_fake(Batch(features=fake[: least - 1]))
    words = f"at least {least} generated samples, but there are {least - 1}"
    with pytest.raises(UserError, match=words):
        metric.compute()


def test_each_definition_has_its_name_in_the_catalog():
    metrics = Catalogs().metrics
    assert metrics["epsilon_ball"] is EpsilonBall
    assert metrics["epsilon_ball_kth"] is EpsilonBallKth
    assert metrics["nearest_balls"] is NearestBalls
    names = [
        name for metric in (EpsilonBall, EpsilonBallKth, NearestBalls) for name in metric.directions
    ]
    assert len(set(names)) == len(names)  # one measurement may hold them all
