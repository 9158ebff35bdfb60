"""Writes `report.html` of a run: the host's sections, then the plugins' own."""

from __future__ import annotations

from pathlib import Path

from gan_registry.errors import PluginError, UserError, add_sentence
from gan_registry.evaluation.results import RESULT_FILE, read_result
from gan_registry.report.document import Report
from gan_registry.report.host_sections import run_sections
from gan_registry.training.run import Run

REPORT_FILE = "report.html"


def write_report(run: Run) -> Path:
    """Writes the report of a run that has been evaluated, and returns where it lies.

    Raises:
        UserError: The run has no folder or no result yet.
    """
    if run.folder is None:
        raise UserError("A run without a folder has no report.")
    result = read_result(run.folder)
    report = Report(
        title=f"{run.config_name} with the sampler {run.config.RUN.sampler}",
        subtitle=f"{run.step} steps, seed {run.seed}",
    )
    run_sections(report, run, result)
    try:
        run.hooks.report(run, report)
    except PluginError as error:
        add_sentence(
            error, f"The run is trained and measured: {run.folder / RESULT_FILE} is whole."
        )
        raise
    path = run.folder / REPORT_FILE
    report.write(path)
    run.hooks.written(run, "report", path)
    return path
