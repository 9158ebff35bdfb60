"""Refuses options of Dia that cannot work together, or in a run of that length."""

from __future__ import annotations

from diagan_plugin.dia.options import BEFORE_END, THROUGH_END, DiaOptions
from diagan_plugin.dia.schedule import Schedule
from gan_registry.errors import UserError


def check_options(options: DiaOptions, total_steps: int, weighted: bool) -> None:
    """Refuses options that cannot work in a run of that length.

    Raises:
        UserError: Too few records for a variance or for a comparison, or a way of recording
            that another option does without.
    """
    if options.aux_ratio and options.record == "stream":
        raise UserError("--dia-aux-ratio records sweeps of its own; use --dia-record sweep.")
    if weighted and options.rule == "feedback":
        _check_feedback(options)
    schedule = Schedule(options, total_steps, weighted)
    if schedule.is_open:
        _check_comparisons(schedule)
    records = len(schedule.record_steps)
    if options.record == "sweep" and records < 2:
        recorded = schedule.phase1_end - (options.last_record == BEFORE_END)
        fitting = max(recorded // 2, 1)
        raise UserError(
            f"--dia-record-every {options.record_every} makes {records} of the at least 2 records "
            f"that a variance takes in the {schedule.phase1_end} steps of phase 1; use "
            f"--dia-record-every {fitting} or less, or more --steps."
        )


def _check_feedback(options: DiaOptions) -> None:
    """Refuses what leaves the loop open, or would turn the weights beside it."""
    if options.aux == "none":
        raise UserError(
            "--dia-rule feedback follows the auxiliary discriminator, which --dia-aux none leaves "
            "out: use --dia-aux uniform, or --dia-rule paper."
        )
    for flag, value in (("--dia-refresh", options.refresh), ("--dia-ramp", options.ramp)):
        if value:
            raise UserError(
                f"{flag} {value} changes the weights of --dia-rule paper; those of --dia-rule "
                "feedback follow the auxiliary discriminator: leave one of the two out."
            )


def _check_comparisons(schedule: Schedule) -> None:
    """Refuses an automatic phase 1 that would have nothing to go by."""
    options = schedule.options
    if options.record == "stream":
        raise UserError(
            "--dia-phase1 auto compares windows of sweeps: use --dia-record sweep, or give a share."
        )
    if options.last_record == BEFORE_END:
        raise UserError(
            "--dia-phase1 auto ends phase 1 by its last record, which --dia-last-record "
            f"{BEFORE_END} leaves out: give a share instead of auto, or use --dia-last-record "
            f"{THROUGH_END}."
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
