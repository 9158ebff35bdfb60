"""Diagnosis and calibration of a generator that is a black box: no training data, no weights.

The method of Wu et al., *Black-Box Diagnosis and Calibration on GAN Intra-Mode Collapse: A Pilot
Study* (ACM TOMM 2021), called "the paper" in this package. Public names resolve lazily.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gan_registry.lazy import lazy_names

if TYPE_CHECKING:
    from diagan_plugin.blackbox.calibrate_hull import HullLatents as HullLatents
    from diagan_plugin.blackbox.calibrate_hull import fit_hull as fit_hull
    from diagan_plugin.blackbox.calibrate_mixture import MixtureLatents as MixtureLatents
    from diagan_plugin.blackbox.calibrate_mixture import fit_mixture as fit_mixture
    from diagan_plugin.blackbox.collapse_diagnosis import BlackBoxDiagnosis as BlackBoxDiagnosis
    from diagan_plugin.blackbox.collapse_diagnosis import diagnose as diagnose
    from diagan_plugin.blackbox.latent_sampler import CalibratedLatents as CalibratedLatents

_HOME = {
    "BlackBoxDiagnosis": "diagan_plugin.blackbox.collapse_diagnosis",
    "CalibratedLatents": "diagan_plugin.blackbox.latent_sampler",
    "HullLatents": "diagan_plugin.blackbox.calibrate_hull",
    "MixtureLatents": "diagan_plugin.blackbox.calibrate_mixture",
    "diagnose": "diagan_plugin.blackbox.collapse_diagnosis",
    "fit_hull": "diagan_plugin.blackbox.calibrate_hull",
    "fit_mixture": "diagan_plugin.blackbox.calibrate_mixture",
}

__getattr__, __dir__, __all__ = lazy_names(__name__, _HOME)
