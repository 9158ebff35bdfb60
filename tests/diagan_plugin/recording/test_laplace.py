from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy import optimize

import diagan_plugin
from diagan_plugin.recording.laplace import LaplaceLDRV, laplace_ldrv


def random_case(seed, n=200, f=7, dtype=torch.float64):
    rng = torch.Generator().manual_seed(seed)
    features = torch.randn(n, f, generator=rng, dtype=torch.float64)
    logits = 2 * torch.randn(n, generator=rng, dtype=torch.float64)
    return features.to(dtype), logits.to(dtype)


def direct(features, logits, prior_variance=1.0, bias=True):
    """Eqs 4 and 5 word for word, sample by sample, with an explicit inverse."""
    phi = np.asarray(features, np.float64)
    if bias:
        phi = np.hstack([phi, np.ones((len(phi), 1))])
    d = 1 / (1 + np.exp(-np.asarray(logits, np.float64)))
    matrix = np.eye(phi.shape[1]) / prior_variance
    for p, row in zip(d, phi, strict=True):
        matrix += p * (1 - p) * np.outer(row, row)
    s_n = np.linalg.inv(matrix)
    return np.array([row @ s_n @ row for row in phi])


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("prior_variance", [0.05, 1.0, 100.0])
def test_agrees_with_the_equations(seed, bias, prior_variance):
    features, logits = random_case(seed)
    got = laplace_ldrv(features, logits, prior_variance=prior_variance, bias=bias)
    expected = direct(features, logits, prior_variance, bias)
    np.testing.assert_allclose(got.numpy(), expected, rtol=1e-9)


@pytest.mark.parametrize("seed", range(3))
def test_is_the_posterior_variance_of_a_bayesian_logistic_regression(seed):
    # Independent of eq. 4: the Hessian of −log posterior, by finite differences, at its minimum.
    rng = np.random.default_rng(seed)
    n, f, s0 = 80, 3, 2.0
    features = rng.normal(size=(n, f))
    phi = np.hstack([features, np.ones((n, 1))])
    labels = (rng.random(n) < 1 / (1 + np.exp(-phi @ rng.normal(size=f + 1)))).astype(float)

    def negative_log_posterior(theta):
        logits = phi @ theta
        return np.sum(np.logaddexp(0, logits) - labels * logits) + theta @ theta / (2 * s0)

    theta = optimize.minimize(negative_log_posterior, np.zeros(f + 1), tol=1e-12).x
    h, eye = 1e-3, np.eye(f + 1)
    hessian = np.array(
        [
            [
                sum(
                    a * b * negative_log_posterior(theta + h * (a * eye[i] + b * eye[j]))
                    for a in (1, -1)
                    for b in (1, -1)
                )
                / (4 * h * h)
                for j in range(f + 1)
            ]
            for i in range(f + 1)
        ]
    )
    expected = np.einsum("ni,ij,nj->n", phi, np.linalg.inv(hessian), phi)
    got = laplace_ldrv(features, phi @ theta, prior_variance=s0)
    np.testing.assert_allclose(got, expected, rtol=1e-4)


@pytest.mark.parametrize("seed", range(5))
def test_features_away_from_the_majority_have_a_larger_variance(seed):
    # 5 % of the samples point to where no other does; all features have about the same length.
    rng = torch.Generator().manual_seed(seed)
    n, f = 1000, 12
    minor = torch.arange(n) >= 950
    features = 0.05 * torch.randn(n, f, generator=rng)
    features[~minor, 0] += 1
    features[minor, f - 1] += 1
    logits = 0.5 * torch.randn(n, generator=rng)
    for bias in (True, False):
        variance = laplace_ldrv(features, logits, bias=bias)
        assert variance[minor].min() > 3 * variance[~minor].median()
        assert variance[minor].mean() > 3 * variance[~minor].mean()


def test_samples_that_are_decided_do_not_count():
    # Eq. 6 sums over D(1−D) > 0: a direction that only decided samples point to stays wide.
    features = torch.eye(2).repeat_interleave(50, 0)
    logits = torch.tensor([0.0, 40.0]).repeat_interleave(50)
    undecided, decided = laplace_ldrv(features, logits, bias=False)[[0, -1]]
    assert undecided == pytest.approx(1 / (50 / 4 + 1))
    assert decided == pytest.approx(1.0)


