"""What the two commands do once their flags are known to make sense."""

from __future__ import annotations

import argparse
import json
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from diagan_plugin.blackbox.collapse_diagnosis import MIN_ANCHORS, MIN_SAMPLES, diagnose
from diagan_plugin.blackbox.diagnosis_report import (
    Part,
    calibration_summary,
    summary,
    write_json,
    write_report,
)
from diagan_plugin.blackbox.feature_extraction import (
    PIXELS,
    best_for_images,
    choose_extractor,
    features_of,
)
from diagan_plugin.blackbox.generator_calibration import calibrate, prior_latents
from diagan_plugin.blackbox.generators import BATCH, Generator, Samples, open_generator
from diagan_plugin.blackbox.latent_sampler import CalibratedLatents, draw_prior
from diagan_plugin.blackbox.mccs import unit_vectors
from diagan_plugin.blackbox.thresholds import NUM, min_samples
from gan_registry.datasets.base import Dataset
from gan_registry.datasets.opening import open_images
from gan_registry.errors import UserError
from gan_registry.evaluation.sample_files import write_samples
from gan_registry.features.base import FeatureExtractor
from gan_registry.features.choose import AUTO
from gan_registry.metrics.base import Progress
from gan_registry.plugins import PluginManager
from gan_registry.seeding import derive_seed, generator_for
from gan_registry.training.run import resolve_device


def diagnose_samples(arguments: argparse.Namespace, progress: Progress) -> None:
    """Carries out `diagan diagnose`."""
    device = resolve_device(arguments.device)
    if arguments.samples is not None:
        anchors, samples = _split(arguments)
    else:
        _check_counts(arguments, arguments.num or NUM, arguments.anchors or NUM)
        generator = _open(arguments)
        anchors, samples = (
            _all(Samples(generator, prior_latents(generator, count or NUM, arguments.seed, what)))
            for count, what in ((arguments.anchors, "anchors"), (arguments.num, "samples"))
        )
    extractor = _extractor(arguments, samples[0], device)
    features = [
        features_of(extractor, *part, device=device, what=what, progress=progress)
        for part, what in ((anchors, "anchors"), (samples, "samples"))
    ]
    center = features[1].double().mean(0) if arguments.center else None
    found = diagnose(
        unit_vectors(features[0], center), unit_vectors(features[1], center),
        theta=arguments.theta, radius=arguments.radius, modes=arguments.modes,
        seed=arguments.seed, progress=progress,
    )  # fmt: skip
    facts = {
        "source": str(arguments.samples or arguments.generator),
        "features": arguments.features,
        "centered": bool(arguments.center),
        "seed": arguments.seed,
    }
    if arguments.out is not None:
        page = write_report(arguments.out, found, facts, anchors, samples)
    if arguments.json:
        print(json.dumps({**facts, **found.to_dict()}, indent=2, allow_nan=False))
        return
    print(summary(found))
    if arguments.out is not None:
        print(f"report  {page}")


def calibrate_generator(arguments: argparse.Namespace, progress: Progress) -> None:
    """Carries out `diagan calibrate`."""
    num, anchors = arguments.num or NUM, arguments.anchors or NUM
    ruled = arguments.theta is None or arguments.radius is None
    _check_counts(arguments, num, anchors, min_samples() if ruled else MIN_SAMPLES)
    device = resolve_device(arguments.device)
    generator = _open(arguments)
    some = draw_prior(2, generator.z_dim, generator.prior, generator_for(0, "some"))
    trial = Samples(generator, some)
    extractor = _extractor(arguments, trial, device)
    wanted = {None: 0, "auto": 0, "all": None}
    directions = (
        wanted[arguments.hull_dimensions]
        if arguments.hull_dimensions in wanted
        else int(arguments.hull_dimensions)
    )
    if directions is not None and directions > generator.z_dim:
        raise UserError(
            f"--hull-dimensions is {directions}, but a latent has {generator.z_dim} numbers."
        )
    if arguments.clusters is not None and arguments.clusters > num:
        raise UserError(f"--clusters is {arguments.clusters}, more than the {num} samples.")
    found = calibrate(
        generator, extractor, arguments.method, num=num, anchors=anchors, modes=arguments.modes,
        theta=arguments.theta, radius=arguments.radius, center=arguments.center,
        clusters=arguments.clusters, rule=arguments.weights or "least", directions=directions,
        seed=arguments.seed, device=device, progress=progress,
    )  # fmt: skip
    content = {
        "generator": str(arguments.generator),
        "features": arguments.features,
        "seed": arguments.seed,
        "sampler": str(arguments.out),
        **found.to_dict(),
    }
    found.latents.about = {"generator": generator.identity, "features": arguments.features}
    found.latents.save(arguments.out)
    write_json(arguments.out.with_suffix(".json"), content)
    if arguments.json:
        print(json.dumps(content, indent=2, allow_nan=False))
    else:
        print(calibration_summary(found))
        print(f"sampler  {arguments.out}")
    if arguments.samples_out is not None:
        _write(arguments, generator, found.latents)


