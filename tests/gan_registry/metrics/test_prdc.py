from __future__ import annotations

import contextlib
import io
import math
import warnings

import numpy as np
import pytest
import torch
from scipy.spatial.distance import cdist

from gan_registry.errors import UserError
from gan_registry.metrics import balls, neighbours
from gan_registry.metrics.balls import ball_counts
from gan_registry.metrics.base import Batch, MetricContext
from gan_registry.metrics.distances import Frame, as_points, lower_bounds, squared_distances
from gan_registry.metrics.neighbours import squared_radii
from gan_registry.metrics.prdc import (
    PRDC,
    RESULTS,
    Coverage,
    Density,
    Precision,
    Recall,
    prdc,
    prdc_by_sample,
)

CLASSES = {"precision": Precision, "recall": Recall, "density": Density, "coverage": Coverage}


def brute_force(real, fake, k=3, k_density=5):
    """All four by their definitions, from whole matrices in float64."""
    real, fake = np.asarray(real, dtype=np.float64), np.asarray(fake, dtype=np.float64)

    def radii(points, k):
        distances = cdist(points, points, "sqeuclidean")
        np.fill_diagonal(distances, np.inf)
        return np.sort(distances, 1)[:, k - 1]

    distances = cdist(real, fake, "sqeuclidean")
    in_real = distances < radii(real, k_density)[:, None]
    return {
        "precision": (distances < radii(real, k)[:, None]).any(0).mean(),
        "recall": (distances < radii(fake, k)).any(1).mean(),
        "density": in_real.sum(0).mean() / k_density,
        "coverage": in_real.any(1).mean(),
    }


def package(real, fake, k=3, k_density=5):
    compute = pytest.importorskip("prdc").compute_prdc
    with contextlib.redirect_stdout(io.StringIO()):
        first, second = compute(real, fake, nearest_k=k), compute(real, fake, nearest_k=k_density)
    return {name: (first if name in ("precision", "recall") else second)[name] for name in RESULTS}


def integers(seed):
    rng = np.random.default_rng(seed)
    width, levels = rng.choice([1, 2, 5, 40]), rng.choice([2, 4, 200])
    offset = rng.choice([0, 100_000])
    sizes = rng.integers(8, 120, 2)
    return tuple(rng.integers(0, levels, (size, width)) + offset for size in sizes)


def normal(seed, size=150, width=6):
    rng = np.random.default_rng(seed)
    return rng.standard_normal((size, width)), 0.8 * rng.standard_normal((size - 30, width)) + 0.1


def clusters(seed):
    """Tight groups of points far apart: float32 products decide nothing within a group."""
    real, fake = normal(seed, width=2)
    far = np.random.default_rng(seed + 1000).integers(0, 3, (len(real), 1))
    return 1e-3 * real + 50 * far, 1e-3 * fake + 50 * far[: len(fake)]


def outliers(seed):
    real, fake = normal(seed)
    real[:2] *= 1e6
    return real, fake


FLOATS = [normal, clusters, outliers]


@pytest.mark.parametrize("reference", [brute_force, package])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("seed", range(12))
def test_integers_agree_exactly_ties_included(seed, dtype, reference):
    real, fake = (points.astype(dtype) for points in integers(seed))
    assert prdc(real, fake) == pytest.approx(reference(real, fake), rel=1e-12)


@pytest.mark.parametrize("reference", [brute_force, package])
def test_integers_too_large_for_float32_products_agree_exactly(reference):
    rng = np.random.default_rng(0)
    real, fake = (50_001.0 * rng.integers(0, 3, (90, 8)) for _ in range(2))
    assert prdc(real, fake) == pytest.approx(reference(real, fake), rel=1e-12)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("make", FLOATS)
@pytest.mark.parametrize("seed", range(4))
def test_floats_agree_with_brute_force(make, seed, dtype):
    real, fake = (points.astype(dtype) for points in make(seed))
    assert prdc(real, fake) == pytest.approx(brute_force(real, fake), abs=1e-12)


@pytest.mark.parametrize("seed", range(4))
def test_floats_agree_with_the_package(seed):
    real, fake = (points.astype(np.float32) for points in normal(seed, width=64))
    assert prdc(real, fake) == pytest.approx(package(real, fake), abs=1e-12)


