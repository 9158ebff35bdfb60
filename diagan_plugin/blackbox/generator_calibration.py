"""Calibrates a generator and measures what came of it, on samples that had no part in it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from diagan_plugin.blackbox.bootstrap import Interval, mccs_interval, share_interval
from diagan_plugin.blackbox.calibrate_hull import HullLatents, fit_hull
from diagan_plugin.blackbox.calibrate_mixture import Rule, fit_mixture
from diagan_plugin.blackbox.collapse_diagnosis import BlackBoxDiagnosis, diagnose
from diagan_plugin.blackbox.feature_extraction import features_of
from diagan_plugin.blackbox.generators import Generator, Samples
from diagan_plugin.blackbox.latent_sampler import CalibratedLatents, draw_prior
from diagan_plugin.blackbox.mccs import (
    angular_distances,
    collapse_score,
    similarity,
    unit_vectors,
)
from diagan_plugin.blackbox.thresholds import SHARE
from gan_registry.errors import UserError
from gan_registry.features.base import FeatureExtractor
from gan_registry.metrics.base import Progress, no_progress
from gan_registry.metrics.frechet import fid
from gan_registry.seeding import derive_seed, generator_for

Method = Literal["mixture", "hull"]
METHODS: tuple[Method, ...] = ("mixture", "hull")


@dataclass(frozen=True)
class Level:
    """How dense a mode is.

    Attributes:
        mccs: MCCS of its anchor.
        mccs_interval: Interval of that.
        share: Share of the samples that are its neighbours.
        share_interval: Interval of that.
    """

    mccs: float
    mccs_interval: Interval
    share: float
    share_interval: Interval


@dataclass(frozen=True)
class Calibration:
    """A calibrated sampler and what it does.

    Attributes:
        latents: The sampler.
        before: The diagnosis that it rests on.
        after: A diagnosis with the sampler, with the same θ and r; its modes are its own.
        modes: Each calibrated mode without and with the sampler, on fresh samples.
        drift: Fréchet distance between fresh samples without and with the sampler.
        drift_by_chance: That of two draws without.
    """

    latents: CalibratedLatents
    before: BlackBoxDiagnosis
    after: BlackBoxDiagnosis
    modes: tuple[tuple[Level, Level], ...]
    drift: float
    drift_by_chance: float

    def to_dict(self) -> dict[str, Any]:
        """Returns it as plain values."""

        def plain(level: Level) -> dict[str, Any]:
            return {
                key: list(value) if isinstance(value, Interval) else value
                for key, value in vars(level).items()
            }

        return {
            "method": self.latents.method,
            "modes": [{"before": plain(b), "after": plain(a)} for b, a in self.modes],
            "drift": self.drift,
            "drift_by_chance": self.drift_by_chance,
            "diagnosis_before": self.before.to_dict(),
            "diagnosis_after": self.after.to_dict(),
        }


def prior_latents(generator: Generator, n: int, seed: int, purpose: str) -> Tensor:
    """Draws latents [n, z_dim] of a generator's prior, a function of seed and purpose."""
    return draw_prior(n, generator.z_dim, generator.prior, generator_for(seed, purpose))


def calibrate(
    generator: Generator,
    extractor: FeatureExtractor,
    method: Method,
    *,
    num: int,
    anchors: int,
    modes: int = 1,
    theta: float | None = None,
    radius: float | None = None,
    center: bool = False,
    clusters: int | None = None,
    rule: Rule = "least",
    directions: int | None = 0,
    seed: int = 0,
    device: torch.device | None = None,
    progress: Progress = no_progress,
) -> Calibration:
    """Diagnoses a generator, reshapes its latent distribution, and measures both on fresh samples.

    The generator is asked for 3·num + 2·anchors samples: `num` of each draw and `anchors` of each
    diagnosis, by features of the `extractor` (on `device`), from which `center` subtracts the mean
    of the first draw's. θ, r, `modes`, `seed` and `progress` are as in
    :func:`~diagan_plugin.blackbox.collapse_diagnosis.diagnose`. The method is "mixture" (algorithm
    1), with `clusters` and `rule` as in
    :func:`~diagan_plugin.blackbox.calibrate_mixture.fit_mixture`, or "hull" (algorithm 2), with
    `directions` as in :func:`~diagan_plugin.blackbox.calibrate_hull.fit_hull`.

    Raises:
        UserError: The generator fails, or a mode has too few neighbours.
        ValueError: An argument is out of its range.
    """
    if method not in METHODS:
        raise ValueError(f"Argument `method` must be one of {METHODS}, but got {method!r}.")
    if method == "mixture" and generator.prior != "gaussian":
        raise UserError(
            "A mixture of Gaussians cannot stand for uniform latents; take --method hull."
        )

    def features(z: Tensor, what: str) -> Tensor:
        samples = Samples(generator, z)
        return features_of(extractor, samples, device=device, what=what, progress=progress)

    z = prior_latents(generator, num, seed, "samples")
    raw = features(z, "samples")
    middle = raw.double().mean(0) if center else None
    a = unit_vectors(
        features(prior_latents(generator, anchors, seed, "anchors"), "anchors"), middle
    )
    c = unit_vectors(raw, middle)
    settings: dict[str, Any] = {"share": SHARE, "modes": modes, "seed": seed, "progress": progress}
    before = diagnose(a, c, theta=theta, radius=radius, **settings)

    rows = [mode.anchor for mode in before.modes]
    distances = angular_distances(a[rows], c).numpy().astype(np.float64)
    target = before.typical_share
    latents: CalibratedLatents
    if method == "mixture":
        near = (distances <= before.radius).T
        latents = fit_mixture(z.numpy(), near, target, clusters=clusters, rule=rule, seed=seed)
    else:
        rng = np.random.default_rng(derive_seed(seed, "hull"))
        hulls = [
            fit_hull(
                z.numpy(), of_mode, before.radius, target,
                directions=directions, prior=generator.prior, rng=rng,
            )
            for of_mode in distances
        ]  # fmt: skip
        latents = HullLatents(hulls, generator.z_dim, generator.prior)

    without = features(prior_latents(generator, num, seed, "without"), "samples without")
    drawn = latents.sample(num + anchors, derive_seed(seed, "with"))
    with_ = features(drawn[:num], "samples with")
    new = unit_vectors(features(drawn[num:], "anchors with"), middle)
    fresh = [unit_vectors(one, middle) for one in (without, with_)]
    after = diagnose(new, fresh[1], theta=before.theta, radius=before.radius, **settings)
    draw = np.random.default_rng(derive_seed(seed, "levels"))
    changes = tuple(
        (
            level_of(a[row], fresh[0], before.theta, before.radius, draw),
            level_of(a[row], fresh[1], before.theta, before.radius, draw),
        )
        for row in rows
    )
    return Calibration(
        latents, before, after, changes, fid(without, with_), fid(raw, without)
    )  # fmt: skip


def level_of(
    anchor: Tensor,
    samples: Tensor,
    theta: float,
    radius: float,
    rng: np.random.Generator,
) -> Level:
    """Measures how dense samples are around an anchor that they had no part in choosing.

    Both are features of length 1, float32 [D] and [N, D]; `rng` is that of the intervals
    (:mod:`diagan_plugin.blackbox.bootstrap`).
    """
    distances = angular_distances(anchor[None], samples)[0]
    similar = similarity(distances, theta).cpu().numpy().astype(np.float64)
    near = int((distances <= radius).sum())
    return Level(
        float(collapse_score(similar.mean())),
        mccs_interval(similar, rng),
        near / len(samples),
        share_interval(near, len(samples), rng),
    )
