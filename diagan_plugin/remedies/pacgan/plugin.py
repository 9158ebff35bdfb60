"""PacGAN: D judges m samples at a time, all real or all generated (Lin et al., 2018).

Lin, Khetan, Fanti and Oh, *PacGAN: The power of two samples in generative adversarial networks*,
arXiv:1712.04086. One sample of a collapsed generator may look perfect; two that are alike give it
away. D is built for m times the channels, and nothing else changes. Its answer is one for each
pack, so that what needs one for each sample, as Dia does, has to ask a second discriminator that
looks at single samples.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from diagan_plugin.dia.options import NAME as DIA
from diagan_plugin.dia.options import weights_the_loss
from diagan_plugin.flags import at_least
from diagan_plugin.postprocessing.options import JUDGED_BY_RUN
from diagan_plugin.postprocessing.options import NAME as POSTPROCESSING
from diagan_plugin.remedies.arguments import argument_group
from diagan_plugin.unused import warn_of_unused
from gan_registry.errors import UserError
from gan_registry.hookspecs import hookimpl

if TYPE_CHECKING:
    from torch import Tensor

    from gan_registry.live_run import LiveRun
    from gan_registry.records import Fake, Real

NAME = "pacgan"


def is_active(run: LiveRun) -> bool:
    """Whether a run packs samples."""
    return bool(run.options.get(NAME, {}).get("size", 1) > 1)


class PacGanPlugin:
    """PacGAN as hooks."""

    @hookimpl
    def gan_add_options(self, parser: argparse.ArgumentParser) -> None:
        """Adds `--pacgan`."""
        add = argument_group(parser, NAME, "PacGAN", "let D judge several samples at a time")
        add("--pacgan", "size", type=at_least(int, 1), default=1, metavar="M",
            help="samples of a pack; 1 packs nothing")  # fmt: skip
        add("--pacgan-unpacked", "unpacked", action="store_true", default=False,
            help="train a discriminator of single samples beside it, as --dia-… and DRS need "
            "one")  # fmt: skip

    @hookimpl
    def gan_build(self, run: LiveRun) -> None:
        """Refuses what needs one answer for each sample, and warns of options that do nothing."""
        if not is_active(run):
            warn_of_unused(run, NAME, "--pacgan M with M of at least 2")
            return
        size, share = run.options[NAME]["size"], run.batch_size // run.world_size
        if share % size:
            raise UserError(
                f"--pacgan {size} cuts batches into packs of {size}: OPTIMIZATION.batch_size "
                f"({run.batch_size}, on {run.world_size} process(es)) must be a multiple of "
                f"{size * run.world_size}."
            )
        if weights_the_loss(run.options):
            raise UserError(
                "--loss-weighting weights single samples, and --pacgan has one loss term for a "
                "whole pack: use --sampler dia with --pacgan-unpacked, or leave --pacgan out."
            )
        _check_samples(run)
        if DIA in run.options:
            _check_dia(run)

    @hookimpl
    def gan_models_ready(self, run: LiveRun) -> None:
        """Puts the packing discriminator in the place of D."""
        if not is_active(run):
            return
        from diagan_plugin.remedies.pacgan.networks import PackedDiscriminator

        options, backbone = run.options[NAME], run.config.MODEL.backbone
        if getattr(run.backbone, "conditional", False):
            raise UserError(
                "--pacgan packs samples of any class together, and D cannot take several labels: "
                "set MODEL.g_cond_mtd and MODEL.d_cond_mtd to W/O."
            )
        if callable(getattr(run.backbone, "rotation_loss", None)):
            raise UserError(
                f"--pacgan cannot be used with MODEL.backbone {backbone}, whose D also classifies "
                "single images by their rotation: use sngan."
            )
        channels = options["size"] * run.dataset.sample_shape[0]
        try:
            packed = run.build("discriminator", in_channels=channels)
        except ValueError as error:
            raise UserError(
                f"--pacgan needs a discriminator of {channels} channels, and MODEL.backbone "
                f"{backbone} builds none: {error}"
            ) from error
        unpacked = run.discriminator if options["unpacked"] else None
        run.discriminator = PackedDiscriminator(packed, options["size"], unpacked)

    @hookimpl
    def gan_train_start(self, run: LiveRun) -> None:
        """Lets D judge packs while the networks are updated, and single samples elsewhere."""
        if is_active(run):
            from diagan_plugin.remedies.pacgan.networks import PackingObjective, packed_of

            run.objective = PackingObjective(run.objective, packed_of(run.discriminator))

    @hookimpl
    def gan_discriminator_penalty(self, run: LiveRun, real: Real, fake: Fake) -> Tensor | None:
        """Trains the discriminator of single samples on the same batch, by the same loss."""
        if not is_active(run) or not run.options[NAME]["unpacked"]:
            return None
        from diagan_plugin.remedies.pacgan.networks import packed_of

        network = packed_of(run.discriminator).unpacked
        assert network is not None
        loss = run.loss.real_terms(network(real.x, real.y), real.y).mean()
        loss = loss + run.loss.fake_terms(network(fake.x, fake.y), fake.y).mean()
        run.log({"loss/unpacked discriminator": loss.detach()})
        return loss

    @hookimpl
    def gan_plan(self, run: LiveRun) -> Mapping[str, Any] | None:
        """Says how many samples D judges at a time."""
        if not is_active(run):
            return None
        size, beside = run.options[NAME]["size"], run.options[NAME]["unpacked"]
        rows: dict[str, Any] = {"packs": f"{size} samples each"}
        if beside:
            # Two batches forward and backward a step, at about three forward passes each.
            rows["discriminator_samples"] = 6 * run.samples_per_step * run.total_steps
        return rows


def _check_samples(run: LiveRun) -> None:
    """Refuses, before the training, to ask a discriminator of packs about single samples later."""
    samples = run.config.RUN.samples
    if run.options[NAME]["unpacked"] or samples not in JUDGED_BY_RUN:
        return
    if run.options.get(POSTPROCESSING, {}).get("judge") != "fresh":
        raise UserError(
            f"--samples {samples} asks D about single samples, and under --pacgan it answers for "
            "whole packs: add --pacgan-unpacked, or use --post-judge fresh, drs_fresh or mh_fresh."
        )


def _check_dia(run: LiveRun) -> None:
    """Refuses a diagnosis of packs, whose logits Dia would read."""
    from diagan_plugin.dia.plugin import is_active as is_diagnosed

    if not is_diagnosed(run):
        return
    flag = "--sampler dia" if run.config.RUN.sampler == DIA else "--diagnose"
    if not run.options[NAME]["unpacked"]:
        raise UserError(
            f"{flag} reads a logit of each sample, and --pacgan has one for a whole pack: add "
            "--pacgan-unpacked, which trains a discriminator of single samples beside it."
        )
    if run.options[DIA]["record"] == "stream":
        raise UserError(
            "--dia-record stream reads the logits of training batches, which are of packs under "
            "--pacgan: use --dia-record sweep."
        )
    if run.options[DIA]["aux_ratio"]:
        raise UserError(
            "--dia-aux-ratio reads D's features, which are of packs under --pacgan: leave it out, "
            "or use LOSS.adv_loss=logistic, which needs no such layer."
        )