@pytest.mark.parametrize("logit", [-3.0, 0.0, 5.0])
@pytest.mark.parametrize("prior_variance", [0.1, 10.0])
def test_a_single_sample_has_the_closed_form(logit, prior_variance):
    phi = torch.tensor([[3.0, 4.0]])
    squared = 25.0 + 1.0  # with the bias
    d = 1 / (1 + np.exp(-logit))
    expected = prior_variance * squared / (1 + d * (1 - d) * prior_variance * squared)
    got = laplace_ldrv(phi, torch.tensor([logit]), prior_variance=prior_variance)
    assert got.shape == (1,)
    assert got.item() == pytest.approx(expected, rel=1e-12)


def test_no_samples():
    features, logits = torch.empty(0, 4), torch.empty(0)
    got = laplace_ldrv(features, logits)
    assert got.shape == (0,)
    assert got.dtype == torch.float64
    # Nothing seen leaves the prior.
    estimate = LaplaceLDRV(4, prior_variance=2.0, bias=False)
    estimate.update(features, logits)
    assert estimate.variance(torch.eye(4)).tolist() == pytest.approx([2.0] * 4)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
@pytest.mark.parametrize("shape", [(-1,), (-1, 1)])
def test_dtypes_and_shapes(dtype, shape):
    features, logits = random_case(0, dtype=dtype)
    got = laplace_ldrv(features, logits.reshape(shape))
    assert got.dtype == torch.float64
    assert got.shape == (200,)
    # Accumulated in float64: only the input is rounded.
    np.testing.assert_allclose(got.numpy(), direct(features.double(), logits.double()), rtol=1e-9)


def test_arrays_give_an_array_and_are_left_alone(tmp_path):
    features, logits = (t.numpy() for t in random_case(1, dtype=torch.float32))
    path = tmp_path / "features.npy"
    np.save(path, features)
    mapped = np.load(path, mmap_mode="r")
    got = laplace_ldrv(mapped, logits, chunk_size=33)
    assert isinstance(got, np.ndarray)
    np.testing.assert_allclose(got, direct(features, logits), rtol=1e-9)


def test_gradients_are_not_tracked():
    features, logits = random_case(0)
    assert not laplace_ldrv(features.requires_grad_(), logits.requires_grad_()).requires_grad


@pytest.mark.parametrize("chunk_size", [1, 7, 200, 10_000])
def test_chunks_do_not_matter(chunk_size):
    features, logits = random_case(2)
    got = laplace_ldrv(features, logits, chunk_size=chunk_size)
    np.testing.assert_allclose(got, laplace_ldrv(features, logits), rtol=1e-12)


def test_streaming_and_merging_give_what_one_call_gives():
    features, logits = random_case(3)
    first, second = LaplaceLDRV(7, chunk_size=16), LaplaceLDRV(7)
    for rows in torch.randperm(120, generator=torch.Generator().manual_seed(0)).split(37):
        first.update(features[rows], logits[rows])
    second.update(features[120:], logits[120:])
    before = first.variance(features)  # a factor that must not outlive the merge
    first.merge(second)
    assert first.count == 200
    assert (first.variance(features) < before).all()  # data only ever narrows the posterior
    np.testing.assert_allclose(first.variance(features), laplace_ldrv(features, logits), rtol=1e-12)
    with pytest.raises(ValueError, match="prior_variance"):
        first.merge(LaplaceLDRV(7, prior_variance=3.0))


def test_the_precision_is_that_of_equation_4():
    features, logits = random_case(4)
    estimate = LaplaceLDRV(7, prior_variance=0.5, bias=False)
    assert torch.equal(estimate.precision, 2 * torch.eye(7, dtype=torch.float64))
    estimate.update(features, logits)
    d = torch.sigmoid(logits)
    expected = features.T @ torch.diag(d * (1 - d)) @ features + 2 * torch.eye(7)
    torch.testing.assert_close(estimate.precision, expected.double(), rtol=1e-12, atol=1e-12)


def test_probabilities_stand_for_logits():
    features, logits = random_case(5)
    np.testing.assert_allclose(
        laplace_ldrv(features, probabilities=torch.sigmoid(logits)),
        laplace_ldrv(features, logits),
        rtol=1e-9,
    )


