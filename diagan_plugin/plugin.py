"""The plugin `dia`: says when Dia-GAN acts; what it does is in :mod:`diagan_plugin.driver`.

Imported when the command line starts, hence free of torch.
"""

from __future__ import annotations

import argparse
import logging
import weakref
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from diagan_plugin.options import NAME, DiaOptions, add_options
from diagan_plugin.schedule import HISTORY_SAMPLES, Schedule
from gan_registry.errors import UserError
from gan_registry.hookspecs import hookimpl

if TYPE_CHECKING:
    from torch import Tensor

    from diagan_plugin.driver import DiaDriver
    from diagan_plugin.sampler import DiaSampler
    from gan_registry.catalogs import Catalogs
    from gan_registry.records import MicroBatch, Real
    from gan_registry.report.document import Report
    from gan_registry.training.run import Run

DIAGNOSIS_FILE = "diagnosis.safetensors"

_LOG = logging.getLogger(__name__)


class DiaPlugin:
    """Diagnosis and score-weighted sampling as hooks."""

    def __init__(self) -> None:
        self._drivers: weakref.WeakKeyDictionary[Run, DiaDriver] = weakref.WeakKeyDictionary()

    def driver(self, run: Run) -> DiaDriver | None:
        """Returns what acts in a run, or None where nothing was asked for."""
        return self._drivers.get(run)

    @hookimpl
    def gan_add_options(self, parser: argparse.ArgumentParser) -> None:
        """Adds `--dia-…` and `--diagnose`."""
        add_options(parser)

    @hookimpl
    def gan_register(self, catalogs: Catalogs) -> None:
        """Adds the sampler `dia` and the post-processor `drs`."""
        catalogs.samplers.register(NAME, "diagan_plugin.plugin:build_sampler")
        catalogs.postprocessors.register("drs", "diagan_plugin.sources:RejectionSource")

    @hookimpl
    def gan_build(self, run: Run) -> None:
        """Refuses a schedule that cannot work; asks for DRS after weighted sampling."""
        if not is_active(run):
            return
        options = DiaOptions.from_mapping(run.options[NAME])
        check_options(options, run.total_steps, is_weighted(run))
        if is_weighted(run) and options.aux != "none":
            run.postprocessors.append("drs")
        if (
            is_weighted(run)
            and Schedule(options, run.total_steps, True).phase1_end == run.total_steps
        ):
            _LOG.warning(
                "Phase 1 takes all %d steps, so nothing is drawn by score; lower --dia-phase1.",
                run.total_steps,
            )

    @hookimpl
    def gan_models_ready(self, run: Run) -> None:
        """Sets up the statistics."""
        if not is_active(run):
            return
        from diagan_plugin.driver import DiaDriver
        from diagan_plugin.logit_modes import has_batch_norm

        options = options_of(run)
        if is_weighted(run) and options.aux == "importance" and has_batch_norm(run.discriminator):
            raise UserError(
                "--dia-aux importance needs a discriminator without batch norm: weights on the "
                "loss cannot undo the statistics of a weighted batch. Use --dia-aux uniform."
            )
        check_visits(
            options, run.samples_per_step, len(run.dataset), run.total_steps, is_weighted(run)
        )
        if options.within_class and run.dataset.num_classes < 2:
            raise UserError(
                f"--dia-within-class needs classes, but the dataset {run.config.DATA.name!r} has "
                "one only; leave the flag out."
            )
        if not (run.loss.is_density_ratio or options.aux_ratio):
            _LOG.warning(
                "The loss %r has no density ratio: D's raw output is recorded as a surrogate, as "
                "the paper does for the hinge loss (§5.2). --dia-aux-ratio measures one.",
                run.config.LOSS.adv_loss,
            )
        self._drivers[run] = DiaDriver(run, options, is_weighted(run))

    @hookimpl
    def gan_train_start(self, run: Run) -> None:
        """Records the state before the first step."""
        if driver := self.driver(run):
            driver.start(run)

    @hookimpl
    def gan_real_logits(self, run: Run, real: Real, logits: Tensor) -> None:
        """Records training batches, when streaming."""
        if driver := self.driver(run):
            driver.observe(run, real, logits)

    @hookimpl
    def gan_discriminator_updated(self, run: Run, batches: Sequence[MicroBatch]) -> None:
        """Trains the auxiliary discriminator in phase 2."""
        if driver := self.driver(run):
            driver.discriminator_updated(run, batches)

    @hookimpl
    def gan_step_end(self, run: Run) -> None:
        """Sweeps, scores and sets weights when it is time."""
        if driver := self.driver(run):
            driver.step_end(run)

    @hookimpl
    def gan_train_end(self, run: Run) -> None:
        """Writes `diagnosis.safetensors`."""
        driver = self.driver(run)
        if driver is None or run.folder is None or run.rank != 0:
            return
        diagnosis = driver.diagnosis(run)
        if diagnosis is not None:
            diagnosis.save(run.folder / DIAGNOSIS_FILE)

    @hookimpl
    def gan_state(self, run: Run) -> Mapping[str, Any] | None:
        """Returns the statistics, the weights and the phase."""
        driver = self.driver(run)
        return None if driver is None else driver.state()

    @hookimpl
    def gan_load_state(self, run: Run, state: Mapping[str, Any]) -> None:
        """Restores them."""
        if driver := self.driver(run):
            driver.load_state(run, state)

    @hookimpl
    def gan_result(self, run: Run) -> Mapping[str, Any] | None:
        """Adds each group's statistics and the summary of the weights to the result."""
        driver = self.driver(run)
        return None if driver is None else driver.result(run)

    @hookimpl
    def gan_plan(self, run: Run) -> Mapping[str, Any] | None:
        """Says when it will record and weight."""
        if not is_active(run):
            return None
        options = options_of(run)
        return plan(
            options, run.total_steps, is_weighted(run), len(run.dataset), run.samples_per_step
        )

    @hookimpl
    def gan_report(self, run: Run, report: Report) -> None:
        """Adds verdict, samples, charts and tables."""
        if not is_active(run) or run.folder is None:
            return
        from diagan_plugin.diagnosis import Diagnosis
        from diagan_plugin.report.sections import add_dia_sections
        from gan_registry.evaluation.results import read_result

        path, driver = run.folder / DIAGNOSIS_FILE, self.driver(run)
        if path.exists():
            diagnosis: Diagnosis | None = Diagnosis.load(path)
        else:  # deleted, say; the checkpoint holds the same numbers
            diagnosis = None if driver is None else driver.diagnosis(run)
        if diagnosis is not None:
            add_dia_sections(report, run, read_result(run.folder), diagnosis)


