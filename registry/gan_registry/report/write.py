"""Writes `report.html` of a run: the host's sections, then the plugins' own."""

from __future__ import annotations

from pathlib import Path

from gan_registry.errors import PluginError, UserError, add_sentence
from gan_registry.evaluation.provisional import is_unfinished, provisional_result
from gan_registry.evaluation.results import RESULT_FILE, read_result
from gan_registry.formatting import NBSP
from gan_registry.report.document import Report
from gan_registry.report.host_sections import run_sections
from gan_registry.training.run import Run

REPORT_FILE = "report.html"


def write_report(run: Run, report: Report | None = None) -> Path:
    """Writes the report of a run, by default :func:`build_report`'s, and returns where it lies.

    Raises:
        UserError: As :func:`build_report`; or it cannot be written.
    """
    report = report or build_report(run)
    assert run.folder is not None
    path = run.folder / REPORT_FILE
    report.write(path)
    run.hooks.written(run, "report", path)
    return path


def build_report(run: Run) -> Report:
    """Makes the report of a run: the host's sections, and the plugins'.

    Of a run that is not finished it is made from the run as it was opened and a few samples.

    Raises:
        UserError: The run has no folder, or it is finished and has no result.
    """
    if run.folder is None:
        raise UserError("A run without a folder has no report.")
    samples, so_far = None, ""
    if is_unfinished(run):
        result, samples = provisional_result(run)
        so_far = f" of {run.total_steps}, unfinished"
    else:
        result = read_result(run.folder)
    report = Report(
        title=f"{run.config_name} with the sampler {run.config.RUN.sampler}",
        subtitle=f"{run.step} steps{so_far}, seed {run.seed}",
        result=result,
    )
    run_sections(report, run, result, samples)
    try:
        run.hooks.report(run, report)
    except PluginError as error:
        if samples is None:
            add_sentence(
                error, f"The run is trained and measured: {run.folder / RESULT_FILE} is whole."
            )
        raise
    return report


def summary(report: Report) -> str:
    """Returns the verdict of a report in two or three lines.

    Empty where nobody gave a verdict.
    """
    verdict = report.verdict
    if verdict is None:
        return ""
    lines = [f"verdict  {verdict.headline}", *(f"         {s}" for s in verdict.sentences[:1])]
    lines += [f"next     {sentence}" for sentence in verdict.todo[:1]]
    return "\n".join(lines).replace(NBSP, " ")
