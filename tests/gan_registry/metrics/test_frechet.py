from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
import pytest
import scipy.linalg
import torch
from torch import Tensor

from gan_registry.errors import UserError
from gan_registry.metrics.base import Batch, MetricContext
from gan_registry.metrics.feature_moments import Moments, covariance_factor
from gan_registry.metrics.frechet import Fid, between, fid, frechet_distance, trace_of_root
from gan_registry.metrics.partial_fid import PartialFid


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def features(count: int, dimensions: int, seed: int, decades: float = 2.0) -> Tensor:
    """Correlated, with variances over many orders of magnitude, as those of networks are."""
    mix = normal(dimensions, dimensions, seed=99) / dimensions**0.5
    scale = torch.logspace(0.0, -decades / 2.0, dimensions, dtype=torch.float64)
    return (normal(count, dimensions, seed=seed) * scale) @ mix + 0.1 * seed


def moments_of(rows: Tensor) -> tuple[np.ndarray, np.ndarray]:
    array = rows.double().numpy()
    return array.mean(axis=0), np.atleast_2d(np.cov(array, rowvar=False))


def matrix_root_formula(mean1, covariance1, mean2, covariance2) -> float:
    root = scipy.linalg.sqrtm(covariance1 @ covariance2)
    traces = np.trace(covariance1) + np.trace(covariance2) - 2.0 * np.trace(root).real
    return float(np.sum((mean1 - mean2) ** 2) + traces)


def nuclear_norm_formula(first: Tensor, second: Tensor) -> float:
    """From centred samples, which loses nothing where covariances are singular."""
    a, b = (
        (rows - rows.mean(axis=0)) / math.sqrt(len(rows) - 1)
        for rows in (first.double().numpy(), second.double().numpy())
    )
    root = np.linalg.svd(a @ b.T, compute_uv=False).sum()
    distance = np.sum((first.mean(0).numpy() - second.mean(0).numpy()) ** 2)
    return float(distance + np.sum(a**2) + np.sum(b**2) - 2.0 * root)


def filled(context: MetricContext, real: Tensor, fake: Tensor, size: int = 37) -> Fid:
    metric = Fid(context)
    for batch in real.split(size):
        metric.update_real(Batch(features=batch))
    for batch in fake.split(size):
        metric.update_fake(Batch(features=batch))
    return metric


CONTEXT = MetricContext(sample_shape=(4,), group_names=("major", "minor", "absent"))


def test_diagonal_covariances_have_a_closed_form():
    a, b = np.array([4.0, 1.0, 0.25, 0.0]), np.array([1.0, 9.0, 0.0, 0.0])
    shift = np.array([1.0, -2.0, 0.0, 0.5])
    expected = np.sum((np.sqrt(a) - np.sqrt(b)) ** 2) + np.sum(shift**2)
    found = frechet_distance(np.zeros(4), np.diag(a), shift, np.diag(b))
    assert found == pytest.approx(expected, rel=1e-12)
    # In one dimension it is (μ₁ − μ₂)² + (σ₁ − σ₂)².
    assert frechet_distance([1.0], [[4.0]], [4.0], [[25.0]]) == pytest.approx(18.0, rel=1e-12)


def test_a_shift_counts_with_its_square_and_nothing_else():
    real = features(200, 12, seed=1)
    shift = normal(12, seed=2)
    assert fid(real, real + shift) == pytest.approx(float(shift.square().sum()), rel=1e-9)


def test_a_scale_counts_with_the_square_of_the_difference_of_deviations():
    real = features(200, 12, seed=1)
    real = real - real.mean(dim=0)
    trace = float(torch.cov(real.T).trace())
    assert fid(real, 3.0 * real) == pytest.approx(4.0 * trace, rel=1e-9)
    assert fid(5.0 * real, 15.0 * real) == pytest.approx(25.0 * fid(real, 3.0 * real), rel=1e-9)