def is_weighted(run: Run) -> bool:
    """Whether the run draws by score in phase 2."""
    return run.config.RUN.sampler == NAME


def is_active(run: Run) -> bool:
    """Whether anything was asked for: weighted sampling implies diagnosis."""
    return is_weighted(run) or bool(run.options[NAME]["diagnose"])


def options_of(run: Run) -> DiaOptions:
    """Returns the options of a run that has its data, with epochs in steps."""
    epoch = -(-len(run.dataset) // run.samples_per_step)
    return DiaOptions.from_mapping(run.options[NAME]).with_epochs(epoch)


def build_sampler(run: Run) -> DiaSampler:
    """Builds the sampler `dia` of a run: one global draw, of which the host takes its slices."""
    from diagan_plugin.sampler import DiaSampler

    return DiaSampler(len(run.dataset), seed=run.seed, fingerprint=run.fingerprint)


def check_options(options: DiaOptions, total_steps: int, weighted: bool) -> None:
    """Refuses options that cannot work in a run of that length.

    Raises:
        UserError: Too few records for a variance, or a rule that does not exist yet.
    """
    if options.clip == "robust":
        raise UserError(
            "--dia-clip robust: no rule of that name is available yet; use --dia-clip paper."
        )
    if options.aux_ratio and options.record == "stream":
        raise UserError("--dia-aux-ratio records sweeps of its own; use --dia-record sweep.")
    schedule = Schedule(options, total_steps, weighted)
    if schedule.is_open:
        _check_comparisons(schedule)
    records = len(schedule.record_steps)
    if options.record == "sweep" and records < 2:
        fitting = max(schedule.phase1_end // 2, 1)
        raise UserError(
            f"--dia-record-every {options.record_every} makes {records} of the at least 2 records "
            f"that a variance takes in the {schedule.phase1_end} steps of phase 1; use "
            f"--dia-record-every {fitting} or less, or more --steps."
        )


def _check_comparisons(schedule: Schedule) -> None:
    """Refuses an automatic phase 1 that would have nothing to go by."""
    options = schedule.options
    if options.record == "stream":
        raise UserError(
            "--dia-phase1 auto compares windows of sweeps: use --dia-record sweep, or give a share."
        )
    if not schedule.comparisons:
        steps, every = schedule.comparison_lag + schedule.window_steps, options.record_every
        fitting = schedule.phase1_end * every // steps
        interval = f"--dia-record-every {fitting} or less, or " if fitting else ""
        raise UserError(
            f"--dia-phase1 auto compares two windows of records, which take {steps} steps, but "
            f"phase 1 ends after {schedule.phase1_end} at the latest: use {interval}a smaller "
            "--dia-window, more --steps, or a share instead of auto."
        )


def check_visits(
    options: DiaOptions, samples_per_step: int, num_samples: int, total_steps: int, weighted: bool
) -> None:
    """Refuses a recording that does not come by each sample twice.

    Raises:
        UserError: Most samples would have no variance.
    """
    schedule = Schedule(options, total_steps, weighted)
    if options.record == "stream":
        visits = schedule.phase1_end * samples_per_step / num_samples
        remedy = f"train for at least {-(-2 * num_samples // samples_per_step)} steps in phase 1"
    else:
        visits = len(schedule.record_steps) * options.record_fraction
        remedy = "raise --dia-record-fraction, or lower --dia-record-every"
    if visits < 2:
        raise UserError(
            f"Each sample would be recorded {visits:.2g} times in phase 1, and a variance takes 2: "
            f"{remedy}."
        )


def plan(
    options: DiaOptions, total_steps: int, weighted: bool, num_samples: int, samples_per_step: int
) -> dict[str, Any]:
    """Describes the schedule for `--dry-run`."""
    schedule = Schedule(options, total_steps, weighted)
    records, end = schedule.record_steps, schedule.phase1_end
    is_open = schedule.is_open
    subset = min(num_samples, HISTORY_SAMPLES)
    history = total_steps // schedule.history_every + 1
    rows: dict[str, Any] = {"phase 1": f"steps 1–{end}, uniform sampling"}
    first_end = end
    if is_open:
        first_end = schedule.comparisons.start
        rows["phase 1"] = (
            f"uniform sampling until the ranking of the scores has settled, after step {first_end} "
            f"to {end}"
        )
    extra, swept = history * subset, 0
    if options.record == "sweep":
        short = "" if len(records) >= options.window else f" (of a window of {options.window})"
        swept = round(options.record_fraction * num_samples)
        rows["records"] = (
            f"{len(records)} sweeps{' at most' if is_open else ''} of {swept} samples{short}, each "
            f"{options.record_every} steps from {records.start} to {records[-1]}"
        )
    else:
        rows["records"] = f"training batches; the last {options.window} of each sample count"
    rows["heat map"] = f"{history} sweeps of {subset} samples"
    if weighted:
        steps = f"from then to step {total_steps}" if is_open else f"steps {end + 1}–{total_steps}"
        rows["phase 2"] = f"{steps}, drawn by score (k = {options.k})"

    def cost(end: int) -> int:
        passes = swept * sum(step <= end for step in records)
        if weighted and options.aux != "none":
            # Two batches forward and backward, at about three forward passes each.
            passes += (total_steps - end) // options.aux_every * 6 * samples_per_step
        return passes

    # An end still to be found costs most at one of its bounds, as both parts are linear in it.
    return {**rows, "discriminator_samples": extra + max(cost(end), cost(first_end))}
