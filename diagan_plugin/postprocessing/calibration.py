"""Calibration: makes a discriminator's logits the log-density ratios they are taken for.

D is fitted to samples it was trained on and is usually too sure of itself. A monotone map from
logits to log p_data/p_g, fitted to real and generated samples that D has not seen, mends that
(Turner et al. 2019, §3.2). Platt's map is a straight line; the isotonic one is any non-decreasing
function. Both are fitted as if the two kinds were equally frequent: otherwise their numbers would
enter the ratio.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from diagan_plugin.arguments import as_array, as_kind, check_data

METHODS = ("platt", "isotonic", "none")

Floats = NDArray[np.float64]


class Calibration(Protocol):
    """A map of logits, any shape, to calibrated ones of the same shape and device.

    NaN stays NaN. The result is at least float32.
    """

    def __call__(self, logits: Tensor, /) -> Tensor:
        """Returns calibrated logits."""
        ...


@dataclass(frozen=True)
class NoCalibration:
    """Takes logits as they are."""

    def __call__(self, logits: Tensor, /) -> Tensor:
        """Returns the logits, at least in float32."""
        return _at_least_float32(logits)


@dataclass(frozen=True)
class PlattCalibration:
    """The straight line slope·l + intercept (Platt 1999).

    Attributes:
        slope: 1 where D is calibrated, below 1 where it is too sure of itself.
        intercept: Added.
    """

    slope: float
    intercept: float

    def __call__(self, logits: Tensor, /) -> Tensor:
        """Returns slope·l + intercept."""
        return self.slope * _at_least_float32(logits) + self.intercept

    @classmethod
    def fit(cls, real: ArrayLike, generated: ArrayLike) -> PlattCalibration:
        """Fits the line by logistic regression, with Platt's targets; see :func:`fit_calibration`.

        These lie slightly within 0 and 1, so that the slope stays finite even where D tells all
        samples apart. Logits that are all equal raise a ValueError.
        """
        from sklearn.linear_model import LogisticRegression

        logits, labels, weights = _examples(real, generated)
        centre, scale = float(logits.mean()), float(logits.std())
        if not scale > 0:
            raise ValueError("Arguments `real` and `generated` must differ, but all are equal.")
        counts = np.where(labels == 1, (labels == 1).sum(), (labels == 0).sum())
        target = np.where(labels == 1, (counts + 1) / (counts + 2), 1 / (counts + 2))
        # A soft target t is a positive example of weight t and a negative one of weight 1 − t.
        standard = ((logits - centre) / scale)[:, None]
        model = LogisticRegression(C=1e6, tol=1e-8, max_iter=1000)
        model.fit(
            np.concatenate([standard, standard]),
            np.repeat([1, 0], len(logits)),
            np.concatenate([weights * target, weights * (1 - target)]),
        )
        slope = float(model.coef_[0, 0]) / scale
        return cls(slope, float(model.intercept_[0]) - slope * centre)


@dataclass(frozen=True)
class IsotonicCalibration:
    """A non-decreasing function of the logit, linear between its knots; as published for MH-GAN.

    Attributes:
        knots: Logits, increasing, float64 [K].
        probabilities: The probability of being real at each, non-decreasing in (0, 1), float64 [K].
    """

    knots: Floats
    probabilities: Floats

    def __call__(self, logits: Tensor, /) -> Tensor:
        """Returns the logit of the probability; beyond the outermost knots it is constant."""
        values = _at_least_float32(logits)
        knots = torch.as_tensor(self.knots).to(values)
        heights = torch.as_tensor(self.probabilities).to(values)
        if len(knots) == 1:
            probability = heights.expand(values.shape)
        else:
            # NaN would index beyond the end; it is put back below.
            inside = values.nan_to_num(nan=0.0).clamp(knots[0], knots[-1])
            right = torch.searchsorted(knots, inside.contiguous()).clamp(1, len(knots) - 1)
            low, high = knots[right - 1], knots[right]
            share = ((inside - low) / (high - low).clamp(min=torch.finfo(values.dtype).tiny)).clamp(
                0, 1
            )
            probability = heights[right - 1] + share * (heights[right] - heights[right - 1])
        return torch.where(values.isnan(), values, torch.logit(probability))

    @classmethod
    def fit(cls, real: ArrayLike, generated: ArrayLike) -> IsotonicCalibration:
        """Fits the function by isotonic regression; see :func:`fit_calibration`.

        Where only real or only generated samples lie, it would be certain. n examples can't show
        that, so that probabilities are kept within [1/(n + 2), (n + 1)/(n + 2)].
        """
        from sklearn.isotonic import IsotonicRegression

        logits, labels, weights = _examples(real, generated)
        model = IsotonicRegression(y_min=0.0, y_max=1.0, out_of_bounds="clip")
        model.fit(logits, labels, weights)
        least = 1 / (len(logits) + 2)
        return cls(
            np.asarray(model.X_thresholds_, np.float64),
            np.clip(np.asarray(model.y_thresholds_, np.float64), least, 1 - least),
        )


def fit_calibration(method: str, real: ArrayLike, generated: ArrayLike) -> Calibration:
    """Fits a calibration by its name.

    Args:
        method: One of :data:`METHODS`.
        real: Logits of held-out real samples [n]; NaN and ±inf are left out.
        generated: Logits of generated samples [m], likewise.

    Raises:
        ValueError: The method is unknown, or one kind has no finite logit.
    """
    if method == "platt":
        return PlattCalibration.fit(real, generated)
    if method == "isotonic":
        return IsotonicCalibration.fit(real, generated)
    if method != "none":
        raise ValueError(f"Argument `method` must be one of {METHODS}, but got {method!r}.")
    return NoCalibration()


def z_statistic(real: ArrayLike, generated: ArrayLike) -> float:
    """Computes the calibration statistic of Turner et al. (2019, §3.2).

    Z = Σ(y − D) / sqrt(Σ D·(1 − D)) over real (y = 1) and generated (y = 0) samples. Standard
    normal where D is calibrated and labels are drawn at random; with fixed numbers of both kinds,
    as here, its variance is smaller, so that |Z| > 2 tells even more. Logits are given as to
    :func:`fit_calibration`, and with the same error.

    Returns:
        Z: above 0 where D says "real" too seldom, below 0 where too often.
    """
    logits, labels, _ = _examples(real, generated)
    # The logits are meant for equal numbers; the labels here are as frequent as they are.
    odds = (labels == 1).sum() / (labels == 0).sum()
    probability = _sigmoid(logits + math.log(odds))
    spread = float(np.sqrt((probability * (1 - probability)).sum()))
    gap = float((labels - probability).sum())
    return gap / spread if spread > 0 else math.copysign(math.inf, gap) if gap else 0.0


@dataclass(frozen=True)
class CalibrationCurve:
    """How often samples were real, by how probable D took that to be.

    Attributes:
        predicted: Mean predicted probability of each bin, float64 [B], increasing.
        observed: Share of real samples in it, as if both kinds were equally frequent, [B].
        low: Lower end of its 95 % interval (Wilson), [B].
        high: Upper end, [B].
        count: Number of samples, int64 [B].
    """

    predicted: Floats
    observed: Floats
    low: Floats
    high: Floats
    count: NDArray[np.int64]

    def to_result(self) -> dict[str, Any]:
        """Returns plain lists, for `result.json`."""
        return {name: getattr(self, name).tolist() for name in self.__dataclass_fields__}


def calibration_curve(real: ArrayLike, generated: ArrayLike, bins: int = 10) -> CalibrationCurve:
    """Compares predicted probabilities of being real with what was observed, in `bins` at most.

    Bins hold equally many samples, as far as ties allow; a fixed width would leave most of them
    empty where D is sure of itself. Logits are of real samples [n] that neither D nor its
    calibration has seen, and of generated ones [m].

    Raises:
        ValueError: One of them has no finite logit, or `bins` is below 1.
    """
    if bins < 1:
        raise ValueError(f"Argument `bins` must be at least 1, but got {bins}.")
    logits, labels, weights = _examples(real, generated)
    edges = np.unique(np.quantile(logits, np.arange(1, bins) / bins))
    place = np.searchsorted(edges, logits, side="right")
    _, place = np.unique(place, return_inverse=True)

    def total(values: Floats) -> Floats:
        return np.bincount(place, values).astype(np.float64)

    mass, count = total(weights), np.bincount(place)
    predicted = total(weights * _sigmoid(logits)) / mass
    observed = total(weights * labels) / mass
    # Kish's effective number where the weights differ.
    effective = mass**2 / total(weights**2)
    z = 1.959964
    middle = (observed + z**2 / (2 * effective)) / (1 + z**2 / effective)
    half = (
        z
        * np.sqrt(observed * (1 - observed) / effective + z**2 / (4 * effective**2))
        / (1 + z**2 / effective)
    )
    return CalibrationCurve(
        predicted, observed, np.clip(middle - half, 0, 1), np.clip(middle + half, 0, 1), count
    )


def _examples(real: ArrayLike, generated: ArrayLike) -> tuple[Floats, Floats, Floats]:
    """Returns finite logits, labels and weights [n + m]; each kind has the mean weight 1."""
    parts = {}
    for name, values in (("real", real), ("generated", generated)):
        array = as_array(name, values)
        if np.iscomplexobj(array):
            raise TypeError(f"Argument `{name}` must be real numbers, but got {array.dtype}.")
        array = array.astype(np.float64).reshape(-1)
        array = array[np.isfinite(array)]
        if not array.size:
            raise ValueError(f"Argument `{name}` must hold a finite logit, but has none.")
        parts[name] = array
    n, m = parts["real"].size, parts["generated"].size
    labels = np.repeat([1.0, 0.0], [n, m])
    weights = np.repeat([(n + m) / (2 * n), (n + m) / (2 * m)], [n, m])
    return np.concatenate([parts["real"], parts["generated"]]), labels, weights


def _sigmoid(logits: Floats) -> Floats:
    return np.exp(-np.logaddexp(0.0, -logits))


def _at_least_float32(logits: Tensor) -> Tensor:
    check_data("logits", as_kind("logits", logits, Tensor))
    if logits.is_complex():
        raise TypeError(f"Argument `logits` must be real numbers, but got {logits.dtype}.")
    return logits.to(torch.promote_types(logits.dtype, torch.float32))
