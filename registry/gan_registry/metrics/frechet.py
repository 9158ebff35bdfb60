"""The Fréchet distance of two Gaussians, and the FID: that of real and generated features.

    d² = ‖μ₁ − μ₂‖² + Tr Σ₁ + Tr Σ₂ − 2 Tr (Σ₁Σ₂)^½

(Dowson and Landau, 1982; as a metric for GANs: Heusel et al., 2017.) Σ₁Σ₂ is not symmetric, and its
matrix root is slow, and ill-conditioned where a covariance is singular. Only the trace of the root
is needed: with Σᵢ = AᵢᵀAᵢ it is the sum of the singular values of A₁A₂ᵀ, for any such factors.
Centred samples are such factors, too, so fewer samples than dimensions make it cheaper, and not
wrong. A symmetric eigendecomposition gives the squares of the singular values.

The FID is biased: with n samples it is too large by about a constant/n, more so the more dimensions
there are (Chong and Forsyth, 2020), so only numbers from equally many samples compare. With no
more samples than dimensions the covariances are singular, and the bias tends to outweigh the rest.
"""

from __future__ import annotations

import math
import warnings
from typing import Any, ClassVar

import torch
from torch import Tensor

from gan_registry.metrics.base import Batch, Directions, Metric, MetricContext, Needs
from gan_registry.metrics.feature_moments import Array, Moments, as_matrix, covariance_factor
from gan_registry.metrics.fitting import check_count, check_finite

MIN_SAMPLES = 2
_SYMMETRIC = 1e-3  # asymmetry, relative to the largest entry, that rounding may leave
_DOUBT = 1e-7  # of the sum of singular values: a stricter way is taken where more is uncertain


def frechet_distance(mean1: Array, covariance1: Array, mean2: Array, covariance2: Array) -> float:
    """Computes the Fréchet distance d² of two Gaussians, in float64.

    The covariances may be singular. At D = 2,048 it takes about a second on one core.

    Args:
        mean1: [D].
        covariance1: [D, D], symmetric and positive semidefinite.
        mean2: [D].
        covariance2: [D, D], likewise.

    Returns:
        The distance in the squared unit of the features, at least 0. (It is the square of a metric,
        and called distance nevertheless.)

    Raises:
        TypeError: An argument isn't made of real numbers.
        ValueError: Shapes do not fit, numbers are not finite, or a covariance is none.
    """
    means = [_finite(as_matrix(m, f"mean{i}", 1), f"mean{i}") for i, m in ((1, mean1), (2, mean2))]
    covariances = [
        _symmetric(as_matrix(covariance, f"covariance{i}"), f"covariance{i}")
        for i, covariance in ((1, covariance1), (2, covariance2))
    ]
    size = len(means[0])
    for i in range(2):
        if len(means[i]) != size or covariances[i].shape != (size, size):
            raise ValueError(
                f"Arguments `mean{i + 1}` and `covariance{i + 1}` must be [{size}] and "
                f"[{size}, {size}], but got {list(means[i].shape)} and "
                f"{list(covariances[i].shape)}."
            )
    if size == 0:
        raise ValueError("Argument `mean1` must have at least 1 element, but got none.")
    device = means[0].device
    first, second = (covariance.to(device) for covariance in covariances)
    return _combine(
        means[0],
        means[1].to(device),
        float(first.trace() + second.trace()),
        trace_of_root(covariance_factor(first), covariance_factor(second)),
    )


def fid(real_features: Array, fake_features: Array) -> float:
    """Computes the Fréchet distance of the Gaussians fitted to real and to generated features.

    With InceptionV3's 2,048 features this is the FID. It needs many more samples than dimensions to
    mean much, and equally many wherever it is compared (see the head of this module).

    Args:
        real_features: [n, D] of any real type, n ≥ 2.
        fake_features: [m, D], m ≥ 2.

    Returns:
        The distance, at least 0.

    Raises:
        TypeError: An argument isn't made of real numbers.
        UserError: There are fewer than 2 samples of a kind, or some are not finite.
        ValueError: The shapes are wrong.
    """
    real = as_matrix(real_features, "real_features")
    fake = as_matrix(fake_features, "fake_features")
    if real.shape[1] != fake.shape[1]:
        raise ValueError(
            "Arguments `real_features` and `fake_features` must have equally many columns, but got "
            f"{list(real.shape)} and {list(fake.shape)}."
        )
    both = []
    for features in (real, fake):
        moments = Moments(real.device)
        moments.update(features)
        both.append(moments)
    _check("fid", *both)
    return between(*both)


