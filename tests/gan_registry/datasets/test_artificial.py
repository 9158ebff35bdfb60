from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from scipy.spatial.distance import cdist
from scipy.stats import chi2, kstest, norm

from gan_registry.catalogs import Catalog
from gan_registry.datasets import BUILTIN
from gan_registry.datasets.gaussian_mixtures import project
from gan_registry.errors import UserError

NAMES = ("gaussian_mixture", "random_network")


def make(name: str, **options: Any) -> Any:
    catalog = Catalog("dataset")
    for known, path in BUILTIN.items():
        catalog.register(known, path)
    config = SimpleNamespace(DATA=SimpleNamespace(name=name, img_size=32, options=options))
    return catalog[name](config, None)


def everything(dataset: Any) -> np.ndarray:
    return dataset.__getitems__(np.arange(len(dataset)))[0].double().numpy()


def check_moments(x: np.ndarray, mean: np.ndarray, covariance: np.ndarray) -> None:
    """Every entry of the empirical moments is within 6 of its own standard errors."""
    count = len(x)
    error = np.sqrt(np.diag(covariance) / count)
    assert (np.abs(x.mean(0) - mean) < 6 * error).all()
    centred = x - mean
    products = np.einsum("ni,nj->nij", centred, centred)
    error = products.std(axis=0) / np.sqrt(count)
    assert (np.abs(products.mean(0) - covariance) < 6 * error).all()


# --- what both do --------------------------------------------------------------------------------


@pytest.mark.parametrize("name", NAMES)
def test_samples_do_not_depend_on_what_else_is_asked_for(name):
    dataset = make(name, dim=16, num_samples=1000)
    x, y = dataset.__getitems__([7, 999, 0, 7])
    assert (x.shape, x.dtype, y.dtype) == ((4, 16), torch.float32, torch.int64)
    assert torch.equal(x[0], x[3])
    assert torch.equal(dataset[999][0], x[1])
    assert torch.equal(dataset.__getitems__(torch.tensor([0]))[0][0], x[2])
    assert dataset.__getitems__([])[0].shape == (0, 16)
    for index in (1000, -1):
        with pytest.raises(IndexError):
            dataset.__getitems__([index])
    assert (dataset.kind, dataset.value_range) == ("points", None)
    # More samples leave the noise of those there are.
    more = make(name, dim=16, num_samples=2000)
    assert (more.noise(np.arange(5)) == dataset.noise(np.arange(5))).all()


@pytest.mark.parametrize("name", NAMES)
def test_a_huge_dataset_takes_no_memory_for_its_samples(name):
    dataset = make(name, num_samples=2_000_000)  # 8 GB of floats
    assert (len(dataset), dataset.sample_shape) == (2_000_000, (1024,))
    assert torch.isfinite(dataset[1_999_999][0]).all()
    assert not torch.equal(dataset[0][0], dataset[1][0])


@pytest.mark.parametrize(
    ("name", "changes"),
    [
        ("gaussian_mixture", [{"std": 0.5}, {"components": 2}, {"num_samples": 99}, {"seed": 1}]),
        ("random_network", [{"layers": 3}, {"num_samples": 99}, {"seed": 1}, {"dim": 9}]),
    ],
)
def test_the_fingerprint_sees_every_option(name, changes):
    base = {"dim": 8, "num_samples": 100}
    digests = [make(name, **{**base, **change}).fingerprint() for change in [{}, *changes]]
    assert len(set(digests)) == len(digests)
    assert make(name, **base).fingerprint() == digests[0]


@pytest.mark.parametrize(
    ("name", "digest"),
    [("gaussian_mixture", "7c10124dd4761b08"), ("random_network", "56ba30d869275eb6")],
)
def test_the_data_are_the_same_on_every_machine(name, digest):
    """If this fails, data have changed and stored diagnoses no longer match: say so in the log."""
    assert make(name, dim=32, num_samples=1000).fingerprint()[:16] == digest


