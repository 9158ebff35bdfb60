from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy.stats import entropy
from torch import Tensor

from gan_registry.errors import UserError
from gan_registry.metrics.base import Batch, MetricContext
from gan_registry.metrics.inception_score import EntropySums, InceptionScore

CONTEXT = MetricContext(sample_shape=(3,))


def probabilities(count: int, classes: int, seed: int = 0, sharpness: float = 2.0) -> Tensor:
    rng = torch.Generator().manual_seed(seed)
    logits = torch.randn(count, classes, generator=rng, dtype=torch.float64) * sharpness
    return logits.softmax(dim=1)


def by_definition(rows: Tensor) -> float:
    array = rows.double().numpy()
    return float(np.exp(np.mean([entropy(row, array.mean(axis=0)) for row in array])))


def one_hot(labels: Tensor, classes: int) -> Tensor:
    return torch.nn.functional.one_hot(labels, classes).float()


def inception_score(probabilities, splits: int = 10):
    sums = EntropySums(splits)
    sums.update(probabilities)
    return sums.scores()


@pytest.mark.parametrize("splits", [1, 3, 10])
def test_is_the_exponential_of_the_mean_divergence_from_the_marginal(splits):
    rows = probabilities(95, 7)
    each = [by_definition(rows[i::splits]) for i in range(splits)]
    found = inception_score(rows, splits)
    assert found.mean == pytest.approx(np.mean(each), rel=1e-10)
    assert found.std == pytest.approx(np.std(each), rel=1e-8, abs=1e-12)
    assert found.whole == pytest.approx(by_definition(rows), rel=1e-10)
    if splits > 1:
        assert found.mean < found.whole  # a split's marginal lies closer to its samples


def test_lies_between_one_and_the_number_of_classes():
    constant = torch.tensor([0.7, 0.2, 0.1]).expand(100, 3)
    assert inception_score(constant) == pytest.approx((1.0, 0.0, 1.0), abs=1e-12)
    collapsed = one_hot(torch.full((100,), 2), 4)
    assert inception_score(collapsed) == pytest.approx((1.0, 0.0, 1.0), abs=1e-12)
    # In the order of the classes: each split still holds all of them.
    uniform = one_hot(torch.arange(4).repeat_interleave(100), 4)
    assert inception_score(uniform) == pytest.approx((4.0, 0.0, 4.0), abs=1e-12)
    # Half of the classes are left out; the unsure ones count less.
    half = one_hot(torch.arange(400) // 10 % 2, 4)
    assert inception_score(half).whole == pytest.approx(2.0, abs=1e-12)
    for seed in range(5):
        for sharpness in (0.01, 1.0, 100.0):
            found = inception_score(probabilities(60, 4, seed, sharpness))
            assert 1.0 <= found.mean <= found.whole <= 4.0


def test_unequal_classes_by_hand():
    labels = torch.tensor([0] * 30 + [1] * 10)
    expected = math.exp(-(0.75 * math.log(0.75) + 0.25 * math.log(0.25)))
    assert inception_score(one_hot(labels, 2), splits=1).mean == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_takes_any_precision_and_arrays(dtype):
    exact = probabilities(100, 10)
    rounded = exact.to(dtype)
    tolerance = 50 * torch.finfo(dtype).eps
    assert inception_score(rounded) == pytest.approx(inception_score(exact), rel=tolerance)
    assert inception_score(rounded).mean >= 1.0
    as_array = inception_score(exact.numpy())
    assert as_array == inception_score(exact)
    sure = one_hot(torch.arange(100) % 10, 10).to(dtype)
    assert inception_score(sure).whole == pytest.approx(10.0, rel=1e-12)


def test_streaming_gives_the_same_however_the_stream_is_cut():
    rows = probabilities(233, 6).float()
    expected = inception_score(rows)
    for size in (1, 10, 97, 233):
        metric = InceptionScore(CONTEXT)
        for i in range(2):  # what was forgotten leaves no trace
            metric.reset_fake()
            metric.update_real(Batch(probabilities=rows[:5]))
            for batch in rows[100 * (1 - i) :].split(size):
                with torch.inference_mode(bool(i)):
                    metric.update_fake(Batch(probabilities=batch))
            metric.update_fake(Batch(probabilities=rows[:0]))
        found = metric.compute()
        assert set(found) == set(InceptionScore.directions)
        assert found["inception_score"] == pytest.approx(expected.mean, rel=1e-10)
        assert found["inception_score_std"] == pytest.approx(expected.std, rel=1e-8)
        assert found["inception_score_whole"] == pytest.approx(expected.whole, rel=1e-10)


def test_agrees_with_torch_fidelity():
    peer = pytest.importorskip("torch_fidelity.metric_isc")
    rng = torch.Generator().manual_seed(0)
    logits = 3.0 * torch.randn(500, 20, generator=rng, dtype=torch.float64)
    # Its splits are consecutive; put in that order, ours are the same.
    order = torch.cat([torch.arange(i, 500, 10) for i in range(10)])
    theirs = peer.isc_features_to_metric(logits[order], splits=10, shuffle=False)
    ours = inception_score(logits.softmax(dim=1))
    assert ours.mean == pytest.approx(theirs[peer.KEY_METRIC_ISC_MEAN], rel=1e-9)
    assert ours.std == pytest.approx(theirs[peer.KEY_METRIC_ISC_STD], rel=1e-7)
    whole = peer.isc_features_to_metric(logits, splits=1, shuffle=True)
    assert ours.whole == pytest.approx(whole[peer.KEY_METRIC_ISC_MEAN], rel=1e-9)


def test_names_what_is_missing_or_no_probability():
    rows = probabilities(40, 5)
    for count in (0, 1, 9):
        with pytest.raises(UserError, match=f"at least 10 generated samples, but got {count}"):
            inception_score(rows[:count])
    assert inception_score(rows[:1], splits=1) == pytest.approx((1.0, 0.0, 1.0))
    broken = rows.clone()
    broken[3, 1], broken[7] = math.nan, math.inf
    with pytest.raises(UserError, match="2 of 40 generated samples"):
        inception_score(broken)
    for wrong in (rows.log(), 2.0 * rows, torch.zeros(40, 5)):
        with pytest.raises(UserError, match=r"for 40 of 40 generated samples; .*not logits"):
            inception_score(wrong)
    negative = torch.tensor([1.5, -0.5]).expand(40, 2)
    with pytest.raises(UserError, match="negative"):
        inception_score(negative)
    for wrong in (rows[0], rows[None], rows[:, :0]):
        with pytest.raises(ValueError, match="must"):
            inception_score(wrong)
    with pytest.raises(ValueError, match="splits"):
        inception_score(rows, splits=0)
    metric = InceptionScore(CONTEXT)
    metric.update_fake(Batch(probabilities=rows))
    with pytest.raises(ValueError, match="5 columns, but got 4"):
        metric.update_fake(Batch(probabilities=rows[:, :4]))