@pytest.mark.parametrize(("count", "dimensions"), [(300, 40), (30, 40), (2, 40), (41, 40), (40, 1)])
def test_identical_sets_have_distance_zero(count, dimensions):
    real = features(count, dimensions, seed=1)
    trace = float(real.var(dim=0).sum())
    assert 0.0 <= fid(real, real.clone()) < 1e-8 * trace
    mean, covariance = moments_of(real)
    assert 0.0 <= frechet_distance(mean, covariance, mean, covariance) < 1e-8 * trace


@pytest.mark.parametrize(("first", "second"), [(300, 200), (25, 300), (300, 25), (25, 30), (2, 3)])
def test_swapped_arguments_agree_and_a_turned_space_changes_nothing(first, second):
    real, fake = features(first, 40, seed=1), features(second, 40, seed=2)
    found = fid(real, fake)
    assert found > 0.1
    assert fid(fake, real) == pytest.approx(found, rel=1e-9)
    turn = torch.linalg.qr(normal(40, 40, seed=3))[0]
    assert fid(real @ turn, fake @ turn) == pytest.approx(found, rel=1e-8)


@pytest.mark.parametrize("decades", [1.0, 4.0, 8.0])
def test_agrees_with_the_matrix_root(decades):
    real, fake = features(600, 64, 1, decades), features(500, 64, 2, decades)
    given = (*moments_of(real), *moments_of(fake))
    expected = matrix_root_formula(*given)
    assert frechet_distance(*given) == pytest.approx(expected, rel=1e-6)
    assert fid(real, fake) == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize(
    ("first", "second"), [(20, 30), (20, 500), (500, 20), (63, 63), (64, 64), (65, 65), (2, 2)]
)
def test_singular_covariances_are_as_good(first, second):
    real, fake = features(first, 64, seed=1), features(second, 64, seed=2)
    expected = nuclear_norm_formula(real, fake)
    assert fid(real, fake) == pytest.approx(expected, rel=1e-8)
    given = (*moments_of(real), *moments_of(fake))
    assert frechet_distance(*given) == pytest.approx(expected, rel=1e-6)


def test_features_that_never_change_are_left_out():
    real, fake = features(300, 20, seed=1), features(300, 20, seed=2)
    constant = torch.full((300, 5), 7.0, dtype=torch.float64)
    found = fid(torch.cat([real, constant], 1), torch.cat([fake, constant + 1.0], 1))
    assert found == pytest.approx(fid(real, fake) + 5.0, rel=1e-9)


def test_covariances_of_rank_one_and_zero_by_hand():
    u, v = normal(30, seed=1).numpy(), normal(30, seed=2).numpy()
    zero = np.zeros(30)
    expected = u @ u + v @ v - 2.0 * abs(u @ v)
    found = frechet_distance(zero, np.outer(u, u), zero, np.outer(v, v))
    assert found == pytest.approx(expected, rel=1e-7)
    # A generator that makes one sample only.
    nothing = np.zeros((30, 30))
    assert frechet_distance(zero, np.outer(u, u), v, nothing) == pytest.approx(u @ u + v @ v)
    assert frechet_distance(zero, nothing, zero, nothing) == 0.0
    # Covariances without a direction in common.
    left, right = np.diag([1.0, 2.0, 0.0, 0.0]), np.diag([0.0, 0.0, 3.0, 4.0])
    assert frechet_distance(zero[:4], left, zero[:4], right) == pytest.approx(10.0, rel=1e-12)


@pytest.mark.parametrize("floor", [0.0, 1e-14, 1e-10, 1e-6])
def test_many_tiny_singular_values_do_not_add_up_to_an_error(floor):
    size = 200
    values = torch.full((size,), floor, dtype=torch.float64)
    values[:3] = torch.tensor([3.0, 2.0, 1.0])
    left, right = (torch.linalg.qr(normal(size, size, seed=seed))[0] for seed in (1, 2))
    found = trace_of_root((left * values) @ right, torch.eye(size, dtype=torch.float64))
    assert found == pytest.approx(float(values.sum()), rel=1e-10)


