"""MIX-GAN: several generators and discriminators that divide the data among them (Tang, 2020).

Tang, *Lessons Learned from the Training of GANs on Artificial Datasets*, IEEE Access, 2020, §V. A
continuous generator cannot leave the space between two modes empty, and several can. In the full
form (MIX+GAN, Arora et al., 2017; :mod:`diagan_plugin.remedies.mixtures.mix_plus_gan`) each
discriminator sees all samples of each generator; here batches are split, so that n generators and n
discriminators cost no more samples than one pair does.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from diagan_plugin.flags import at_least
from diagan_plugin.remedies.arguments import argument_group
from diagan_plugin.remedies.pacgan import plugin as pacgan
from diagan_plugin.unused import warn_of_unused
from gan_registry.errors import UserError
from gan_registry.hookspecs import hookimpl

if TYPE_CHECKING:
    from gan_registry.live_run import LiveRun
    from gan_registry.report.document import Report

NAME = "mix_gan"
CLASSES = ("all", "subset")


def is_active(run: LiveRun) -> bool:
    """Whether a run has several generators or discriminators that split batches."""
    options = run.options.get(NAME, {})
    return bool(options.get("generators", 1) > 1 or options.get("discriminators", 1) > 1)


class MixGanPlugin:
    """MIX-GAN as hooks: it replaces the networks, and the host does the rest."""

    @hookimpl
    def gan_add_options(self, parser: argparse.ArgumentParser) -> None:
        """Adds `--mix-…`."""
        add = argument_group(
            parser, NAME, "MIX-GAN", "several generators and discriminators, which split batches"
        )
        add("--mix-generators", "generators", type=at_least(int, 1), default=1, metavar="N",
            help="number of generators")  # fmt: skip
        add("--mix-discriminators", "discriminators", type=at_least(int, 1), default=1,
            metavar="N", help="number of discriminators")  # fmt: skip
        add("--mix-classes", "classes", choices=CLASSES, default="all",
            help="let each generator make all classes, or a subset of its own")  # fmt: skip

    @hookimpl
    def gan_build(self, run: LiveRun) -> None:
        """Refuses what replaces networks too, and uneven parts; warns of what does nothing."""
        options = run.options[NAME]
        if not is_active(run):
            warn_of_unused(run, NAME, "--mix-generators N with N of at least 2")
            return
        if pacgan.is_active(run):
            raise UserError(
                "--pacgan packs neighbours in a batch, and --mix-… deals a batch out to several "
                "networks: use one of the two."
            )
        check_batch(run, options["generators"], options["discriminators"], "--mix-…")

    @hookimpl
    def gan_models_ready(self, run: LiveRun) -> None:
        """Puts mixtures in the place of G and D."""
        if not is_active(run):
            return
        from diagan_plugin.remedies.mixtures.dealing import class_owners
        from diagan_plugin.remedies.mixtures.networks import MixtureGenerator, RoutedDiscriminator

        options = run.options[NAME]
        generators, owners = options["generators"], None
        if options["classes"] == "subset":
            if not getattr(run.backbone, "conditional", False):
                raise UserError(
                    "--mix-classes subset divides the classes that a conditional generator is "
                    "asked for: set MODEL.g_cond_mtd, or use --mix-classes all."
                )
            owners = class_owners(run.dataset.num_classes, generators)
        prior = run.config.MODEL.z_prior
        run.generator = MixtureGenerator(
            several(run, "generator", generators), prior=prior, owners=owners
        )
        run.discriminator = RoutedDiscriminator(
            several(run, "discriminator", options["discriminators"]), generators
        )

    @hookimpl
    def gan_result(self, run: LiveRun) -> Mapping[str, Any] | None:
        """Adds what each generator makes."""
        if not is_active(run):
            return None
        from diagan_plugin.remedies.mixtures.report import mixture_result

        return {NAME: mixture_result(run)}

    @hookimpl
    def gan_plan(self, run: LiveRun) -> Mapping[str, Any] | None:
        """Says how batches will be split."""
        if not is_active(run):
            return None
        options = run.options[NAME]
        return {
            kind: f"{options[kind]}, {run.batch_size // options[kind]} samples of a batch each"
            for kind in ("generators", "discriminators")
        }

    @hookimpl
    def gan_report(self, run: LiveRun, report: Report) -> None:
        """Adds each generator's share and samples."""
        if is_active(run):
            from diagan_plugin.remedies.mixtures.report import add_mixture_section

            add_mixture_section(report, run)


def several(run: LiveRun, kind: str, count: int) -> list[Any]:
    """Returns a run's "generator" or "discriminator" and others with weights of their own."""
    return [getattr(run, kind), *(run.build(kind) for _ in range(count - 1))]


def check_batch(run: LiveRun, generators: int, discriminators: int, flag: str) -> None:
    """Refuses batches that cannot be split evenly.

    Raises:
        UserError: Some generator or discriminator would see more than another.
    """
    parts = generators * discriminators * run.world_size
    if run.batch_size % parts:
        raise UserError(
            f"{flag} splits a batch among {generators} generators and {discriminators} "
            f"discriminators on {run.world_size} process(es): OPTIMIZATION.batch_size "
            f"({run.batch_size}) must be a multiple of {parts}."
        )
