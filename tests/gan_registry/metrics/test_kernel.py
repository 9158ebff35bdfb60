from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from sklearn.metrics.pairwise import polynomial_kernel
from torch import Tensor

from gan_registry.errors import UserError
from gan_registry.metrics.base import Batch, MetricContext
from gan_registry.metrics.kernel import Kid, kernel_distance

CONTEXT = MetricContext(sample_shape=(8,), seed=3)


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def by_definition(x: Tensor, y: Tensor, **options: float) -> float:
    """The unbiased estimate of MMD², by scikit-learn's kernel."""
    x, y = x.double().numpy(), y.double().numpy()
    options = {"degree": 3, "gamma": None, "coef0": 1} | options

    def within(rows: np.ndarray) -> float:
        kernel = polynomial_kernel(rows, **options)
        return (kernel.sum() - np.trace(kernel)) / (len(rows) * (len(rows) - 1))

    return float(within(x) + within(y) - 2.0 * polynomial_kernel(x, y, **options).mean())


@pytest.mark.parametrize("options", [{}, {"degree": 2, "gamma": 0.5, "coef0": 0.0}, {"degree": 1}])
def test_one_subset_of_everything_is_the_unbiased_estimate(options):
    x, y = normal(60, 8, seed=1), normal(60, 8, seed=2) + 0.3
    mean, std = kernel_distance(x, y, **options)
    assert mean == pytest.approx(by_definition(x, y, **options), rel=1e-6)
    exact = kernel_distance(x.double(), y.double(), **options).mean
    assert exact == pytest.approx(by_definition(x, y, **options), rel=1e-10)
    assert std == 0.0  # all subsets would be alike


def test_products_in_float32_lose_nothing_that_matters():
    """Errors of the products average out over the million of a published subset's kernel."""
    mixing = normal(32, 2048, seed=3) / 6
    x = (normal(1000, 32, seed=1) @ mixing + 0.3).relu()
    y = (normal(1000, 32, seed=2) @ (1.3 * mixing) + 0.3).relu()
    mean = kernel_distance(x, y).mean
    assert mean > 0.01
    assert mean == pytest.approx(kernel_distance(x.double(), y.double()).mean, rel=1e-8)


def test_smaller_subsets_average_to_the_same():
    x, y = normal(400, 8, seed=1), normal(300, 8, seed=2) + 0.3
    rows = [by_definition(x[i : i + 50], y[i : i + 50]) for i in range(0, 300, 50)]
    found = kernel_distance(x, y, subset_size=50, num_subsets=200)
    assert found.std == pytest.approx(np.std(rows), rel=0.6)
    whole = kernel_distance(x, y)  # 300 of 400 against all 300
    assert found.mean == pytest.approx(whole.mean, abs=4 * found.std / math.sqrt(200))
    assert 0.0 < whole.std < found.std / 2


def test_a_degree_of_one_measures_the_distance_of_the_means():
    """With p = 1 and γ = 1 MMD² estimates ‖E[x] − E[y]‖²."""
    shift = torch.tensor([1.0, -2.0, 0.5, 0.0])
    found = kernel_distance(normal(4000, 4), normal(4000, 4, seed=1) + shift, degree=1, gamma=1.0)
    assert found.mean == pytest.approx(5.25, abs=0.25)


def test_identical_distributions_are_at_zero_on_average_and_others_are_not():
    """Unbiased: as often below as above 0, with few samples, too."""
    values = [kernel_distance(normal(30, 8, seed=s), normal(30, 8, seed=s + 500)).mean
              for s in range(80)]  # fmt: skip
    assert abs(np.mean(values)) < 4 * np.std(values) / math.sqrt(len(values))
    assert min(values) < 0.0 < max(values)
    for change in (lambda x: x + 0.5, lambda x: 2.0 * x, lambda x: 0.0 * x - 1.0):
        other = change(normal(200, 8, seed=2))
        assert kernel_distance(normal(200, 8, seed=1), other).mean > 8 * np.std(values)


def test_swapped_arguments_agree_where_nothing_is_drawn():
    x, y = normal(100, 8, seed=1), normal(100, 8, seed=2) * 1.5
    assert kernel_distance(x, y).mean == pytest.approx(kernel_distance(y, x).mean, rel=1e-6)


