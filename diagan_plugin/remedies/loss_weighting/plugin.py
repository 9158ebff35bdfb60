"""Weighting real samples in D's loss by their discrepancy score, instead of sampling them by it.

The alternative to Dia's weighted sampling (Self-Diagnosing GAN, section 4): batches stay uniform,
and each real term is multiplied by N · P_s(i). The expected loss is the same, as the weights have
mean 1; what differs is its noise. A rare sample with a large weight comes seldom and then with a
large gradient, where sampling shows it often with a small one.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from diagan_plugin.dia.drivers import DrivingPlugin
from diagan_plugin.dia.options import NAME as DIA
from diagan_plugin.dia.options import DiaOptions, weights_the_loss
from diagan_plugin.remedies.arguments import argument_group
from diagan_plugin.remedies.timing import phase1_end
from gan_registry.errors import UserError
from gan_registry.hookspecs import hookimpl

if TYPE_CHECKING:
    from torch import Tensor

    from gan_registry.live_run import LiveRun
    from gan_registry.records import Real

NAME = "loss_weighting"

_OF_DIAGNOSIS = ("groups", "holdout")
"""Entries of `result.json` that `--diagnose` gives, too."""


class LossWeightingPlugin(DrivingPlugin):
    """Loss weighting as hooks; Dia's options say how the samples are scored."""

    @hookimpl
    def gan_add_options(self, parser: argparse.ArgumentParser) -> None:
        """Adds `--loss-weighting`."""
        add = argument_group(
            parser, NAME, "Loss weighting",
            "emphasise under-represented samples in D's loss, not by sampling",
        )  # fmt: skip
        add("--loss-weighting", "by", choices=("none", "ldr"), default="none",
            help="weight real samples by their score from phase 2 on; the --dia-… flags "
            "apply")  # fmt: skip

    @hookimpl
    def gan_build(self, run: LiveRun) -> None:
        """Refuses what would weight twice; asks for DRS afterwards, as weighted sampling does."""
        if not is_active(run):
            return
        if DIA not in run.options:
            raise UserError("--loss-weighting needs the plugin 'dia', which is not loaded.")
        if run.config.RUN.sampler != "uniform":
            raise UserError(
                f"--loss-weighting needs uniform batches, not --sampler {run.config.RUN.sampler}: "
                "choose --sampler uniform, or leave --loss-weighting out."
            )
        from diagan_plugin.dia.plugin import warn_of_no_phase2
        from diagan_plugin.dia.refusals import check_options

        options = DiaOptions(**run.options[DIA])
        if options.aux == "importance":
            raise UserError(
                "--dia-aux importance undoes weighted draws, and --loss-weighting draws uniformly: "
                "use --dia-aux uniform or none."
            )
        if options.diagnose and options.aux_ratio:
            raise UserError(
                "--diagnose beside --loss-weighting records apart, and D has one layer of "
                "--dia-aux-ratio: leave one of the two out."
            )
        check_options(options, run.total_steps, weighted=True)
        warn_of_no_phase2(options, run.total_steps)
        if options.aux != "none":
            run.postprocessors.append("drs")

    @hookimpl
    def gan_models_ready(self, run: LiveRun) -> None:
        """Sets up the statistics."""
        if not is_active(run):
            return
        from diagan_plugin.dia.plugin import options_of
        from diagan_plugin.dia.refusals import check_visits
        from diagan_plugin.remedies.loss_weighting.driver import WeightingDriver

        options = options_of(run)
        check_visits(options, run.samples_per_step, len(run.dataset), run.total_steps, True)
        self.drive(run, WeightingDriver(run, options))

    @hookimpl
    def gan_discriminator_weights(self, run: LiveRun, real: Real) -> tuple[Tensor, None] | None:
        """Weights the real terms of D's loss in phase 2."""
        driver = self.driver(run)
        if driver is None:
            return None
        from diagan_plugin.remedies.loss_weighting.driver import WeightingDriver
        from diagan_plugin.remedies.loss_weighting.weights import loss_weights

        assert isinstance(driver, WeightingDriver)
        if driver.active_probabilities is None:  # phase 1
            return None
        return loss_weights(driver.active_probabilities, real.indices).to(run.device), None

    @hookimpl
    def gan_result(self, run: LiveRun) -> Mapping[str, Any] | None:
        """Adds the summary of the weights, and what Dia does not tell where it diagnoses beside."""
        result = super().gan_result(run)
        if result is None or not run.options[DIA]["diagnose"]:
            return result
        return {name: entry for name, entry in result.items() if name not in _OF_DIAGNOSIS}

    @hookimpl
    def gan_plan(self, run: LiveRun) -> Mapping[str, Any] | None:
        """Says when it will weight."""
        if not is_active(run):
            return None
        from diagan_plugin.dia.plugin import options_of
        from diagan_plugin.dia.schedule import plan

        options = options_of(run)
        as_dia = plan(
            options, run.total_steps, True, len(run.dataset), run.samples_per_step,
            0 if run.holdout is None else len(run.holdout),
        )  # fmt: skip
        steps = f"steps {phase1_end(run) + 1}–{run.total_steps}"
        return {**as_dia, "phase 2": f"{steps}, real terms weighted by score (k = {options.k})"}


def is_active(run: LiveRun) -> bool:
    """Whether loss weighting was asked for."""
    return weights_the_loss(run.options)