def draw_samples(arguments: argparse.Namespace, progress: Progress) -> None:
    """Carries out `diagan calibrate --use`."""
    latents = CalibratedLatents.load(arguments.use)
    if arguments.z_dim is None and arguments.generator.is_file():
        arguments.z_dim = latents.z_dim
    generator = _open(arguments)
    if generator.z_dim != latents.z_dim:
        raise UserError(
            f"{arguments.use} draws latents of {latents.z_dim} numbers, but the generator "
            f"{generator.name} takes {generator.z_dim}."
        )
    if latents.about.get("generator", generator.identity) != generator.identity:
        warnings.warn(
            f"{arguments.use} was calibrated for another generator than {generator.name}.",
            stacklevel=2,
        )
    _write(arguments, generator, latents)


class _Source:
    """Samples from calibrated latents, as `write_samples` asks for them."""

    def __init__(self, generator: Generator, latents: CalibratedLatents, seed: int) -> None:
        self._generator, self._latents, self._seed = generator, latents, seed

    def batches(self, n: int) -> Any:
        for z in self._latents.batches(n, self._seed):
            for part in torch.split(z, BATCH):
                yield Samples(self._generator, part).__getitems__(range(len(part)))[0]

    def statistics(self) -> dict[str, float]:
        return {}


def _write(arguments: argparse.Namespace, generator: Generator, latents: CalibratedLatents) -> None:
    source = _Source(generator, latents, arguments.seed)
    some: Tensor = latents.sample(1, arguments.seed)
    write_samples(source, arguments.draw, arguments.samples_out, Samples(generator, some))
    if not arguments.json:
        print(f"wrote {arguments.draw} samples to {arguments.samples_out}")


def _extractor(
    arguments: argparse.Namespace, dataset: Dataset, device: torch.device
) -> FeatureExtractor:
    """Builds what `--features` asks for; where that is "auto", the flag then says what it is."""
    catalogs = PluginManager().catalogs
    if arguments.features != AUTO or dataset.kind != "image":
        return choose_extractor(arguments.features, catalogs, dataset, device)
    arguments.features, extractor = best_for_images(catalogs, dataset, device)
    arguments.center |= arguments.features == PIXELS  # which do not lie around 0
    return extractor


def _open(arguments: argparse.Namespace) -> Generator:
    return open_generator(
        arguments.generator, arguments.z_dim, arguments.prior, arguments.device, arguments.trust
    )


def _all(samples: Dataset) -> Part:
    return samples, np.arange(len(samples), dtype=np.int64)


def _split(arguments: argparse.Namespace) -> tuple[Part, Part]:
    """Shares the samples of a folder out, at random, to anchors and to what they are held against.

    Without flags, half of them become anchors, at most 10,000.
    """
    path: Path = arguments.samples
    try:
        dataset = open_images(path, arguments.img_size)
    except UserError as error:
        text = str(error).replace("all must have one size", "--img-size N brings all to one size")
        raise UserError(text) from error
    total = len(dataset)
    anchors = arguments.anchors or min(NUM, total // 2)
    num = arguments.num or min(NUM, total - anchors)
    if anchors + num > total:
        raise UserError(
            f"{path} has {total} samples, fewer than {anchors} anchors and {num} others; none may "
            "be both. Lower --anchors or --num."
        )
    _check_counts(arguments, num, anchors)
    rng = np.random.default_rng(derive_seed(arguments.seed, "split"))
    order = rng.permutation(total).astype(np.int64)
    return (dataset, order[:anchors]), (dataset, order[anchors : anchors + num])


def _check_counts(
    arguments: argparse.Namespace, num: int, anchors: int, least: int = MIN_SAMPLES
) -> None:
    """Refuses too few, before anything heavy begins."""
    half = " (half of --samples)" if getattr(arguments, "samples", None) else ""
    if num < least:
        raise UserError(f"{num} samples are too few: it takes at least {least}{half}.")
    if anchors < MIN_ANCHORS:
        raise UserError(f"{anchors} anchors are too few: it takes at least {MIN_ANCHORS}{half}.")
