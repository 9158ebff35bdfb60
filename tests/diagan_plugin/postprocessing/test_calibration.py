from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy import optimize, stats
from sklearn.isotonic import IsotonicRegression

from diagan_plugin.postprocessing.calibration import (
    IsotonicCalibration,
    NoCalibration,
    PlattCalibration,
    calibration_curve,
    fit_calibration,
    z_statistic,
)

SHIFT = 1.5  # real N(SHIFT, 1), generated N(0, 1): the log-ratio SHIFT·x − SHIFT²/2 is known


def ratios(seed: int, n: int = 4000, m: int = 4000):
    """True log-density ratios of real and of generated samples."""
    rng = np.random.default_rng(seed)
    real, generated = rng.normal(SHIFT, 1, n), rng.normal(0, 1, m)
    return SHIFT * real - SHIFT**2 / 2, SHIFT * generated - SHIFT**2 / 2


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("m", [4000, 1000])  # unequal numbers must not enter the ratio
def test_platt_recovers_a_known_miscalibration(seed, m):
    real, generated = ratios(seed, m=m)
    # What D says is 3·l + 2: too sure of itself, and too fond of "real".
    fitted = PlattCalibration.fit(3 * real + 2, 3 * generated + 2)
    assert fitted.slope == pytest.approx(1 / 3, rel=0.12)
    assert fitted.intercept == pytest.approx(-2 / 3, abs=0.12)
    back = fitted(torch.from_numpy(3 * real + 2)).numpy()
    np.testing.assert_allclose(back, real, atol=0.6)


def test_platt_is_the_maximum_of_the_likelihood_with_platts_targets():
    real, generated = ratios(0, 60, 40)
    fitted = PlattCalibration.fit(real, generated)
    logits = np.concatenate([real, generated])
    target = np.repeat([61 / 62, 1 / 42], [60, 40])
    weight = np.repeat([100 / 120, 100 / 80], [60, 40])

    def loss(line):
        value = line[0] * logits + line[1]
        return weight @ (np.logaddexp(0, value) - target * value)

    want = optimize.minimize(loss, [1.0, 0.0], tol=1e-12).x
    assert (fitted.slope, fitted.intercept) == pytest.approx(tuple(want), abs=2e-3)


def test_platt_stays_finite_where_d_tells_all_apart():
    fitted = PlattCalibration.fit([5.0, 6.0, 9.0], [-4.0, -7.0, -5.0])
    assert 0 < fitted.slope < 1
    assert abs(fitted(torch.tensor(7.0)).item()) < 5


@pytest.mark.parametrize("seed", range(3))
def test_isotonic_is_monotone_and_undoes_any_monotone_distortion(seed):
    real, generated = ratios(seed)

    def distort(l):  # noqa: E741
        return np.sinh(l) + 3

    fitted = IsotonicCalibration.fit(distort(real), distort(generated))
    grid = torch.linspace(-30, 30, 2001, dtype=torch.float64)
    assert (fitted(grid).diff() >= 0).all()
    assert fitted(grid).isfinite().all()
    inside = np.linspace(-1.5, 1.5, 50)
    got = sigmoid(fitted(torch.from_numpy(distort(inside))).numpy())
    np.testing.assert_allclose(got, sigmoid(inside), atol=0.1)


def test_isotonic_agrees_with_scikit_learn():
    real, generated = ratios(1, 300, 200)
    fitted = IsotonicCalibration.fit(real, generated)
    model = IsotonicRegression(y_min=0, y_max=1, out_of_bounds="clip").fit(
        np.concatenate([real, generated]),
        np.repeat([1, 0], [300, 200]),
        np.repeat([500 / 600, 500 / 400], [300, 200]),
    )
    points = np.linspace(-8, 8, 777)
    want = np.clip(model.predict(points), 1 / 502, 501 / 502)
    got = sigmoid(fitted(torch.from_numpy(points)).numpy())
    # Clipped knots and clipped values differ only within the step next to a clipped knot.
    np.testing.assert_allclose(got, want, atol=2 / 502)


def test_isotonic_of_a_discriminator_that_knows_nothing():
    fitted = IsotonicCalibration.fit(np.zeros(50), np.zeros(20))
    assert fitted(torch.tensor([-3.0, 0.0, 3.0])).abs().max() < 1e-6


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
@pytest.mark.parametrize("shape", [(0,), (1,), (3,), (3, 1), ()])
@pytest.mark.parametrize("method", ["platt", "isotonic", "none"])
def test_shapes_and_dtypes_and_nan(dtype, shape, method):
    calibration = fit_calibration(method, *ratios(0, 50, 50))
    out = calibration(torch.full(shape, 0.5, dtype=dtype))
    assert out.shape == shape
    assert out.dtype == (torch.float64 if dtype == torch.float64 else torch.float32)
    assert out.isfinite().all()
    assert calibration(torch.full(shape, math.nan, dtype=dtype)).isnan().all()


def test_infinite_logits_get_the_outermost_values():
    fitted = IsotonicCalibration.fit(*ratios(0, 100, 100))
    low, high = fitted(torch.tensor([-math.inf, math.inf])).tolist()
    assert -math.log(201) - 1e-4 <= low < 0 < high <= math.log(201) + 1e-4