def test_draws_follow_from_the_seed_alone():
    x, y = normal(200, 8, seed=1), normal(200, 8, seed=2)
    state, legacy = torch.get_rng_state(), np.random.get_state()[1].copy()  # noqa: NPY002
    first, again, other = (
        kernel_distance(x, y, subset_size=20, num_subsets=5, seed=seed) for seed in (0, 0, 1)
    )
    assert first == again != other
    assert torch.equal(torch.get_rng_state(), state)
    assert (np.random.get_state()[1] == legacy).all()  # noqa: NPY002


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_takes_any_precision_and_arrays(dtype):
    x, y = normal(50, 8, seed=1).to(dtype), (normal(50, 8, seed=2) + 1.0).to(dtype)
    expected = by_definition(x, y)
    assert kernel_distance(x, y).mean == pytest.approx(expected, rel=1e-6)
    arrays = x.double().numpy(), y.double().numpy()
    assert kernel_distance(*arrays).mean == pytest.approx(expected, rel=1e-6)


def test_agrees_with_torch_fidelity():
    peer = pytest.importorskip("torch_fidelity.metric_kid")
    x, y = normal(300, 64, seed=1).double(), normal(400, 64, seed=2).double() * 1.1
    options = {"kid_subsets": 1, "kid_kernel": "poly", "kid_kernel_poly_degree": 3}
    options |= {"kid_kernel_poly_gamma": None, "kid_kernel_poly_coef0": 1, "rng_seed": 0}
    theirs = peer.kid_features_to_metric(x, y[:300], kid_subset_size=300, verbose=False, **options)[
        peer.KEY_METRIC_KID_MEAN
    ]
    assert kernel_distance(x, y[:300]).mean == pytest.approx(theirs, rel=1e-9)
    # Other draws, the same distribution.
    options["kid_subsets"] = 300
    theirs = peer.kid_features_to_metric(x, y, kid_subset_size=100, verbose=False, **options)
    ours = kernel_distance(x, y, subset_size=100, num_subsets=300)
    mean, std = theirs[peer.KEY_METRIC_KID_MEAN], theirs[peer.KEY_METRIC_KID_STD]
    assert ours.mean == pytest.approx(mean, abs=5 * std / math.sqrt(300))
    assert ours.std == pytest.approx(std, rel=0.3)


@pytest.mark.filterwarnings("ignore")  # of what it imports
def test_agrees_with_clean_fid():
    peer = pytest.importorskip("cleanfid.fid").kernel_distance
    x, y = normal(300, 64, seed=1).double(), normal(300, 64, seed=2).double() * 1.1
    # One subset of all samples: only their order is drawn.
    theirs = peer(x.numpy(), y.numpy(), num_subsets=1, max_subset_size=300)
    assert kernel_distance(x, y).mean == pytest.approx(theirs, rel=1e-9)


def test_streaming_gives_what_the_function_gives_and_keeps_the_real_ones():
    class Small(Kid):
        subset_size = 40
        num_subsets = 10

    told = []
    context = MetricContext((8,), seed=3, progress=lambda what, done, total: told.append(done))
    real, fake, better = normal(200, 8, seed=1), normal(150, 8, seed=2) + 1, normal(90, 8, seed=3)
    found = []
    metric = Small(context)
    for batch in real.split(33):
        metric.update_real(Batch(features=batch))
    for rows, size in ((fake, 11), (better, 64), (fake, 150)):
        metric.reset_fake()
        for batch in rows.split(size):
            metric.update_fake(Batch(features=batch))
        found.append(metric.compute())
        expected = kernel_distance(real, rows, subset_size=40, num_subsets=10, seed=3)
        assert found[-1] == {"kid": expected.mean, "kid_std": expected.std}
    assert found[0] == found[2]
    assert found[1]["kid"] < found[0]["kid"] / 10
    assert set(found[0]) == set(Kid.directions)
    assert told[:11] == list(range(11))


def test_names_what_is_missing_or_not_finite():
    rows = normal(20, 4)
    for count in (0, 1):
        with pytest.raises(UserError, match=f"kid needs at least 2 generated .* got {count}"):
            kernel_distance(rows, rows[:count])
    broken = rows.clone()
    broken[3, 1], broken[7] = math.nan, math.inf
    with pytest.raises(UserError, match="2 of 20 real samples"):
        kernel_distance(broken, rows)
    metric = Kid(CONTEXT)
    with pytest.raises(UserError, match="at least 2 real"):
        metric.compute()
    metric.update_real(Batch(features=rows))
    metric.update_fake(Batch(features=broken))
    with pytest.raises(UserError, match="2 of 20 generated samples"):
        metric.compute()
    for wrong in (rows[0], rows[:, :3], rows[None]):
        with pytest.raises(ValueError, match="must"):
            kernel_distance(rows, wrong)
    for options in ({"degree": 0}, {"subset_size": 1}, {"num_subsets": 0}):
        with pytest.raises(ValueError, match="must be at least"):
            kernel_distance(rows, rows, **options)
    assert kernel_distance(rows[:2], rows[2:4]).mean == pytest.approx(
        by_definition(rows[:2], rows[2:4]), rel=1e-6
    )