@pytest.mark.parametrize("seed", range(2))
@pytest.mark.filterwarnings("ignore")  # of what it imports
def test_precision_and_recall_agree_with_torch_fidelity(seed):
    peer = pytest.importorskip("torch_fidelity.metric_prc").calculate_precision_recall_full
    real, fake = (torch.from_numpy(points) for points in normal(seed))
    precision, recall = peer(fake, real, neighborhood=3)
    found = prdc(real, fake)
    assert (found["precision"], found["recall"]) == pytest.approx((precision, recall), abs=1e-6)
    assert 0 < precision < 1


@pytest.mark.parametrize("make", [integers, normal, clusters])
def test_tiles_and_reduced_products_do_not_matter(make, monkeypatch):
    real, fake = make(3)
    expected = prdc(real, fake)
    with monkeypatch.context() as patch:
        for module in (neighbours, balls):
            patch.setattr(module, "_TILE", 7 * len(real))
            patch.setattr(module, "_SHEET", 2 * len(real))
        patch.setattr("gan_registry.metrics.distances._COORDINATES", 11)
        assert prdc(real, fake) == expected
    with torch.autocast("cpu", torch.bfloat16):
        assert prdc(real, fake) == expected
    monkeypatch.setattr(torch, "get_float32_matmul_precision", lambda: "high")
    assert not Frame(as_points(real)).quick
    assert prdc(real, fake) == expected


@pytest.mark.parametrize("scale", [1e-30, 1e-12, 1e15, 1e30])
def test_the_scale_of_the_features_does_not_matter(scale):
    real, fake = (torch.from_numpy(points).float() for points in normal(0))
    power = 2.0 ** round(math.log2(scale))
    assert prdc(real * power, fake * power) == prdc(real, fake)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("width", [1, 3, 512])
def test_bounds_hold_and_are_close(dtype, width):
    rng = torch.Generator().manual_seed(width)
    points = 3 + torch.randn(60, width, generator=rng)
    frame = Frame(points)
    view = frame.view(points, dtype)
    lower = lower_bounds(view, view).double()
    upper = lower + view.slack[:, None] + view.slack
    true = frame.scaled(torch.from_numpy(cdist(points.double(), points.double(), "sqeuclidean")))
    assert (lower <= true).all()
    assert (true <= upper).all()
    typical = true.mean()
    assert (upper - lower).max() < (1e-3 if dtype == torch.float32 else 1e-11) * typical


def test_bounds_of_small_integers_are_the_distances():
    points = torch.randint(-20, 20, (50, 30), generator=torch.Generator().manual_seed(0)).float()
    frame = Frame(points)
    view = frame.view(points)
    expected = torch.from_numpy(cdist(points, points, "sqeuclidean"))
    assert torch.equal(lower_bounds(view, view).double(), expected)
    assert not view.slack.any()


def test_a_distance_is_the_same_wherever_it_is_computed():
    rng = torch.Generator().manual_seed(0)
    x, y = torch.randn(2, 40, 77, generator=rng)
    rows = torch.arange(40)
    together = squared_distances(x, rows, y, rows)
    for row in range(40):
        alone = squared_distances(y, rows[row : row + 1], x, rows[row : row + 1])
        assert torch.equal(alone, together[row : row + 1])
    expected = ((x.double() - y.double()) ** 2).sum(1)
    torch.testing.assert_close(together, expected, rtol=1e-14, atol=0)


@pytest.mark.parametrize("make", [integers, *FLOATS])
def test_radii_equal_sorted_distances(make):
    points = make(1)[0]
    distances = np.sort(cdist(points, points, "sqeuclidean"), 1)  # itself comes first
    radii = squared_radii(points, [1, 3, 7]).numpy()
    np.testing.assert_allclose(radii, distances[:, [1, 3, 7]], rtol=1e-12)


def test_radii_of_as_few_points_as_possible():
    radii = squared_radii([[0.0], [1.0], [3.0], [7.0]], [3, 1])
    assert radii.tolist() == [[49.0, 1.0], [36.0, 1.0], [16.0, 4.0], [49.0, 16.0]]


