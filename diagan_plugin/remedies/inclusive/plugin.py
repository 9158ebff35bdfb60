"""Inclusive GAN: G also has to reconstruct every training sample (Yu et al., 2020).

Yu, Li, Zhou, Malik, Davis and Fritz, *Inclusive GAN: Improving Data and Minority Coverage in
Generative Models*, arXiv:2004.03355, after implicit maximum likelihood (IMLE; Li and Malik, 2018).
Adversarial training asks of each generated sample that it be near the data; this asks of each
training sample that a generated one be near it. The nearest of many generated samples is looked up
now and then, and in between its latent is to make the training sample.
"""

from __future__ import annotations

import argparse
import weakref
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from diagan_plugin.flags import at_least
from diagan_plugin.remedies.arguments import argument_group
from diagan_plugin.remedies.mixtures import mix_gan, mix_plus_gan
from diagan_plugin.remedies.pacgan import plugin as pacgan
from diagan_plugin.remedies.timing import CallsInStep
from diagan_plugin.unused import warn_of_unused
from gan_registry.errors import UserError
from gan_registry.hookspecs import hookimpl

if TYPE_CHECKING:
    from torch import Tensor

    from diagan_plugin.remedies.inclusive.matching import LatentMatching
    from gan_registry.live_run import LiveRun

NAME = "inclusive"
SPACES = ("raw", "discriminator")


def is_active(run: LiveRun) -> bool:
    """Whether a run has the term."""
    return bool(run.options.get(NAME, {}).get("weight", 0.0))


