"""The kernel distance of features, KID with InceptionV3's (Bińkowski et al., 2018, section 4).

The squared maximum mean discrepancy under the kernel k(x, y) = (γ⟨x, y⟩ + c)^p, with p = 3,
γ = 1/D and c = 1 as published, by the unbiased estimator (Gretton et al., 2012, lemma 6)

    MMD² = mean of k(xᵢ, xⱼ), i ≠ j  +  mean of k(yᵢ, yⱼ), i ≠ j  −  2 · mean of k(xᵢ, yⱼ).

It is averaged over subsets, which bounds the memory and gives a spread. Unlike the FID it is not
biased: two sets from the same distribution have distance 0 on average, and often a little less.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, ClassVar, NamedTuple

import numpy as np
import torch
from torch import Tensor

from gan_registry.metrics.base import Directions, Progress, no_progress
from gan_registry.metrics.feature_moments import Array, as_matrix
from gan_registry.metrics.fitting import check_samples
from gan_registry.metrics.reservoir import MAX_SAMPLES, KeptFeatures
from gan_registry.seeding import derive_seed

MIN_SAMPLES = 2
SUBSET_SIZE = 1_000
NUM_SUBSETS = 100

_ROWS = 64  # of a kernel matrix at once in float64: they stay in a CPU's cache


class KernelDistance(NamedTuple):
    """A kernel distance.

    Attributes:
        mean: Of MMD² over the subsets.
        std: Standard deviation over the subsets (divisor: their number), as published. Subsets
            share samples, so it is no standard error.
    """

    mean: float
    std: float


def kernel_distance(
    real_features: Array,
    fake_features: Array,
    *,
    degree: int = 3,
    gamma: float | None = None,
    coef0: float = 1.0,
    subset_size: int = SUBSET_SIZE,
    num_subsets: int = NUM_SUBSETS,
    seed: int = 0,
    device: torch.device | str | None = None,
    progress: Progress = no_progress,
) -> KernelDistance:
    """Computes the kernel distance (KID), a subset at a time.

    Inner products are taken in the type of the features, at least float32, and summed up in
    float64. Beyond the features it takes memory for two subsets and a kernel matrix, whatever n is.

    Args:
        real_features: [n, D] of any real type, n ≥ 2.
        fake_features: [m, D], m ≥ 2.
        degree: p, at least 1.
        gamma: γ; None is 1/D.
        coef0: c.
        subset_size: Samples of each kind in a subset; all of the smaller set if that has fewer.
        num_subsets: How many subsets are drawn, each without replacement. If a subset holds all
            samples of both kinds, all would be alike, and there is one.
        seed: Seed of the subsets.
        device: Where to compute; None where the real features are. Without float64 (MPS), the CPU.
        progress: Told of the subsets.

    Returns:
        Mean and standard deviation over the subsets.

    Raises:
        TypeError: An argument isn't made of real numbers.
        UserError: There are fewer than 2 samples of a kind, or some are not finite.
        ValueError: A shape or a number is out of range.
    """
    real = as_matrix(real_features, "real_features")
    fake = as_matrix(fake_features, "fake_features")
    if real.shape[1] != fake.shape[1] or real.shape[1] == 0:
        raise ValueError(
            "Arguments `real_features` and `fake_features` must be [n, D] and [m, D], but got "
            f"{list(real.shape)} and {list(fake.shape)}."
        )
    for name, value, least in (
        ("degree", degree, 1), ("subset_size", subset_size, 2), ("num_subsets", num_subsets, 1)
    ):  # fmt: skip
        if value < least:
            raise ValueError(f"Argument `{name}` must be at least {least}, but got {value}.")
    check_samples("kid", real, fake, MIN_SAMPLES)

    place = real.device if device is None else torch.device(device)
    if place.type == "mps":
        place = torch.device("cpu")
    gamma = 1.0 / real.shape[1] if gamma is None else gamma
    size = min(subset_size, len(real), len(fake))
    if size == len(real) == len(fake):
        num_subsets = 1
    wide = torch.float64 in (real.dtype, fake.dtype)
    # CUDA may round float32 products to 10 bits (TF32); in float64 it never does.
    precision = torch.float64 if wide or place.type != "cpu" else torch.float32
    distances: list[Tensor] = []
    for pair in _subsets(real, fake, size, num_subsets, seed):
        progress("Kernel distance", len(distances), num_subsets)
        x, y = (part.to(place, precision) for part in pair)
        distances.append(_squared_mmd(x, y, degree, gamma, coef0))
    progress("Kernel distance", num_subsets, num_subsets)
    values = torch.stack(distances)
    return KernelDistance(float(values.mean()), float(values.std(correction=0)))


class Kid(KeptFeatures):
    """`kid` and `kid_std` in streaming form, on the features of the chosen extractor.

    As published: degree 3, 100 subsets of 1,000 samples of each kind (fewer where there are fewer).
    Keeps up to 50,000 samples of each kind, at most 1 GiB, on the CPU; of a longer stream a uniform
    choice.
    """

    name: ClassVar[str] = "kid"
    min_samples: ClassVar[int] = MIN_SAMPLES
    max_samples: ClassVar[int] = MAX_SAMPLES
    stream: ClassVar[tuple[str, ...]] = ("kid",)
    directions: ClassVar[Directions] = {"kid": "down", "kid_std": "none"}
    subset_size: ClassVar[int] = SUBSET_SIZE
    num_subsets: ClassVar[int] = NUM_SUBSETS

    def compute(self) -> dict[str, Any]:
        """Returns `kid` and `kid_std`.

        Raises:
            UserError: There are fewer than 2 samples of a kind, or some are not finite.
        """
        distance = kernel_distance(
            *self.kept(),
            subset_size=self.subset_size,
            num_subsets=self.num_subsets,
            seed=self.context.seed,
            device=self.context.device,
            progress=self.context.progress,
        )
        return {"kid": distance.mean, "kid_std": distance.std}


def _subsets(
    real: Tensor, fake: Tensor, size: int, count: int, seed: int
) -> Iterator[tuple[Tensor, Tensor]]:
    """Yields `count` pairs of subsets, [size, D] each; the draws follow from the seed."""
    rng = np.random.Generator(np.random.PCG64(derive_seed(seed, "kernel distance", "subsets")))
    for _ in range(count):
        x, y = (
            features[
                torch.from_numpy(rng.choice(len(features), size, replace=False)).to(features.device)
            ]
            for features in (real, fake)
        )
        yield x, y


def _squared_mmd(x: Tensor, y: Tensor, degree: int, gamma: float, coef0: float) -> Tensor:
    """Returns the unbiased estimate for [m, D] and [m, D] of one type, a float64 scalar."""
    size = len(x)

    def summed(a: Tensor, b: Tensor) -> Tensor:
        products = _products(a, b)
        sums = []
        for start in range(0, size, _ROWS):
            kernel = products[start : start + _ROWS].double().mul_(gamma).add_(coef0)
            if a is b:  # without i = j
                kernel.diagonal(start).fill_(0.0)
            sums.append(kernel.pow_(degree).sum())
        return torch.stack(sums).sum()

    within = (summed(x, x) + summed(y, y)) / (size * (size - 1))
    return within - 2.0 * summed(x, y) / size**2


def _products(a: Tensor, b: Tensor) -> Tensor:
    """Returns all inner products; on the CPU by NumPy, which halves the work of a @ a.T."""
    if a.device.type != "cpu":
        return a @ b.T
    return torch.from_numpy(a.numpy() @ b.numpy().T)