@pytest.mark.parametrize("name", NAMES)
def test_noise_is_standard_normal_and_independent(name):
    noise = make(name, dim=50, num_samples=2000, seed=5).noise(np.arange(2000))
    assert kstest(noise.ravel(), "norm").pvalue > 1e-3
    assert abs(np.corrcoef(noise[:-1].ravel(), noise[1:].ravel())[0, 1]) < 6 / np.sqrt(1e5)
    # Other seeds have other noise.
    other = make(name, dim=50, num_samples=2000, seed=6).noise(np.arange(2000))
    assert abs(np.corrcoef(noise.ravel(), other.ravel())[0, 1]) < 6 / np.sqrt(1e5)


# --- mixtures of Gaussians -----------------------------------------------------------------------


def test_the_mixture_is_the_papers():
    """Equal weights, centres e_i, covariance 0.09·1 in 1,024 dimensions."""
    dataset = make("gaussian_mixture")
    assert (len(dataset), dataset.sample_shape, dataset.num_classes) == (50_000, (1024,), 3)
    assert np.bincount(dataset.groups).tolist() == [16667, 16667, 16666]
    x, y = dataset.__getitems__(np.arange(600))
    x = x.double().numpy()
    assert (y.numpy() == dataset.groups[:600]).all()
    offsets = x - np.eye(1024)[y.numpy()]
    assert kstest(offsets.ravel() / 0.3, "norm").pvalue > 1e-3
    squares = (offsets**2).sum(1) / 0.09
    assert kstest(squares, chi2(1024).cdf).pvalue > 1e-3


@pytest.mark.parametrize("seed", [0, 1])
def test_moments_of_the_mixture_and_of_each_component(seed):
    dataset = make("gaussian_mixture", dim=6, components=4, num_samples=20_000, seed=seed)
    x = everything(dataset)
    check_moments(x, *dataset.moments())
    for component in range(4):
        members = x[dataset.groups == component]
        check_moments(members, np.eye(6)[component], 0.09 * np.eye(6))


def test_closed_moments_of_two_points():
    # With next to no noise and two components in the plane: ±(½, −½) about (½, ½).
    mean, covariance = make("gaussian_mixture", dim=2, components=2, std=1e-9).moments()
    np.testing.assert_allclose(mean, [0.5, 0.5])
    np.testing.assert_allclose(covariance, [[0.25, -0.25], [-0.25, 0.25]], atol=1e-12)


def test_classification_has_the_bayes_error():
    dataset = make("gaussian_mixture", components=2, dim=64, num_samples=20_000)
    found = dataset.classify(everything(dataset))
    inside = found >= 0
    # Two centres √2 apart: nearer to the wrong one with probability Φ(−(√2/2)/0.3).
    error = norm.cdf(-np.sqrt(0.5) / 0.3)
    wrong = (found != dataset.groups)[inside].mean()
    assert abs(wrong - error) < 6 * np.sqrt(error / 20_000)
    assert (~inside).sum() < 6.7 + 6 * np.sqrt(6.7)  # 20,000·exp(−8)


def test_classification_is_by_the_nearest_centre_within_a_radius():
    dataset = make("gaussian_mixture", components=5, dim=8)
    x = np.random.default_rng(0).normal(0, 0.45, (2000, 8))
    distances = cdist(x, np.eye(8)[:5])
    radius = 0.3 * np.sqrt(chi2.ppf(1 - np.exp(-8), 8))
    expected = np.where(distances.min(1) <= radius, distances.argmin(1), -1)
    found = dataset.classify(torch.from_numpy(x))
    assert (found == expected).all()
    assert 50 < (found < 0).sum() < 1950
    plane = make("gaussian_mixture", components=1, dim=2, std=0.05)
    assert plane.classify([[1 + 0.199, 0], [1 + 0.201, 0], [1, -0.199]]).tolist() == [0, -1, 0]
    assert plane.classify(np.zeros((0, 2))).shape == (0,)
    bad = dataset.classify(np.array([[np.nan] * 8, [np.inf] * 8, [-np.inf, *[np.inf] * 7]]))
    assert bad.tolist() == [-1, -1, -1]
    with pytest.raises(ValueError, match=r"`x` must be \[n, 8\], but got \[8\]"):
        dataset.classify(x[0])


