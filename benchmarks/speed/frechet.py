"""The Fréchet distance of given moments: against the formula with the matrix root, by scipy.

The peer is the textbook formula as pytorch-fid and others compute it, with `scipy.linalg.sqrtm` of
the product of the covariances. They pass `disp=False`, which scipy 1.18 no longer takes, and get an
estimate of the error that they don't use; here the root is asked for without it.

A row without an aim starts from features, fewer than there are dimensions: then the peer needs the
singular covariances, and we do not.
"""

from __future__ import annotations

import warnings

import numpy as np
import scipy.linalg
import torch
from threadpoolctl import threadpool_limits

from benchmarks.speed.harness import Row, Settings, alternate, at_least
from gan_registry.metrics.feature_moments import Moments
from gan_registry.metrics.frechet import fid, frechet_distance

NAME = "frechet"
_AIM = at_least(5)
_SAMPLES = 5_000
Array = np.ndarray[tuple[int, ...], np.dtype[np.float64]]


def run(settings: Settings) -> list[Row]:
    """Measures at InceptionV3's 2,048 dimensions."""
    dimensions, few = (64, 32) if settings.quick else (2_048, 1_000)
    sets = [features(_SAMPLES, dimensions, seed) for seed in (0, 1)]
    given = [arrays(rows) for rows in sets]
    (mean1, covariance1), (mean2, covariance2) = given
    small = [rows[:few].clone() for rows in sets]

    def given_ours() -> float:
        return frechet_distance(mean1, covariance1, mean2, covariance2)

    def given_theirs() -> float:
        return with_matrix_root(mean1, covariance1, mean2, covariance2)

    def small_ours() -> float:
        return fid(*small)

    def small_theirs() -> float:
        (m1, s1), (m2, s2) = (arrays(rows) for rows in small)
        return with_matrix_root(m1, s1, m2, s2)

    rows = []
    with threadpool_limits(settings.threads):  # scipy's threads are not torch's
        for label, ours, theirs, aim in (
            (f"D = {dimensions:,}, moments given", given_ours, given_theirs, _AIM),
            (f"D = {dimensions:,}, from {few:,} samples each", small_ours, small_theirs, None),
        ):
            mine, other = ours(), theirs()  # both warmed up
            pair = alternate(ours, theirs, settings.pairs(3), warmup=0)
            note = f"distances {mine:.8g} and {other:.8g}"
            rows.append(pair.row(NAME, label, aim, note=note))
    return rows


def features(count: int, dimensions: int, seed: int) -> torch.Tensor:
    """Makes float32 [count, dimensions] with variances over five orders of magnitude."""
    mixing = torch.Generator().manual_seed(7)
    mix: torch.Tensor = torch.randn(dimensions, dimensions, generator=mixing) / dimensions**0.5
    rng = torch.Generator().manual_seed(seed)
    scale = torch.logspace(0.0, -2.5 - 0.1 * seed, dimensions)
    return (torch.randn(count, dimensions, generator=rng) * scale) @ mix + 0.01 * seed


def arrays(rows: torch.Tensor) -> tuple[Array, Array]:
    """Returns mean and covariance as numpy arrays."""
    moments = Moments()
    moments.update(rows)
    return moments.mean.numpy(), moments.covariance.numpy()


def with_matrix_root(mean1: Array, covariance1: Array, mean2: Array, covariance2: Array) -> float:
    """Computes the distance with the root of the product of the covariances."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # singular products are warned of
        root = scipy.linalg.sqrtm(covariance1 @ covariance2)
    traces = np.trace(covariance1) + np.trace(covariance2) - 2.0 * np.trace(root).real
    return float(np.sum((mean1 - mean2) ** 2) + traces)