@pytest.mark.parametrize("decades", [2.0, 8.0, 16.0, 24.0])
def test_the_factor_of_a_covariance_gives_it_back(decades):
    covariance = torch.cov(features(300, 30, 1, decades).T)
    factor = covariance_factor(covariance)
    assert factor.shape[0] <= 30
    assert float((factor.T @ factor - covariance).abs().max()) < 1e-13 * float(covariance.max())


def test_nothing_depends_on_the_matrix_root_or_on_its_argument_disp(monkeypatch):
    """As of scipy 1.18, which no longer takes `disp`."""
    real, fake = features(300, 30, seed=1), features(20, 30, seed=2)
    given = (*moments_of(real), *moments_of(fake))
    before = frechet_distance(*given), fid(real, fake)
    root = scipy.linalg.sqrtm

    def newer(matrix, **keywords):
        if keywords:
            raise TypeError(f"sqrtm() got an unexpected keyword argument {next(iter(keywords))!r}")
        return root(matrix)

    monkeypatch.setattr(scipy.linalg, "sqrtm", newer)
    assert (frechet_distance(*given), fid(real, fake)) == before
    assert filled(CONTEXT, real, real + 1).compute()["fid"] == pytest.approx(30.0)
    monkeypatch.setattr(scipy.linalg, "sqrtm", None)
    assert (frechet_distance(*given), fid(real, fake)) == before


@pytest.mark.parametrize("decades", [1.0, 5.0])
@pytest.mark.parametrize(
    "peer", ["pytorch_fid.fid_score:calculate_frechet_distance", "cleanfid.fid:frechet_distance"]
)
@pytest.mark.filterwarnings("ignore")  # theirs, of what they import
def test_agrees_with_pytorch_fid_and_clean_fid(peer, decades, monkeypatch):
    module, _, name = peer.partition(":")
    peer = getattr(pytest.importorskip(module), name)
    real, fake = features(700, 96, 1, decades), features(500, 96, 2, decades)
    given = (*moments_of(real), *moments_of(fake))
    root = scipy.linalg.sqrtm
    # So that it works with any scipy: it takes the root and throws the estimated error away.
    monkeypatch.setattr(scipy.linalg, "sqrtm", lambda matrix, disp=True: (root(matrix), 0.0))
    expected = peer(*given)
    assert frechet_distance(*given) == pytest.approx(expected, rel=1e-6, abs=1e-6)
    assert fid(real, fake) == pytest.approx(expected, rel=1e-6, abs=1e-6)

    def newer(matrix):
        return root(matrix)

    monkeypatch.setattr(scipy.linalg, "sqrtm", newer)
    with pytest.raises(TypeError, match="disp"):
        peer(*given)
    assert frechet_distance(*given) == pytest.approx(expected, rel=1e-6, abs=1e-6)


def test_agrees_with_torch_fidelity():
    peer = pytest.importorskip("torch_fidelity.metric_fid")
    real, fake = features(700, 96, seed=1), features(500, 96, seed=2)
    statistics = [peer.fid_features_to_statistics(rows) for rows in (real, fake)]
    expected = peer.fid_statistics_to_metric(*statistics, False)[peer.KEY_METRIC_FID]
    assert fid(real, fake) == pytest.approx(expected, rel=1e-6)


def test_two_samples_of_one_distribution_are_closer_the_larger_they_are():
    means = []
    for count in (100, 200, 400, 800):
        pairs = [(normal(count, 10, seed=s), normal(count, 10, seed=100 + s)) for s in range(10)]
        means.append(np.mean([fid(*pair) for pair in pairs]))
    ratios = [larger / smaller for larger, smaller in pairwise(means)]
    assert all(1.6 < ratio < 2.5 for ratio in ratios), ratios  # as 1/n


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_takes_any_precision_and_arrays(dtype):
    real, fake = (features(200, 16, seed=seed).to(dtype) for seed in (1, 2))
    expected = fid(real.double(), fake.double())
    assert fid(real, fake) == expected
    assert fid(real.float().numpy(), fake.float().numpy()[::-1]) == pytest.approx(expected)
    assert filled(CONTEXT, real, fake).compute()["fid"] == pytest.approx(expected, rel=1e-9)
    mean, covariance = (torch.from_numpy(value).to(dtype) for value in moments_of(real))
    assert frechet_distance(mean, covariance, mean, covariance) < 1e-2 * float(covariance.max())