def between(first: Moments, second: Moments) -> float:
    """Returns the Fréchet distance of the Gaussians with these moments.

    Raises:
        ValueError: There are fewer than 2 rows in one.
    """
    return _combine(
        first.mean,
        second.mean,
        first.total_variance + second.total_variance,
        trace_of_root(first.factor, second.factor),
    )


def trace_of_root(factor1: Tensor, factor2: Tensor) -> float:
    """Computes Tr (Σ₁Σ₂)^½ for Σᵢ = AᵢᵀAᵢ: the sum of the singular values of A₁A₂ᵀ.

    The factors are float64, A₁ [r, D] and A₂ [s, D].
    """
    if len(factor1) > len(factor2):
        factor1, factor2 = factor2, factor1
    if len(factor1) == 0:
        return 0.0
    product = factor1 @ factor2.T
    squares = torch.linalg.eigvalsh(product @ product.T)
    # An eigenvalue is off by about δ = ε·λ_max, its root by at most δ / (√λ + √δ).
    error = torch.finfo(torch.float64).eps * float(squares[-1].clamp(min=0))
    roots = squares.clamp(min=0).sqrt()
    if error == 0.0:
        return float(torch.linalg.svdvals(product).sum())
    doubt = float((error / (roots + math.sqrt(error))).sum())
    if doubt > _DOUBT * float(roots.sum()):
        # Many roots of next to nothing. Five times slower, but not off by more than ε·√λ_max each.
        return float(torch.linalg.svdvals(product).sum())
    return float(roots.sum())


class Fid(Metric):
    """`fid` in streaming form, on the features of the chosen extractor.

    Keeps the moments (see :class:`Moments`): some 100 MB of each kind at D = 2,048. Warns if there
    are no more samples than dimensions: see the head of this module.
    """

    needs: ClassVar[frozenset[Needs]] = frozenset({"features"})
    directions: ClassVar[Directions] = {"fid": "down"}

    def __init__(self, context: MetricContext) -> None:
        super().__init__(context)
        self._real = Moments(context.device)
        self._fake = Moments(context.device)

    def update_real(self, batch: Batch) -> None:
        """Takes the features of some real samples in."""
        assert batch.features is not None
        self._real.update(batch.features)

    def update_fake(self, batch: Batch) -> None:
        """Takes the features of some generated samples in."""
        assert batch.features is not None
        self._fake.update(batch.features)

    def reset_fake(self) -> None:
        """Forgets the generated samples."""
        self._fake.clear()

    def compute(self) -> dict[str, Any]:
        """Returns `fid`.

        Raises:
            UserError: There are fewer than 2 samples of a kind, or some are not finite.
        """
        _check("fid", self._real, self._fake)
        fewest, dimensions = min(self._real.count, self._fake.count), self._real.dimensions
        if fewest <= dimensions:
            warnings.warn(
                f"The FID of {self._real.count:,} real and {self._fake.count:,} generated samples "
                f"in {dimensions:,} dimensions is biased upwards a lot: take more samples than "
                "dimensions, or look at the KID, which is not biased.",
                stacklevel=2,
            )
        return {"fid": between(self._real, self._fake)}


def _check(metric: str, real: Moments, fake: Moments) -> None:
    for kind, moments in (("real", real), ("generated", fake)):
        check_count(metric, kind, moments.count, MIN_SAMPLES)
        check_finite(metric, kind, moments.bad, moments.count)


def _combine(mean1: Tensor, mean2: Tensor, traces: float, root: float) -> float:
    # Where the distance is 0, rounding may leave a little less than that.
    return max(float((mean1 - mean2).square().sum()) + traces - 2.0 * root, 0.0)


def _finite(values: Tensor, name: str) -> Tensor:
    if not bool(torch.isfinite(values).all()):
        raise ValueError(f"Argument `{name}` must be finite, but holds NaN or infinity.")
    return values.to(torch.float64)


def _symmetric(values: Tensor, name: str) -> Tensor:
    values = _finite(values, name)
    if values.shape[0] != values.shape[1]:
        raise ValueError(f"Argument `{name}` must be square, but got {list(values.shape)}.")
    if values.numel() and float((values - values.T).abs().max()) > _SYMMETRIC * float(
        values.abs().max()
    ):
        raise ValueError(f"Argument `{name}` must be symmetric.")
    return (values + values.T) / 2.0
