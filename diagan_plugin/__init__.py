"""diagan_plugin: finds the training samples a GAN fails to learn, and makes it learn them.

Public names resolve lazily, so that importing the package (and `--help`) stays free of torch.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gan_registry.lazy import lazy_names

if TYPE_CHECKING:
    from diagan_plugin.auxiliary.discriminator import (
        AuxiliaryDiscriminator as AuxiliaryDiscriminator,
    )
    from diagan_plugin.hosts.own_loop.dia import Dia as Dia
    from diagan_plugin.postprocessing.after_the_fact import (
        train_after_the_fact as train_after_the_fact,
    )
    from diagan_plugin.postprocessing.calibration import IsotonicCalibration as IsotonicCalibration
    from diagan_plugin.postprocessing.calibration import PlattCalibration as PlattCalibration
    from diagan_plugin.postprocessing.metropolis_hastings import (
        MetropolisHastingsSampler as MetropolisHastingsSampler,
    )
    from diagan_plugin.postprocessing.rejection import RejectionSampler as RejectionSampler
    from diagan_plugin.postprocessing.threshold import ThresholdSampler as ThresholdSampler
    from diagan_plugin.recording.laplace import LaplaceLDRV as LaplaceLDRV
    from diagan_plugin.recording.laplace import laplace_ldrv as laplace_ldrv
    from diagan_plugin.recording.ratio_head import RatioHead as RatioHead
    from diagan_plugin.recording.tracker import LDRTracker as LDRTracker
    from diagan_plugin.report.diagnosis import Diagnosis as Diagnosis
    from diagan_plugin.report.diagnosis import load_diagnosis as load_diagnosis
    from diagan_plugin.report.export import load_export as load_export
    from diagan_plugin.sampling.sampler import DiaBatchSampler as DiaBatchSampler
    from diagan_plugin.sampling.sampler import DiaSampler as DiaSampler
    from diagan_plugin.scoring.score import discrepancy_score as discrepancy_score
    from diagan_plugin.scoring.score import sampling_probabilities as sampling_probabilities
    from diagan_plugin.scoring.weights import WeightSummary as WeightSummary
    from diagan_plugin.scoring.weights import summarize_weights as summarize_weights
    from diagan_plugin.scoring.weights import weight_warnings as weight_warnings

__version__ = "0.1.0"

_HOME = {
    "AuxiliaryDiscriminator": "diagan_plugin.auxiliary.discriminator",
    "IsotonicCalibration": "diagan_plugin.postprocessing.calibration",
    "MetropolisHastingsSampler": "diagan_plugin.postprocessing.metropolis_hastings",
    "PlattCalibration": "diagan_plugin.postprocessing.calibration",
    "ThresholdSampler": "diagan_plugin.postprocessing.threshold",
    "train_after_the_fact": "diagan_plugin.postprocessing.after_the_fact",
    "Dia": "diagan_plugin.hosts.own_loop.dia",
    "DiaBatchSampler": "diagan_plugin.sampling.sampler",
    "DiaSampler": "diagan_plugin.sampling.sampler",
    "Diagnosis": "diagan_plugin.report.diagnosis",
    "LDRTracker": "diagan_plugin.recording.tracker",
    "RatioHead": "diagan_plugin.recording.ratio_head",
    "LaplaceLDRV": "diagan_plugin.recording.laplace",
    "RejectionSampler": "diagan_plugin.postprocessing.rejection",
    "WeightSummary": "diagan_plugin.scoring.weights",
    "discrepancy_score": "diagan_plugin.scoring.score",
    "load_diagnosis": "diagan_plugin.report.diagnosis",
    "load_export": "diagan_plugin.report.export",
    "laplace_ldrv": "diagan_plugin.recording.laplace",
    "sampling_probabilities": "diagan_plugin.scoring.score",
    "summarize_weights": "diagan_plugin.scoring.weights",
    "weight_warnings": "diagan_plugin.scoring.weights",
}

__getattr__, __dir__, __all__ = lazy_names(__name__, _HOME)