def test_counts_by_hand():
    x, y = as_points([[0.0], [10.0]]), as_points([[0.5], [2.0], [9.0]])
    x_radii = torch.tensor([[4.0, 4.1], [0.0, 1.1]], dtype=torch.float64)
    y_radii = torch.tensor([[0.25], [4.0], [1.1]], dtype=torch.float64)
    counts = ball_counts(x, y, x_radii, y_radii)
    assert counts.y_in_x.tolist() == [[1, 1], [0, 1], [0, 1]]  # at the radius is outside
    assert counts.x_holds.tolist() == [[1, 2], [0, 1]]
    assert counts.x_in_y.tolist() == [[0], [1]]


@pytest.mark.parametrize("seed", range(3))
def test_identical_sets_are_perfect(seed):
    real = normal(seed)[0].astype(np.float32)
    assert prdc(real, real) == {"precision": 1.0, "recall": 1.0, "density": 1.0, "coverage": 1.0}


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("spread", [0.0, 1e-6, 1e-2])
def test_a_collapsed_generator_is_precise_and_has_no_recall(seed, spread):
    real, noise = normal(seed, size=400)
    values = prdc(real.astype(np.float32), (spread * noise).astype(np.float32))
    assert values["precision"] > 0.95
    assert values["recall"] < 0.02
    assert values["coverage"] < 0.5


def test_disjoint_sets_share_nothing():
    real, fake = normal(0)
    assert prdc(real, fake + 1e3) == dict.fromkeys(RESULTS, 0.0)


@pytest.mark.parametrize("seed", range(3))
def test_swapped_arguments_swap_precision_and_recall(seed):
    real, fake = normal(seed)
    values, swapped = prdc(real, fake), prdc(fake, real)
    assert values["precision"] != values["recall"]
    assert (values["precision"], values["recall"]) == (swapped["recall"], swapped["precision"])


def test_more_copies_than_neighbours_leave_balls_of_radius_0():
    real = normal(0)[0]
    copies = np.repeat(real[:20], 6, axis=0)
    values = prdc(copies, real)  # every ball of a real sample is empty
    assert (values["precision"], values["density"], values["coverage"]) == (0, 0, 0)
    assert values["recall"] == pytest.approx(brute_force(copies, real)["recall"])


def test_averages_are_those_of_the_samples():
    real, fake = normal(2)
    samples = prdc_by_sample(real, fake)
    assert {name: len(values) for name, values in samples.items()} == {
        "precision": len(fake), "recall": len(real), "density": len(fake), "coverage": len(real),
    }  # fmt: skip
    values = prdc(real, fake)
    assert values["precision"] == pytest.approx(float(samples["precision"].double().mean()))
    assert values["density"] == pytest.approx(float(samples["density"].double().mean()) / 5)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_compared_in_float32(dtype):
    real, fake = (torch.from_numpy(points).to(dtype) for points in normal(1))
    assert prdc(real, fake) == prdc(real.float(), fake.float())


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device")
@pytest.mark.parametrize("make", [integers, *FLOATS])
def test_cuda_agrees_exactly(make):
    real, fake = (torch.from_numpy(points) for points in make(2))
    assert prdc(real.cuda(), fake.cuda()) == prdc(real, fake)


@pytest.mark.parametrize(
    ("real", "fake", "message"),
    [
        (np.zeros((5, 2)), np.zeros((9, 2)), "k \\+ 1 = 6 rows, but got 5"),
        (np.zeros((9, 2)), np.zeros((3, 2)), "`fake` must have at least k \\+ 1 = 4 rows"),
        (np.zeros((9, 2)), np.zeros((0, 2)), "at least one row"),
        (np.zeros((9, 2)), np.zeros((9, 3)), "same number of columns, but got 2 and 3"),
        (np.zeros((9, 0)), np.zeros((9, 0)), "must be a matrix"),
        (np.zeros(9), np.zeros((9, 1)), "must be a matrix"),
        (np.full((9, 2), np.nan), np.zeros((9, 2)), "`real` must be finite, but got 9 of 9"),
        (np.zeros((9, 2)), np.full((9, 2), np.inf), "`fake` must be finite, but got 9 of 9"),
    ],
)
def test_bad_arguments_are_named(real, fake, message):
    with pytest.raises(ValueError, match=message):
        prdc(real, fake)


def test_unknown_results_and_ks_are_refused():
    with pytest.raises(ValueError, match="recal"):
        prdc(*normal(0), results=["recal"])
    with pytest.raises(ValueError, match="at least 1"):
        prdc(*normal(0), k=0)


def context(progress=None, **options):
    if progress is not None:
        options["progress"] = progress
    return MetricContext(sample_shape=(2,), **options)