def test_mixture_metrics_of_a_collapsed_generator():
    dataset = make("gaussian_mixture", num_samples=3000)
    real = dataset.evaluate_generated(everything(make("gaussian_mixture", num_samples=300)))
    assert real["modes_covered"] == 3.0
    assert real["high_quality"] > 0.98
    collapsed = dataset.evaluate_generated(np.repeat(np.eye(1024)[:1], 300, axis=0))
    assert collapsed == {"modes_covered": 1.0, "high_quality": 1.0}
    away = dataset.evaluate_generated(np.full((300, 1024), 1.0))
    assert away == {"modes_covered": 0.0, "high_quality": 0.0}


def test_the_projection_keeps_distances_within_the_plane():
    rng = np.random.default_rng(0)
    centres = np.eye(1024)[:3]
    in_plane = rng.dirichlet(np.ones(3), 20) @ centres
    projected = project(in_plane)
    np.testing.assert_allclose(cdist(projected, projected), cdist(in_plane, in_plane), atol=1e-12)
    np.testing.assert_allclose(
        project(torch.from_numpy(centres)),
        [[0, 0], [np.sqrt(2), 0], [np.sqrt(0.5), np.sqrt(1.5)]],
        atol=1e-12,
    )
    # What is at right angles to the plane has no part in it.
    normal = np.zeros((1, 1024))
    normal[0, :3] = 1.0
    normal[0, 3:] = rng.normal(size=1021)
    np.testing.assert_allclose(project(in_plane[:1] + normal), projected[:1], atol=1e-12)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"components": 9, "dim": 8}, "components=9, more than dim=8"),
        ({"components": 5, "num_samples": 4}, "components=5, more than num_samples=4"),
        ({"std": 0}, "std .* a number above 0"),
        ({"components": 0}, "components .* from 1 on, but got 0"),
        ({"stdd": 1.0}, r"Unknown option 'stdd' .* mean 'std'\?"),
    ],
)
def test_the_mixture_refuses_bad_options(options, message):
    with pytest.raises(UserError, match=message):
        make("gaussian_mixture", **options)


# --- a random network ----------------------------------------------------------------------------


def test_the_affine_network_is_one_gaussian():
    dataset = make("random_network", dim=6, num_samples=20_000, seed=2)
    mean, covariance = dataset.moments()
    check_moments(everything(dataset), mean, covariance)
    assert np.abs(mean).max() > 0.1  # a mean of its own, not zero


def test_weights_are_glorot_uniform():
    dataset = make("random_network")
    assert len(dataset.weights) == 1  # "a 2-layer network is an affine transformation"
    limit = np.sqrt(6 / (1024 + 1024))
    weight = dataset.weights[0]
    assert weight.shape == (1024, 1024)
    assert kstest(weight.ravel()[:20_000], "uniform", (-limit, 2 * limit)).pvalue > 1e-3
    assert kstest(dataset.biases[0], "uniform", (-limit, 2 * limit)).pvalue > 1e-3
    # So samples have about unit variance a coordinate: 1024·limit²/3 = 1.
    assert dataset.moments()[1].diagonal().mean() == pytest.approx(1.0, rel=0.02)


def test_a_deep_network_is_the_one_torch_computes():
    dataset = make("random_network", dim=12, layers=5, num_samples=50)
    assert len(dataset.weights) == 4  # three hidden layers
    modules: list[torch.nn.Module] = []
    for depth, (weight, bias) in enumerate(zip(dataset.weights, dataset.biases, strict=True)):
        if depth:
            modules.append(torch.nn.LeakyReLU(0.2))
        linear = torch.nn.Linear(12, 12, dtype=torch.float64)
        linear.weight.data, linear.bias.data = torch.tensor(weight.T), torch.tensor(bias)
        modules.append(linear)
    with torch.no_grad():
        expected = torch.nn.Sequential(*modules)(torch.from_numpy(dataset.noise(np.arange(50))))
    np.testing.assert_allclose(everything(dataset), expected, atol=1e-6)
    with pytest.raises(ValueError, match="2 layers only"):
        dataset.moments()
    with pytest.raises(UserError, match=r"layers .* from 2 on, but got 1"):
        make("random_network", layers=1)