@pytest.mark.parametrize("dimensions", [3, 150])
def test_streaming_gives_the_same_however_the_stream_is_cut(dimensions):
    real, fake = features(2500, dimensions, seed=1), features(140, dimensions, seed=2)
    expected = fid(real, fake)
    for size in (1, 64, 1500):
        context = MetricContext(sample_shape=(dimensions,))
        if dimensions > 140:
            with pytest.warns(UserWarning, match="140 generated samples in 150 dimensions"):
                found = filled(context, real, fake, size).compute()["fid"]
        else:
            found = filled(context, real, fake, size).compute()["fid"]
        assert found == pytest.approx(expected, rel=1e-9)


def test_moments_equal_numpys_also_far_from_zero():
    rows = normal(5000, 6, seed=1) * torch.tensor([1.0, 2.0, 0.5, 1.0, 1.0, 3.0]) + 1e7
    moments = Moments()
    for batch in rows.split(333):
        moments.update(batch)
    np.testing.assert_allclose(moments.mean, rows.numpy().mean(axis=0), rtol=1e-14)
    expected = np.cov((rows - 1e7).numpy(), rowvar=False)
    np.testing.assert_allclose(moments.covariance, expected, rtol=1e-7, atol=1e-8)
    assert moments.total_variance == pytest.approx(np.trace(expected), rel=1e-7)
    assert moments.count == 5000


def test_moments_may_be_read_between_updates_and_do_not_alias_what_they_were_given():
    rows = normal(3000, 4, seed=1)
    moments, buffer = Moments(), torch.empty(300, 4, dtype=torch.float64)
    for i, batch in enumerate(rows.split(300)):
        buffer.copy_(batch)
        moments.update(buffer)
        moments.update(buffer[:0])
        buffer.fill_(math.nan)
        seen = rows[: 300 * (i + 1)]
        torch.testing.assert_close(moments.covariance, torch.cov(seen.T))
        torch.testing.assert_close(moments.factor.T @ moments.factor, torch.cov(seen.T))
        torch.testing.assert_close(moments.mean, seen.mean(dim=0))
    assert moments.bad == 0


def test_works_in_inference_mode_and_on_after_it():
    rows = normal(4000, 3, seed=1)
    moments = Moments()
    with torch.inference_mode():
        moments.update(rows[:1500] + 0.0)
        assert moments.factor.shape == (3, 3)
    for batch in rows[1500:].split(700):
        moments.update(batch)
    torch.testing.assert_close(moments.covariance, torch.cov(rows.T))


def test_fewer_samples_than_dimensions_make_a_small_problem():
    moments = Moments()
    moments.update(features(5, 500, seed=1))
    assert moments.factor.shape == (4, 500)
    other = Moments()
    other.update(features(7, 500, seed=2))
    expected = nuclear_norm_formula(features(5, 500, seed=1), features(7, 500, seed=2))
    assert between(moments, other) == pytest.approx(expected, rel=1e-9)


def test_the_real_moments_stay_when_generated_samples_are_forgotten(recwarn):
    real, fake, better = (features(200, 8, seed=seed) for seed in (1, 3, 2))
    metric = filled(CONTEXT, real, fake)
    assert metric.compute()["fid"] == pytest.approx(fid(real, fake), rel=1e-9)
    metric.reset_fake()
    with pytest.raises(UserError, match="at least 2 generated samples, but got 0"):
        metric.compute()
    metric.update_fake(Batch(features=better))
    assert metric.compute() == {"fid": pytest.approx(fid(real, better), rel=1e-9)}
    assert set(metric.compute()) == set(Fid.directions)
    assert not recwarn.list