def feed(metric, real, fake, size=37):
    for part in torch.from_numpy(real).float().split(size):
        metric.update_real(Batch(features=part))
    for part in torch.from_numpy(fake).float().split(size):
        metric.update_fake(Batch(features=part))
    return metric


def test_streaming_in_any_batches_gives_the_numbers_of_the_function():
    real, fake = (points.astype(np.float32) for points in normal(5))
    for size in (1, 37, 1000):
        assert feed(PRDC(context()), real, fake, size).compute() == prdc(real, fake)


@pytest.mark.parametrize("name", RESULTS)
def test_one_result_alone_is_the_same(name):
    metric = CLASSES[name](context())
    assert list(metric.directions) == [name]
    values = feed(metric, *normal(6)).compute()
    assert values == {name: feed(PRDC(context()), *normal(6)).compute()[name]}


def test_generated_samples_can_be_replaced_and_real_ones_added():
    real, fake = normal(7)
    metric = feed(PRDC(context()), real[:100], fake[:60])
    first = metric.compute()
    metric.reset_fake()
    with pytest.raises(UserError, match="at least 4 generated samples, but there are 0"):
        metric.compute()
    feed(metric, real[:0], fake[60:])
    second = metric.compute()
    assert second != first
    assert second == feed(PRDC(context()), real[:100], fake[60:]).compute()
    feed(metric, real[100:], fake[:0])
    assert metric.compute() == feed(PRDC(context()), real, fake[60:]).compute()


@pytest.mark.parametrize(
    ("metric", "real", "fake"), [(PRDC, 6, 4), (Precision, 4, 1), (Recall, 1, 4), (Coverage, 6, 1)]
)
def test_the_minimum_is_enough_and_one_less_is_refused(metric, real, fake):
    points = np.arange(12.0).reshape(6, 2)
    assert feed(metric(context()), points[:real], points[:fake]).compute()
    for sizes, message in (
        ((real - 1, fake), f"at least {real} real samples, but there are {real - 1}"),
        ((real, fake - 1), f"at least {fake} generated samples, but there are {fake - 1}"),
    ):
        with pytest.raises(UserError, match=message):
            feed(metric(context()), points[: sizes[0]], points[: sizes[1]]).compute()


def test_samples_with_invalid_features_are_counted():
    real, fake = normal(8)
    fake[[3, 50]] = np.nan
    fake[7, 0] = np.inf
    with pytest.raises(UserError, match="3 of 120 generated samples"):
        feed(PRDC(context()), real, fake).compute()


def test_few_samples_and_copies_in_the_data_are_told():
    real, fake = normal(8)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        feed(PRDC(context()), real, fake).compute()
    with pytest.warns(UserWarning, match="real and 5 generated samples .* say little"):
        feed(PRDC(context()), real, fake[:5]).compute()
    copies = np.repeat(real[:50], 8, 0)  # the generator makes all of them, and more
    with pytest.warns(UserWarning, match="400 of 400 real samples have 3 exact copies or more"):
        found = feed(PRDC(context()), copies, real).compute()
    assert (found["precision"], found["coverage"]) == (0.0, 0.0)


def test_features_of_two_extractors_are_refused():
    metric = feed(PRDC(context()), np.zeros((9, 4)), np.zeros((0, 4)))
    with pytest.raises(UserError, match="have 5 numbers, those of real samples seen before 4"):
        metric.update_fake(Batch(features=torch.zeros(9, 5)))
    with pytest.raises(ValueError, match="features \\[B, D\\], but got None"):
        metric.update_fake(Batch())


@pytest.mark.parametrize("precision", ["highest", "high"])
def test_progress_rises_to_the_total(precision, monkeypatch):
    monkeypatch.setattr(torch, "get_float32_matmul_precision", lambda: precision)
    monkeypatch.setattr(neighbours, "_TILE", 2000)
    monkeypatch.setattr(balls, "_TILE", 2000)
    monkeypatch.setattr(neighbours, "_SHEET", 2000)
    monkeypatch.setattr(balls, "_SHEET", 2000)
    seen = []
    prdc(*normal(0), progress=lambda what, done, total: seen.append((what, done, total)))
    assert len(seen) > 10
    done = [each[1] for each in seen]
    assert done == sorted(done)
    assert {each[::2] for each in seen} == {("comparing features", done[-1])}
