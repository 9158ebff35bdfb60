"""What the neighbours in feature space say of a sample: how near they are, and their labels."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn import config_context
from sklearn.decomposition import PCA
from sklearn.neighbors import NearestNeighbors

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]

K = 10
"""Neighbours that are asked."""

_DIMENSIONS = 128
_FOLDS = 5
_SHRINKAGE = 0.1  # of the covariance within classes, towards a multiple of the identity
_RIDGE = 0.02  # probability below which differences do not count


Projection = Callable[[NDArray[np.float32]], Floats]


def projection(features: NDArray[np.float32], dimensions: int = _DIMENSIONS) -> Projection:
    """Returns what maps features [n, D] to the leading principal components of these, [M, D].

    The points are float64 [n, ≤ dimensions]; where there are few features they are only centred.
    """
    count = min(dimensions, *features.shape)
    middle = features.mean(0, dtype=np.float64).astype(np.float32)
    if count == features.shape[1]:
        return lambda given: np.asarray(given - middle, np.float64)
    with np.errstate(invalid="ignore"):  # shares of the variance, where there is none
        pca = PCA(count, svd_solver="randomized", random_state=0).fit(features - middle)
    return lambda given: np.asarray(pca.transform(given - middle), np.float64)


def nearest(points: Floats, k: int = K) -> tuple[Floats, Integers]:
    """Returns distances and numbers of each sample's k nearest others, both [M, k], near first.

    Where there are fewer others, k is their number. Never holds a matrix of all distances.
    """
    k = min(k, len(points) - 1)
    with config_context(working_memory=128):
        found = NearestNeighbors(n_neighbors=k, algorithm="brute").fit(points).kneighbors()
    return np.asarray(found[0], np.float64), np.asarray(found[1], np.int64)


@dataclass(frozen=True)
class LabelDoubt:
    """What speaks against a sample's label, each [M].

    Attributes:
        other: The label that it looks most like, its own left out.
        doubt: Logarithm of how much likelier that one is; above 0 where its own is doubted.
        own: Probability of its own label.
        likeliest: Probability of the other.
        votes: How many of the neighbours have the other label.
        agreement: Share of all samples whose label is the likeliest one: where it is low, the
            features do not tell the labels apart, and nothing may be concluded (a number).
    """

    other: Integers
    doubt: Floats
    own: Floats
    likeliest: Floats
    votes: Integers
    agreement: float


def doubt_labels(points: Floats, labels: Integers, found: tuple[Floats, Integers]) -> LabelDoubt:
    """Weighs each sample's label against the others.

    The mean of two opinions, neither of which saw the label that it judges: the neighbours', nearer
    ones counting more, and a linear discriminant's that was fitted to the other folds.

    Args:
        points: Features [M, D].
        labels: Labels [M], of at least two kinds.
        found: What :func:`nearest` returns of the points.
    """
    kinds, numbers = np.unique(labels, return_inverse=True)
    numbers = numbers.reshape(-1)
    probability = (_by_neighbours(numbers, found, kinds.size) + _by_folds(points, numbers)) / 2
    rows = np.arange(len(labels))
    own = probability[rows, numbers]
    probability[rows, numbers] = -1.0
    other = probability.argmax(1)
    likeliest = probability[rows, other]
    return LabelDoubt(
        other=kinds[other],
        doubt=np.log((likeliest + _RIDGE) / (own + _RIDGE)),
        own=own,
        likeliest=likeliest,
        votes=(numbers[found[1]] == other[:, None]).sum(1),
        agreement=float((own >= likeliest).mean()),
    )


def _by_neighbours(numbers: Integers, found: tuple[Floats, Integers], kinds: int) -> Floats:
    distances, indices = found
    weights = 1.0 / (distances + 0.1 * max(float(np.median(distances)), 1e-12))
    weights /= weights.sum(1, keepdims=True)
    shares = np.zeros((len(numbers), kinds))
    rows = np.repeat(np.arange(len(numbers)), indices.shape[1])
    np.add.at(shares, (rows, numbers[indices].reshape(-1)), weights.reshape(-1))
    return shares


def _by_folds(points: Floats, numbers: Integers) -> Floats:
    """Returns probabilities by a linear discriminant, for each fold fitted to the others."""
    count, kinds = len(numbers), int(numbers.max()) + 1
    fold = np.random.default_rng(0).permutation(count) % _FOLDS
    shares = np.zeros((count, kinds))
    for number in range(_FOLDS):
        out = fold == number
        shares[out] = _discriminant(points[~out], numbers[~out], points[out], kinds)
    return shares


def _discriminant(x: Floats, numbers: Integers, asked: Floats, kinds: int) -> Floats:
    size = np.bincount(numbers, minlength=kinds).astype(np.float64)
    sums = np.zeros((kinds, x.shape[1]))
    np.add.at(sums, numbers, x)
    means = sums / np.maximum(size, 1)[:, None]
    within = x - means[numbers]
    covariance = within.T @ within / len(x)
    level = max(float(np.trace(covariance)) / len(covariance), 1e-12)
    covariance = (1 - _SHRINKAGE) * covariance + _SHRINKAGE * level * np.eye(len(covariance))
    directions = np.linalg.solve(covariance, means.T)
    with np.errstate(divide="ignore"):  # a class that is in no other fold has probability 0
        prior = np.log(size / size.sum())
    logits = asked @ directions - 0.5 * (means.T * directions).sum(0) + prior
    logits -= logits.max(1, keepdims=True)
    shares: Any = np.exp(logits)
    shares /= shares.sum(1, keepdims=True)
    return np.asarray(shares, np.float64)
