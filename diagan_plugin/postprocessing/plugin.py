"""The plugin `postprocessing`: offers what corrects samples after training, and reports on it.

Imported when the command line starts, hence free of torch.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from diagan_plugin.dia.options import NAME as DIA
from diagan_plugin.dia.options import weights_the_loss
from diagan_plugin.postprocessing.options import BATCH, EXACT, JUDGED_BY_RUN, NAME, add_options
from gan_registry.errors import UserError
from gan_registry.hookspecs import hookimpl

if TYPE_CHECKING:
    from gan_registry.catalogs import Catalogs
    from gan_registry.live_run import LiveRun
    from gan_registry.report.document import Report

CALIBRATION = "calibration"
"""Key in `result.json` under which each calibrated post-processor says how that went."""

CALIBRATED = ("mh", "mh_fresh")
"""Post-processors that calibrate, for which held-out data may be named."""

_SOURCES = {
    "drs_exact": "diagan_plugin.postprocessing.sources:exact_rejection",
    "drs_fresh": "diagan_plugin.postprocessing.sources:fresh_rejection",
    "obrs": "diagan_plugin.postprocessing.sources:BudgetedRejectionSource",
    "mh": "diagan_plugin.postprocessing.sources:MetropolisHastingsSource",
    "mh_fresh": "diagan_plugin.postprocessing.sources:fresh_metropolis_hastings",
    "threshold": "diagan_plugin.postprocessing.sources:ThresholdSource",
    "interpolation": "diagan_plugin.postprocessing.sources:InterpolationSource",
}


class PostprocessingPlugin:
    """Post-processors as named sources of samples; nothing acts unless chosen by name."""

    @hookimpl
    def gan_add_options(self, parser: argparse.ArgumentParser) -> None:
        """Adds `--post-…`, `--drs-gamma…`, `--obrs-budget`, `--mh-…`, `--threshold-…`."""
        add_options(parser)

    @hookimpl
    def gan_register(self, catalogs: Catalogs) -> None:
        """Adds the post-processors."""
        for name, factory in _SOURCES.items():
            catalogs.postprocessors.register(name, factory)

    @hookimpl
    def gan_build(self, run: LiveRun) -> None:
        """Refuses a judge that there will not be, and a percentile where γ is none."""
        if run.options[NAME]["drs_gamma"] == EXACT and run.options[NAME]["drs_gamma_over"] == BATCH:
            raise UserError(
                f"--drs-gamma-over {BATCH} says over what a percentile is taken, and --drs-gamma "
                f"{EXACT} is none: leave one of them out."
            )
        judge, samples = run.options[NAME]["judge"], run.config.RUN.samples
        if judge == "auxiliary" and samples in JUDGED_BY_RUN and not _trains_auxiliary(run):
            raise UserError(
                f"--post-judge auxiliary: no auxiliary discriminator will be trained for --samples "
                f"{samples}, as nothing is weighted or --dia-aux is none; use --post-judge fresh."
            )

    @hookimpl
    def gan_models_ready(self, run: LiveRun) -> None:
        """Refuses what could not be done at the end, before the training rather than after it."""
        options = run.options[NAME]
        settings, score, judge = options["holdout"], options["threshold_score"], options["judge"]
        own = judge == "own" or (judge == "auto" and not _trains_auxiliary(run))
        if run.config.RUN.samples == "threshold" and score is not None and own:
            from diagan_plugin.postprocessing.sources import without_level

            if run.loss.is_shift_invariant:
                raise without_level(run, score)
        if settings and run.config.RUN.samples in CALIBRATED:
            from diagan_plugin.postprocessing.calibrated import held_out

            held_out(run, settings)

    @hookimpl
    def gan_result(self, run: LiveRun) -> Mapping[str, Any] | None:
        """Adds the calibration curves of what was just evaluated."""
        from diagan_plugin.postprocessing.calibrated import take_calibrations

        found = take_calibrations(run)
        return {CALIBRATION: found} if found else None

    @hookimpl
    def gan_report(self, run: LiveRun, report: Report) -> None:
        """Shows the calibration curves."""
        if run.folder is None:
            return
        from diagan_plugin.postprocessing.calibration_section import add_calibration
        from gan_registry.evaluation.results import read_result

        result = read_result(run.folder) if report.result is None else report.result
        add_calibration(report, result.get(CALIBRATION))


def _trains_auxiliary(run: LiveRun) -> bool:
    """Whether a run weights by score, with an auxiliary discriminator beside."""
    weighted = run.config.RUN.sampler == DIA or weights_the_loss(run.options)
    return bool(weighted and run.options.get(DIA, {}).get("aux", "none") != "none")