class InclusivePlugin:
    """The IMLE term as hooks."""

    def __init__(self) -> None:
        self._matchings: weakref.WeakKeyDictionary[LiveRun, LatentMatching] = (
            weakref.WeakKeyDictionary()
        )
        self._terms = CallsInStep()

    def matching(self, run: LiveRun) -> LatentMatching | None:
        """Returns the latents of a run's training samples, or None where nothing was asked for."""
        return self._matchings.get(run)

    @hookimpl
    def gan_add_options(self, parser: argparse.ArgumentParser) -> None:
        """Adds `--inclusive-…`."""
        add = argument_group(
            parser, NAME, "Inclusive GAN", "make G reconstruct each training sample from a latent"
        )
        add("--inclusive-weight", "weight", type=at_least(float, 0.0), default=0.0,
            metavar="LAMBDA", help="weight of the term in G's loss; 0 leaves it out")  # fmt: skip
        add("--inclusive-refresh", "refresh", type=at_least(int, 1), default=10, metavar="EPOCHS",
            help="epochs to the second search of latents")  # fmt: skip
        add("--inclusive-growth", "growth", type=at_least(float, 1.0), default=2.0,
            metavar="FACTOR", help="factor of that number after each search")  # fmt: skip
        add("--inclusive-candidates", "candidates", type=at_least(int, 1), default=2, metavar="N",
            help="generated samples of a search for each training sample")  # fmt: skip
        add("--inclusive-noise", "noise", type=at_least(float, 0.0), default=0.1, metavar="SHARE",
            help="how far latents are moved at each use, from 0 to 1")  # fmt: skip
        add("--inclusive-features", "features", choices=SPACES, default="raw",
            help="compare samples themselves, or D's features of them")  # fmt: skip
        add("--inclusive-search", "search", choices=("auto", "torch", "faiss"), default="auto",
            help="how neighbours are found; auto: faiss if it is installed")  # fmt: skip

    @hookimpl
    def gan_build(self, run: LiveRun) -> None:
        """Refuses what makes no use of a latent for each sample; warns of what does nothing."""
        if not is_active(run):
            warn_of_unused(run, NAME, "--inclusive-weight")
            return
        options = run.options[NAME]
        if options["noise"] > 1:
            raise UserError(f"--inclusive-noise must be at most 1, but is {options['noise']:g}.")
        if mix_gan.is_active(run) or mix_plus_gan.is_active(run):
            raise UserError(
                "--inclusive-weight gives each training sample a latent, and a mixture of "
                "generators (--mix-…) takes another generator for it in training: use one of the "
                "two."
            )
        if options["features"] == "discriminator" and pacgan.is_active(run):
            raise UserError(
                "--inclusive-features discriminator are those of whole packs under --pacgan: use "
                "--inclusive-features raw."
            )

    @hookimpl
    def gan_models_ready(self, run: LiveRun) -> None:
        """Gives each training sample a latent."""
        if not is_active(run):
            return
        if getattr(run.backbone, "conditional", False):
            raise UserError(
                "--inclusive-weight looks for neighbours among samples of all classes, and this "
                "generator makes one class at a time: set MODEL.g_cond_mtd and MODEL.d_cond_mtd "
                "to W/O."
            )
        from diagan_plugin.remedies.inclusive.matching import LatentMatching

        options = {key: value for key, value in run.options[NAME].items() if key != "weight"}
        matching = LatentMatching(run, **options)
        if options["features"] == "discriminator":
            try:
                matching.probe(run)
            except NotImplementedError as error:
                raise UserError(
                    f"--inclusive-features discriminator needs features, and MODEL.backbone "
                    f"{run.config.MODEL.backbone!r} gives none ({error}): use raw."
                ) from error
        self._matchings[run] = matching

    @hookimpl
    def gan_train_start(self, run: LiveRun) -> None:
        """Searches for the first time."""
        matching = self.matching(run)
        if matching is not None and not matching.searches:
            matching.search(run)

    @hookimpl
    def gan_generator_penalty(self, run: LiveRun) -> Tensor | None:
        """Adds λ times the term to G's loss, on a batch of training samples of its own."""
        matching = self.matching(run)
        if matching is None:
            return None
        from diagan_plugin.remedies.inclusive.matching import imle_term

        x, z = matching.batch(run, self._number(run))
        with run.precision.autocast():
            made = run.generator(z, None)
        term = imle_term(matching.features(run, made.float()), matching.targets(run, x))
        run.log({"inclusive/term": term.detach(), "inclusive/distance": matching.distance})
        weight: float = run.options[NAME]["weight"]
        return weight * term

    @hookimpl
    def gan_step_end(self, run: LiveRun) -> None:
        """Searches again when it is time."""
        if matching := self.matching(run):
            matching.step_end(run)

    @hookimpl
    def gan_state(self, run: LiveRun) -> Mapping[str, Any] | None:
        """Returns the latents, and when they were found."""
        matching = self.matching(run)
        return None if matching is None else matching.state()

    @hookimpl
    def gan_load_state(self, run: LiveRun, state: Mapping[str, Any]) -> None:
        """Restores them."""
        if matching := self.matching(run):
            matching.load_state(state)

    @hookimpl
    def gan_result(self, run: LiveRun) -> Mapping[str, Any] | None:
        """Adds how far the nearest generated samples were at the last search."""
        matching = self.matching(run)
        if matching is None or not matching.searches:
            return None
        return {NAME: {"searches": matching.searches, "squared_distance": matching.distance}}

    @hookimpl
    def gan_plan(self, run: LiveRun) -> Mapping[str, Any] | None:
        """Says how often it will search, and among how many."""
        if not is_active(run):
            return None
        options = run.options[NAME]
        again = f"×{options['growth']:g} after each" if options["growth"] > 1 else "each time"
        return {
            "searches": f"at the start and after {options['refresh']} epochs, {again}",
            "candidates": options["candidates"] * len(run.dataset),
        }

    def _number(self, run: LiveRun) -> int:
        """Returns the number of this micro-batch of G from the beginning of the training."""
        timing = run.config.OPTIMIZATION
        return run.step * timing.g_updates_per_step * timing.acml_steps + self._terms.number(run)
