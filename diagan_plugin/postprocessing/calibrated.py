"""Calibrates the discriminator of a run, on samples that it has not seen where there are any."""

from __future__ import annotations

import copy
import logging
import weakref
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from diagan_plugin.postprocessing.calibration import (
    Calibration,
    calibration_curve,
    fit_calibration,
    z_statistic,
)
from diagan_plugin.postprocessing.judges import HELD_OUT, Judge, generated_by
from diagan_plugin.postprocessing.options import PostOptions, parse_settings
from gan_registry.config.yaml_text import YamlError, load_yaml
from gan_registry.datasets.imbalance import thin
from gan_registry.errors import UserError
from gan_registry.seeding import derive_seed
from gan_registry.training.build import data_folder

if TYPE_CHECKING:
    from gan_registry.live_run import LiveRun

_LOG = logging.getLogger(__name__)
_FOUND: weakref.WeakKeyDictionary[LiveRun, dict[str, dict[str, Any]]] = weakref.WeakKeyDictionary()


class Calibrated(NamedTuple):
    """A calibration of a run's discriminator.

    Attributes:
        calibration: Maps logits to calibrated ones.
        real: Calibrated logits of real samples, float32 [n] on the device, in random order.
        z: The calibration statistic Z on samples that the calibration was not fitted to.
    """

    calibration: Calibration
    real: Tensor
    z: float


class RealSamples(NamedTuple):
    """Real samples to calibrate with: a dataset, indices [n], and whether D has not seen them."""

    dataset: object
    indices: NDArray[np.int64]
    unseen: bool


def calibrate(run: LiveRun, judge: Judge, options: PostOptions, name: str) -> Calibrated:
    """Fits the calibration to one half of the samples, and measures it with the other.

    The report shows the outcome under `name`, the post-processor's.

    Raises:
        UserError: There are fewer than 4 real samples, the logits are unusable, or the held-out
            data cannot be had.
    """
    reals = real_samples(run, judge, options)
    if len(reals.indices) < 4:
        raise UserError(
            f"Calibration takes at least 4 real samples, but {name} has {len(reals.indices)}."
        )
    if not reals.unseen and options.mh_calibration != "none":
        _LOG.warning(
            "%s calibrates D on training samples, which it rates higher than new ones. Give others "
            "with --post-holdout, or use mh_fresh, which keeps %.0f %% of the data apart.",
            name,
            100 * HELD_OUT,
        )
    real = judge.logits_of(reals.dataset, reals.indices)
    made = generated_by(run, "calibration")(len(real))
    fake = judge.logits(made.x, made.y)
    fit_real, fit_fake, real_half, fake_half = (
        part.cpu().double() for part in (real[::2], fake[::2], real[1::2], fake[1::2])
    )
    try:
        calibration = fit_calibration(options.mh_calibration, fit_real, fit_fake)
        real_after, fake_after = calibration(real_half), calibration(fake_half)
        z = z_statistic(real_after, fake_after)
        found = {
            "method": options.mh_calibration,
            "num_real": len(real),
            "num_generated": len(fake),
            "unseen": reals.unseen,
            "z_before": z_statistic(real_half, fake_half),
            "z_after": z,
            "before": calibration_curve(real_half, fake_half).to_result(),
            "after": calibration_curve(real_after, fake_after).to_result(),
        }
    except ValueError as error:
        raise UserError(
            f"{name} cannot calibrate the discriminator ({error}): check that it did not diverge, "
            "or use --mh-calibration none."
        ) from None
    _FOUND.setdefault(run, {})[name] = found
    return Calibrated(calibration, calibration(real), z)


def take_calibrations(run: LiveRun) -> dict[str, dict[str, Any]]:
    """Returns what was found since the last call, by post-processor, for `result.json`."""
    return _FOUND.pop(run, {})


def real_samples(run: LiveRun, judge: Judge, options: PostOptions) -> RealSamples:
    """Chooses real samples at random, such as D has not seen if there are any.

    Raises:
        UserError: The held-out data cannot be had.
    """
    dataset: Any = run.dataset
    if options.holdout:
        dataset, indices, unseen = held_out(run, options.holdout), None, True
    else:
        indices, unseen = judge.unseen, judge.unseen is not None
    if indices is None:
        indices = np.arange(len(dataset))
    rng = np.random.Generator(np.random.PCG64(derive_seed(run.seed, "calibration")))
    chosen = rng.permutation(indices)[: options.calibration_samples]
    return RealSamples(dataset, chosen, unseen)


def held_out(run: LiveRun, settings: str) -> Any:
    """Builds the run's dataset with some of its options changed.

    Raises:
        UserError: It does not take such options, or gives the training data again.
    """
    config = copy.deepcopy(run.config)
    try:
        changed = {key: load_yaml(value) for key, value in parse_settings(settings).items()}
    except YamlError as error:
        raise UserError(f"--post-holdout {settings}: {error}.") from error
    config.DATA.options = {**config.DATA.options, **changed}
    try:
        dataset = run.plugins.catalogs.datasets[config.DATA.name](config, data_folder(config))
        if config.DATA.minority:
            dataset = thin(dataset, config.DATA.minority)
    except UserError as error:
        raise UserError(f"--post-holdout {settings}: {error}") from None
    if dataset.fingerprint() == run.fingerprint:
        raise UserError(
            f"--post-holdout {settings} gives the training data themselves; name options that give "
            "other samples, or leave it out."
        )
    return dataset
