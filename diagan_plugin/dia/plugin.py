"""The plugin `dia`: says when Dia-GAN acts; what it does is in :mod:`diagan_plugin.dia.driver`.

Imported when the command line starts, hence free of torch.
"""

from __future__ import annotations

import argparse
import logging
from collections.abc import Mapping
from dataclasses import fields
from typing import TYPE_CHECKING, Any

from diagan_plugin.dia.drivers import DrivingPlugin
from diagan_plugin.dia.options import NAME, DiaOptions, add_options, weights_the_loss
from diagan_plugin.dia.refusals import check_options, check_visits
from diagan_plugin.dia.schedule import Schedule, plan
from diagan_plugin.report import DIAGNOSIS_FILE
from diagan_plugin.unused import warn_of_unused
from gan_registry.errors import UserError
from gan_registry.hookspecs import hookimpl

if TYPE_CHECKING:
    from diagan_plugin.sampling.sampler import DiaSampler
    from gan_registry.catalogs import Catalogs
    from gan_registry.live_run import LiveRun
    from gan_registry.report.document import Report

_LOG = logging.getLogger(__name__)
_OF_PHASE_2 = frozenset({"rule", "refresh", "ramp", "aux", "aux_every", "aux_loss", "draws"})
"""Options that nothing reads in a run without weighted sampling."""


class DiaPlugin(DrivingPlugin):
    """Diagnosis and score-weighted sampling as hooks."""

    @hookimpl
    def gan_add_options(self, parser: argparse.ArgumentParser) -> None:
        """Adds `--dia-…` and `--diagnose`."""
        add_options(parser)

    @hookimpl
    def gan_register(self, catalogs: Catalogs) -> None:
        """Adds the sampler `dia` and the post-processor `drs`."""
        catalogs.samplers.register(NAME, "diagan_plugin.dia.plugin:build_sampler")
        catalogs.postprocessors.register(
            "drs", "diagan_plugin.postprocessing.sources:RejectionSource"
        )

    @hookimpl
    def gan_build(self, run: LiveRun) -> None:
        """Refuses a schedule that cannot work; asks for DRS after weighted sampling."""
        if not is_weighted(run):
            _warn_of_unused(run)
        if not is_active(run):
            return
        options = DiaOptions(**run.options[NAME])
        check_options(options, run.total_steps, is_weighted(run))
        if not is_weighted(run):
            return
        if options.aux != "none":
            run.postprocessors.append("drs")
        warn_of_no_phase2(options, run.total_steps)

    @hookimpl
    def gan_models_ready(self, run: LiveRun) -> None:
        """Sets up the statistics."""
        if not is_active(run):
            return
        from diagan_plugin.dia.driver import DiaDriver
        from diagan_plugin.recording.logit_modes import has_batch_norm

        options, weighted = options_of(run), is_weighted(run)
        if weighted and options.aux == "importance" and has_batch_norm(run.discriminator):
            raise UserError(
                "--dia-aux importance needs a discriminator without batch norm: weights on the "
                "loss cannot undo the statistics of a weighted batch. Use --dia-aux uniform."
            )
        check_visits(options, run.samples_per_step, len(run.dataset), run.total_steps, weighted)
        if options.within_class and run.dataset.num_classes < 2:
            raise UserError(
                f"--dia-within-class needs classes, but the dataset {run.config.DATA.name!r} has "
                "one only; leave the flag out."
            )
        driver = DiaDriver(run, options, weighted)
        if not driver.recorder.is_density_ratio:
            known = run.loss.is_ratio_up_to_constant
            _LOG.warning(
                "The loss %r has %s: D's raw output%s is recorded as a surrogate, of "
                "which only order and spread mean anything. %s.",
                run.config.LOSS.adv_loss,
                "a density ratio up to a constant only" if known else "no density ratio",
                "" if options.centre == "none" else ", less its constant,",
                "Sweeps that are centred on the data fix it: leave out --dia-record and "
                "--dia-centre"
                if known
                else "--dia-aux-ratio measures a ratio",
            )
        self.drive(run, driver)

    @hookimpl
    def gan_train_end(self, run: LiveRun) -> None:
        """Writes `diagnosis.safetensors`."""
        driver = self.driver(run)
        if driver is None or run.folder is None or run.rank != 0:
            return
        diagnosis = driver.diagnosis(run)
        if diagnosis is not None:
            diagnosis.save(run.folder / DIAGNOSIS_FILE)

    @hookimpl
    def gan_plan(self, run: LiveRun) -> Mapping[str, Any] | None:
        """Says when it will record and weight."""
        if not is_active(run):
            return None
        options = options_of(run)
        rows = plan(
            options, run.total_steps, is_weighted(run), len(run.dataset),
            run.samples_per_step, 0 if run.holdout is None else len(run.holdout),
        )  # fmt: skip
        if options.exclude:
            from diagan_plugin.dia.exclusion import settled

            listed = settled(run, options.exclude, None)
            rows["excluded"] = (
                f"{0 if listed is None else listed.size} samples of {options.exclude}"
            )
        return rows

    @hookimpl
    def gan_report(self, run: LiveRun, report: Report) -> None:
        """Adds verdict, samples, charts and tables."""
        if not is_active(run) or run.folder is None:
            return
        from diagan_plugin.rarity.sections import add_closer_look
        from diagan_plugin.report.dia_sections import add_dia_sections
        from diagan_plugin.report.diagnosis import Diagnosis
        from diagan_plugin.report.recovery import add_recovery
        from gan_registry.evaluation.results import read_result

        path, driver = run.folder / DIAGNOSIS_FILE, self.driver(run)
        result = read_result(run.folder) if report.result is None else report.result
        finished = "unfinished" not in result
        if path.exists() and finished:
            diagnosis: Diagnosis | None = Diagnosis.load(path)
        else:  # not written yet, or deleted; the checkpoint holds the same numbers
            diagnosis = None if driver is None else driver.diagnosis(run)
        if diagnosis is not None:
            add_dia_sections(report, run.dataset, result, diagnosis, seed=run.seed)
            add_recovery(report, run.dataset.group_names, result, diagnosis)
            found = add_closer_look(report, run, diagnosis)
            if found is not None and path.exists() and finished and run.rank == 0:
                found.added_to(diagnosis).save(path)


