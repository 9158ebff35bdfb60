"""What two generators make of the same data: planted gains and losses, and none by chance."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from torch import Tensor

from diagan_plugin.report.coverage_change import Change, Comparison, Reach, reach_of

CENTRES = 8.0 * np.eye(5)
N = 300


def draw(rng: np.random.Generator, n: int, shares: list[float]) -> tuple[Tensor, np.ndarray]:
    """Samples of five clusters in five dimensions, and the cluster of each."""
    cluster = rng.choice(5, n, p=np.array(shares) / sum(shares))
    points = CENTRES[cluster] + rng.normal(size=(n, 5))
    return torch.tensor(points, dtype=torch.float32), cluster


def compared(seed: int, a: list[float], b: list[float]) -> tuple[Comparison, np.ndarray]:
    rng = np.random.default_rng(seed)
    real, cluster = draw(rng, N, [1, 1, 1, 1, 1])
    before, after = (reach_of(real, [draw(rng, N, s)[0] for _ in range(2)]) for s in (a, b))
    return Comparison(before, after), cluster


@pytest.mark.parametrize("seed", range(5))
def test_a_cluster_that_one_run_misses_is_recovered_by_the_other(seed: int) -> None:
    found, cluster = compared(seed, [1, 1, 1, 1, 0], [1, 1, 1, 1, 1])
    change = found.of(cluster == 4)
    assert change.missed[0] == change.size > 0
    assert change.recovered > 0.5 * change.size
    assert change.lost == 0
    assert change.is_clear(5)
    assert found.of().is_clear()
    assert set(cluster[found.recovered]) >= {4}
    assert np.isin(found.recovered, np.flatnonzero(cluster == 4)).mean() > 0.7


def test_the_other_way_round_it_is_lost() -> None:
    found, cluster = compared(0, [1, 1, 1, 1, 1], [1, 1, 1, 1, 0])
    change = found.of(cluster == 4)
    assert (change.recovered, change.missed[1]) == (0, change.size)
    assert change.lost > 0.5 * change.size
    assert change.is_clear(5)
    assert np.isin(found.lost, np.flatnonzero(cluster == 4)).mean() > 0.7


def test_equal_generators_are_seldom_told_apart() -> None:
    shares = [1, 1, 1, 1, 0.3]
    alarms = sum(compared(seed, shares, shares)[0].of().is_clear() for seed in range(20))
    assert alarms <= 1


def test_one_generator_is_not_told_from_itself_where_neighbours_are_shared() -> None:
    """In many dimensions a few generated samples reach most: a sample alone is no evidence."""
    alarms = alone = 0
    for seed in range(16):
        rng = torch.Generator().manual_seed(seed)
        real, *draws = (torch.randn(n, 32, generator=rng) for n in (1600, *[100] * 4))
        change = Comparison(reach_of(real, draws[:2]), reach_of(real, draws[2:])).of()
        assert change.together == 17.0
        alarms += change.is_clear()
        alone += dataclasses.replace(change, together=1.0).is_clear()
    assert alarms == 0
    assert alone >= 3  # what a sign test would claim


def test_a_sample_counts_only_where_both_draws_agree() -> None:
    made = np.array([True, False, False, True])
    missed = np.array([False, True, False, False])
    found = Comparison(Reach(made, missed), Reach(missed, made))
    assert found.recovered.tolist() == [1]
    assert found.lost.tolist() == [0, 3]
    assert found.of() == Change(4, (1, 2), 1, 2)
    assert found.of(np.array([True, True, True, False])) == Change(3, (1, 1), 1, 1)
    real = torch.tensor([[0.0], [10.0], [20.0]])
    near = torch.arange(8.0)[:, None]
    reach = reach_of(real, [near, torch.cat([near, near + 18.0])])
    assert reach.made.tolist() == [True, False, False]
    assert reach.missed.tolist() == [False, True, False]


@pytest.mark.parametrize(
    ("change", "tests", "clear"),
    [
        (Change(100, (0, 0), 0, 0), 1, False),
        (Change(100, (20, 0), 20, 0), 1, True),
        (Change(100, (0, 20), 0, 20), 1, True),
        (Change(100, (8, 0), 8, 0), 1, False),  # as a coin that falls alike eight times
        (Change(100, (11, 0), 11, 0), 1, True),
        (Change(100, (11, 0), 11, 0), 5, False),  # five sets are looked at
        (Change(100_000, (900, 0), 900, 0), 1, False),  # beyond chance, but it does not matter
        (Change(100, (40, 35), 40, 35), 1, False),
    ],
)
def test_what_is_clear(change: Change, tests: int, clear: bool) -> None:
    assert change.is_clear(tests) == clear