def test_what_is_not_finite_is_left_out_of_the_fit():
    real, generated = ratios(0, 100, 100)
    bad = [math.nan, math.inf, -math.inf]
    want = PlattCalibration.fit(real, generated)
    assert PlattCalibration.fit([*real, *bad], [*bad, *generated]) == want


@pytest.mark.parametrize("fit", [PlattCalibration.fit, IsotonicCalibration.fit, z_statistic])
def test_nothing_to_fit_to(fit):
    with pytest.raises(ValueError, match="`generated` must hold a finite logit"):
        fit([0.0, 1.0], [math.nan])
    with pytest.raises(ValueError, match="`real` must hold a finite logit"):
        fit([], [1.0])


def test_bad_arguments():
    with pytest.raises(ValueError, match="`method` must be one of"):
        fit_calibration("beta", [0.0], [1.0])
    with pytest.raises(ValueError, match="all are equal"):
        PlattCalibration.fit([1.0, 1.0], [1.0])
    with pytest.raises(ValueError, match="`bins` must be at least 1"):
        calibration_curve([0.0], [1.0], bins=0)
    assert fit_calibration("none", [], []) == NoCalibration()


# --- the statistic and the curve ----------------------------------------------------------------


def test_z_by_hand():
    # D = 3/4 and 1/2 for the real samples, 1/4 for the generated ones.
    z = z_statistic([math.log(3), 0.0], [-math.log(3), -math.log(3)])
    assert z == pytest.approx((2 - 1.75) / math.sqrt(3 * 3 / 16 + 1 / 4))


def test_z_of_unequal_numbers_by_hand():
    """Bayes: what D = d says of equal numbers is n·d / (n·d + m·(1 − d)) among n and m."""
    real, generated = [0.5, 0.75, 0.2, 0.9, 0.6, 0.5], [0.25, 0.4]
    n, m = len(real), len(generated)
    share = [n * d / (n * d + m * (1 - d)) for d in real + generated]
    expected = (n - sum(share)) / math.sqrt(sum(p * (1 - p) for p in share))
    logits = [[math.log(d / (1 - d)) for d in part] for part in (real, generated)]
    assert z_statistic(*logits) == pytest.approx(expected)
    # A D that knows nothing is calibrated, however many there are of either.
    assert z_statistic([0.0] * 30, [0.0] * 10) == pytest.approx(0.0, abs=1e-12)


def test_z_of_the_true_ratio_is_small_and_of_a_wrong_one_large():
    true = [z_statistic(*ratios(seed, 500, 500)) for seed in range(200)]
    # With fixed numbers of both kinds the variance is 4·Var(D), below 1.
    real, generated = ratios(0, 100_000, 100_000)
    variance = 4 * sigmoid(np.concatenate([real, generated])).var()
    assert abs(np.mean(true)) < 4 * math.sqrt(variance / 200)
    assert np.var(true) == pytest.approx(variance, rel=0.35)
    for seed in range(5):
        real, generated = ratios(seed)
        assert z_statistic(real + 1, generated + 1) < -10
        assert z_statistic(real - 1, generated - 1) > 10


@pytest.mark.parametrize("seed", range(3))
def test_curve_of_the_true_ratio_is_the_diagonal(seed):
    curve = calibration_curve(*ratios(seed, 3000, 1000))
    assert len(curve.count) == 10
    assert curve.count.sum() == 4000
    assert np.ptp(curve.count) <= 1
    assert (np.diff(curve.predicted) > 0).all()
    assert ((curve.low <= curve.predicted) & (curve.predicted <= curve.high)).sum() >= 7
    wrong = calibration_curve(*(3 * part for part in ratios(seed)))  # too sure of itself
    assert wrong.predicted[0] < wrong.low[0]
    assert wrong.predicted[-1] > wrong.high[-1]


def test_curve_intervals_are_wilsons():
    real, generated = ratios(0, 200, 200)
    curve = calibration_curve(real, generated, bins=1)
    want = stats.binomtest(200, 400).proportion_ci(method="wilson")
    assert (curve.low[0], curve.high[0]) == pytest.approx((want.low, want.high), abs=1e-6)
    assert curve.observed[0] == 0.5
    # Of unequal numbers, as if equal, at the effective size (Σw)²/Σw² = 4nm/(n + m).
    curve = calibration_curve(real, generated[:50], bins=1)
    want = stats.binomtest(80, 160).proportion_ci(method="wilson")
    assert (curve.low[0], curve.high[0]) == pytest.approx((want.low, want.high), abs=1e-6)
    assert (curve.observed[0], curve.count[0]) == (pytest.approx(0.5), 250)


def test_curve_with_ties_and_single_samples():
    curve = calibration_curve([1.0], [1.0])
    assert curve.count.tolist() == [2]
    assert curve.observed.tolist() == [0.5]
    assert len(calibration_curve([1.0, 2.0], [1.0, 2.0]).count) == 2
    assert set(curve.to_result()) == {"predicted", "observed", "low", "high", "count"}