def warn_of_no_phase2(options: DiaOptions, total_steps: int) -> None:
    """Warns of a phase 1 that leaves no step to the weights."""
    if Schedule(options, total_steps, True).phase1_end == total_steps:
        _LOG.warning(
            "Phase 1 takes all %d steps, so nothing is weighted by score; lower --dia-phase1.",
            total_steps,
        )


def _warn_of_unused(run: LiveRun) -> None:
    """Warns of options that nothing reads; what a preset is for, other plugins may follow."""
    options = run.options[NAME]
    if options["preset"] != DiaOptions.preset or weights_the_loss(run.options):
        return
    # Remedies begin where phase 1 would end; and configurations serve runs without Dia, too.
    but = {"phase1", *(run.config.PLUGINS.get(NAME) or {})}
    switch = f"--sampler {NAME} or --diagnose"
    if options["diagnose"]:
        but |= {field.name for field in fields(DiaOptions)} - _OF_PHASE_2
        switch = f"--sampler {NAME}"
    warn_of_unused(run, NAME, switch, but)


def is_weighted(run: LiveRun) -> bool:
    """Whether the run draws by score in phase 2."""
    return run.config.RUN.sampler == NAME


def is_active(run: LiveRun) -> bool:
    """Whether anything was asked for: weighted sampling implies diagnosis."""
    return is_weighted(run) or bool(run.options[NAME]["diagnose"])


def options_of(run: LiveRun) -> DiaOptions:
    """Returns the options of a run that has its data, with epochs in steps."""
    epoch = -(-len(run.dataset) // run.samples_per_step)
    return DiaOptions(**run.options[NAME]).with_epochs(epoch)


def build_sampler(run: LiveRun) -> DiaSampler:
    """Builds the sampler `dia` of a run: one global draw, of which the host takes its slices."""
    from diagan_plugin.sampling.sampler import DiaSampler

    method = DiaOptions(**run.options[NAME]).draws
    return DiaSampler(len(run.dataset), run.seed, method, fingerprint=run.fingerprint)