def test_names_what_is_missing_or_not_finite():
    real = features(20, 4, seed=1)
    for count in (0, 1):
        with pytest.raises(UserError, match=f"fid needs at least 2 generated .* got {count}"):
            fid(real, real[:count])
        with pytest.raises(UserError, match=f"fid needs at least 2 real .* got {count}"):
            fid(real[:count], real)
    broken = real.clone()
    broken[3, 1], broken[7] = math.nan, math.inf
    with pytest.raises(UserError, match="2 of 20 generated samples"):
        fid(real, broken)
    with pytest.raises(UserError, match="2 of 20 real samples"):
        filled(CONTEXT, broken, real, size=6).compute()
    with pytest.raises(ValueError, match="equally many columns"):
        fid(real, real[:, :3])
    for wrong in (real[0], real[None], real[:, :0]):
        with pytest.raises(ValueError, match="must"):
            fid(wrong, wrong)
    with pytest.raises(TypeError, match="real numbers"):
        fid(real > 0, real)


def test_refuses_moments_that_are_none():
    mean, covariance = (torch.from_numpy(value) for value in moments_of(features(50, 4, seed=1)))
    skewed, negative, broken = covariance.clone(), covariance - 9 * torch.eye(4), mean.clone()
    skewed[0, 1] += 1.0
    broken[2] = math.nan
    for arguments, message in (
        ((mean, skewed), "`covariance1` must be symmetric"),
        ((mean, negative), "positive semidefinite"),
        ((broken, covariance), "`mean1` must be finite"),
        ((mean, covariance[:3]), "`covariance1` must be square"),
        ((mean[:3], covariance), r"must be \[3\] and \[3, 3\], but got \[3\] and \[4, 4\]"),
        ((mean[None], covariance), "`mean1` must have 1 dimensions"),
        ((mean[:0], covariance[:0, :0]), "at least 1"),
    ):
        with pytest.raises(ValueError, match=message):
            frechet_distance(*arguments, *arguments)


def test_partial_fid_compares_each_group_with_what_was_made_of_it_and_with_everything():
    real = torch.cat([normal(300, 4, seed=1), normal(40, 4, seed=2) + 5.0])
    groups = torch.cat([torch.zeros(300), torch.ones(40)]).long()
    fake = torch.cat([normal(280, 4, seed=3), normal(12, 4, seed=4) + 6.0, normal(8, 4, seed=5)])
    told = torch.cat([torch.zeros(280), torch.ones(12), -torch.ones(8)]).long()
    metric = PartialFid(CONTEXT)
    order = torch.randperm(340, generator=torch.Generator().manual_seed(0))
    for rows in order.split(50):
        metric.update_real(Batch(features=real[rows], groups=groups[rows]))

    def compute(limit: int) -> dict[str, dict[str, float]]:
        metric.reset_fake()
        metric.update_fake(Batch(features=fake[:limit], groups=told[:limit]))
        found = metric.compute()
        assert set(found) == {"groups"}
        assert set(found["groups"]) == {"major", "minor", "absent"}
        for values in found["groups"].values():
            assert set(values) == set(PartialFid.directions)
        return found["groups"]

    found = compute(300)
    major, minor = real[:300], real[300:]
    assert found["major"]["partial_fid"] == pytest.approx(fid(major, fake[:280]), rel=1e-9)
    assert found["minor"]["partial_fid"] == pytest.approx(fid(minor, fake[280:292]), rel=1e-9)
    assert found["minor"]["partial_fid_to_all"] == pytest.approx(fid(minor, fake), rel=1e-9)
    assert found["minor"]["partial_fid"] > 10 * found["major"]["partial_fid"]
    assert found["absent"] == {"partial_fid": None, "partial_fid_to_all": None}
    # A generator that makes one of the minority only, and one that makes none.
    for limit in (281, 280):
        found = compute(limit)
        assert found["minor"]["partial_fid"] is None
        assert found["minor"]["partial_fid_to_all"] > 50.0
    with pytest.raises(UserError, match="at least 2 generated"):
        compute(1)
    fake[290] = math.nan
    with pytest.raises(UserError, match="1 of 300 generated"):
        compute(300)
