from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.spatial.distance import cdist

from gan_registry.errors import UserError
from gan_registry.metrics.base import Batch, MetricContext
from gan_registry.metrics.group_prdc import (
    GroupPrecision,
    PartialRecall,
    shares,
)
from gan_registry.metrics.prdc import prdc, prdc_by_sample

NAMES = ("red", "green", "blue")


def two_groups(seed, size=300, share=0.2, distance=20.0):
    """Real samples of two groups far apart, with their groups; the minority is 1."""
    rng = np.random.default_rng(seed)
    groups = (rng.random(size) < share).astype(np.int64)
    return rng.standard_normal((size, 3)) + distance * groups[:, None], groups


def brute_force(centres, points, k=3):
    """Which points lie in the k-th neighbour ball of some centre."""
    radii = np.sort(cdist(centres, centres), 1)[:, k]
    return (cdist(points, centres) < radii).any(1)


def partial_recall(real, fake, groups):
    return shares(prdc_by_sample(real, fake, results=["recall"])["recall"], groups)


def group_precision(real, fake, groups):
    return shares(prdc_by_sample(real, fake, results=["precision"])["precision"], groups)


@pytest.mark.parametrize("seed", range(3))
def test_a_generator_that_misses_the_minority_has_no_partial_recall_there(seed):
    real, groups = two_groups(seed)
    fake = np.random.default_rng(seed + 100).standard_normal((300, 3))
    recall = partial_recall(real, fake, groups)
    assert recall[0] > 0.8
    assert recall[1] < 0.05
    assert partial_recall(real, two_groups(seed + 50)[0], groups)[1] > 0.5


@pytest.mark.parametrize("seed", range(3))
def test_a_badly_drawn_minority_has_no_precision(seed):
    real, _ = two_groups(seed)
    fake, drawn = two_groups(seed + 50)
    fake[drawn == 1] += 10 * np.random.default_rng(seed).standard_normal((drawn.sum(), 3))
    precision = group_precision(real, fake, drawn)
    assert precision[0] > 0.8
    assert precision[1] < 0.2


@pytest.mark.parametrize("seed", range(3))
def test_both_equal_their_definitions_and_average_to_the_whole(seed):
    (real, groups), (fake, drawn) = two_groups(seed, distance=2), two_groups(seed + 9, distance=1)
    recall, precision = partial_recall(real, fake, groups), group_precision(real, fake, drawn)
    for group in (0, 1):
        assert recall[group] == brute_force(fake, real)[groups == group].mean()
        assert precision[group] == brute_force(real, fake)[drawn == group].mean()
    whole = prdc(real, fake)
    mean = sum(recall[group] * (groups == group).mean() for group in (0, 1))
    assert mean == pytest.approx(whole["recall"])
    mean = sum(precision[group] * (drawn == group).mean() for group in (0, 1))
    assert mean == pytest.approx(whole["precision"])


def test_samples_of_no_group_make_the_manifold_but_count_for_no_group():
    real, groups = two_groups(0, distance=1)
    fake, _ = two_groups(1, distance=1)
    unknown = groups.copy()
    unknown[::2] = -1
    inside = brute_force(fake, real)
    recall = partial_recall(real, fake, unknown)
    assert recall == {group: inside[unknown == group].mean() for group in (0, 1)}
    assert group_precision(real, fake, np.full(len(fake), -1)) == {}


def test_groups_must_fit_the_samples():
    real, groups = two_groups(0)
    with pytest.raises(ValueError, match=r"shape \[300\], but got \[299\]"):
        partial_recall(real, real, groups[1:])
    with pytest.raises(ValueError, match="`fake` must have at least k"):
        partial_recall(real, real[:3], groups)


def context(names=NAMES):
    return MetricContext(sample_shape=(3,), group_names=names)


def batch(features, groups, rows):
    return Batch(
        features=torch.from_numpy(features[rows]).float(), groups=torch.from_numpy(groups[rows])
    )


def feed(metric, real, groups, fake, drawn):
    for start in range(0, len(real), 64):
        metric.update_real(batch(real, groups, slice(start, start + 64)))
    for start in range(0, len(fake), 64):
        metric.update_fake(batch(fake, drawn, slice(start, start + 64)))
    return metric


def test_streaming_names_the_groups_that_have_samples():
    (real, groups), (fake, drawn) = two_groups(3, distance=2), two_groups(4, distance=2)
    real, fake = real.astype(np.float32), fake.astype(np.float32)
    drawn[drawn == 1] = -1

    metric = feed(PartialRecall(context()), real, groups, fake, drawn)
    expected = partial_recall(real, fake, groups)
    assert metric.compute() == {
        "groups": {
            "red": {"partial_recall": expected[0]}, "green": {"partial_recall": expected[1]},
        }
    }  # fmt: skip
    metric.reset_fake()
    feed(metric, real[:0], groups[:0], real, groups)
    values = metric.compute()["groups"]
    assert values == {"red": {"partial_recall": 1.0}, "green": {"partial_recall": 1.0}}

    metric = feed(GroupPrecision(context()), real, groups, fake, drawn)
    value = group_precision(real, fake, drawn)[0]
    assert metric.compute() == {"groups": {"red": {"precision": value}}}
    metric.reset_fake()
    feed(metric, real[:0], groups[:0], real, groups)
    assert metric.compute() == {"groups": {"red": {"precision": 1}, "green": {"precision": 1}}}


@pytest.mark.parametrize("metric", [PartialRecall, GroupPrecision])
def test_data_without_groups_is_refused(metric):
    with pytest.raises(UserError, match="no groups"):
        metric(context(()))
    assert metric.needs == {"features", "groups"}


def test_too_few_samples_are_refused():
    real, groups = two_groups(0)
    metric = feed(PartialRecall(context()), real, groups, real[:3], groups[:3])
    with pytest.raises(UserError, match="partial recall takes at least 4 generated samples"):
        metric.compute()
    metric = feed(GroupPrecision(context()), real[:3], groups[:3], real, groups)
    with pytest.raises(UserError, match="precision by group takes at least 4 real samples"):
        metric.compute()


def test_a_batch_without_groups_is_an_error():
    with pytest.raises(ValueError, match="groups"):
        PartialRecall(context()).update_real(Batch(features=torch.zeros(2, 3)))
    PartialRecall(context()).update_fake(Batch(features=torch.zeros(2, 3)))