@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_extreme_logits_keep_their_digits(sign):
    # At 45 the float64 sigmoid is exactly 1 on one side, and D(1−D) = e⁻⁴⁵ must survive.
    weight = np.exp(-45.0)
    got = laplace_ldrv(
        torch.tensor([[1e10]], dtype=torch.float64),
        torch.tensor([sign * 45.0], dtype=torch.float64),
        bias=False,
    )
    assert got.item() == pytest.approx(1e20 / (1 + weight * 1e20), rel=1e-9)
    assert torch.isfinite(laplace_ldrv(torch.ones(2, 3), torch.tensor([sign * 1e30, 0.0]))).all()


def test_large_features_are_not_taken_for_infinite():
    features = torch.full((3, 2), 3e38)
    with pytest.raises(ValueError, match="prior_variance"):  # singular, but not "not finite"
        laplace_ldrv(features, torch.zeros(3))
    doubled = torch.full((2, 1), 1.5e308, dtype=torch.float64)  # the sum overflows, no value does
    with pytest.raises(ValueError, match="prior_variance"):
        laplace_ldrv(doubled, torch.zeros(2))


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -float("inf")])
def test_non_finite_values_are_named_and_leave_no_trace(bad):
    features, logits = random_case(6, n=20)
    estimate = LaplaceLDRV(7, chunk_size=4)
    estimate.update(features, logits)
    before = estimate.precision
    broken = features.clone()
    broken[13, 2] = bad
    with pytest.raises(ValueError, match=r"`features` must be finite.* sample 13"):
        estimate.update(broken, logits)
    with pytest.raises(ValueError, match=r"`features` must be finite.* sample 13"):
        estimate.variance(broken)
    broken = logits.clone()
    broken[5] = bad
    with pytest.raises(ValueError, match=r"`logits` must be finite.* sample 5"):
        estimate.update(features, broken)
    with pytest.raises(ValueError, match=r"`probabilities` must lie in .* sample 5"):
        estimate.update(features, probabilities=torch.sigmoid(logits).index_fill(
            0, torch.tensor([5]), bad
        ))  # fmt: skip
    assert torch.equal(estimate.precision, before)
    assert estimate.count == 20


@pytest.mark.parametrize(
    ("features", "logits", "error", "match"),
    [
        (torch.zeros(3), torch.zeros(3), ValueError, r"`features` must be \[N, F\]"),
        (torch.zeros(3, 2, 2), torch.zeros(3), ValueError, r"`features` must be \[N, F\]"),
        (torch.zeros(3, 0), torch.zeros(3), ValueError, "num_features"),
        (torch.zeros(3, 2), torch.zeros(2), ValueError, r"`logits` must be \[3\]"),
        (torch.zeros(3, 2), torch.zeros(3, 2), ValueError, r"`logits` must be \[3\]"),
        (torch.zeros(3, 2), torch.zeros(1, 3), ValueError, r"`logits` must be \[3\]"),
        (torch.zeros(3, 2), None, TypeError, "exactly one"),
        (torch.zeros(3, 2, dtype=torch.int64), torch.zeros(3), TypeError, "`features`"),
        (torch.zeros(3, 2), torch.zeros(3, dtype=torch.int64), TypeError, "`logits`"),
        (np.zeros((3, 2), bool), np.zeros(3), TypeError, "`features`"),
    ],
)
def test_bad_input(features, logits, error, match):
    with pytest.raises(error, match=match):
        laplace_ldrv(features, logits)


@pytest.mark.parametrize("prior_variance", [0.0, -1.0, float("nan"), float("inf")])
def test_bad_prior(prior_variance):
    with pytest.raises(ValueError, match="`prior_variance` must be finite and above 0"):
        laplace_ldrv(torch.zeros(3, 2), torch.zeros(3), prior_variance=prior_variance)


def test_other_bad_arguments():
    with pytest.raises(ValueError, match="chunk_size"):
        LaplaceLDRV(2, chunk_size=0)
    with pytest.raises(ValueError, match="mps"):
        LaplaceLDRV(2, device="mps")
    with pytest.raises(ValueError, match=r"must be \[B, 2\]"):
        LaplaceLDRV(2).variance(torch.zeros(1, 3))
    with pytest.raises(TypeError, match="exactly one"):
        LaplaceLDRV(2).update(torch.zeros(1, 2), torch.zeros(1), probabilities=torch.zeros(1))


def test_is_public():
    assert diagan_plugin.laplace_ldrv is laplace_ldrv
    assert diagan_plugin.LaplaceLDRV is LaplaceLDRV
