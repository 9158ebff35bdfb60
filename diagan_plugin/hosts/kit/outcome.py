"""What plugins have found out by the end: `result.json` and a report."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from diagan_plugin.hosts.kit.run import HostRun
from gan_registry.errors import PluginError
from gan_registry.evaluation.results import write_result
from gan_registry.report.document import Report

REPORT_FILE = "report.html"


def plugins_result(run: HostRun) -> dict[str, Any]:
    """Returns the entries that plugins give to the result.

    Raises:
        PluginError: Two plugins report the same entry.
    """
    result: dict[str, Any] = {}
    for plugin, entries in run.hooks.result(run):
        taken = sorted(set(result) & set(entries))
        if taken:
            raise PluginError(f"Plugin {plugin!r}: gan_result reports {taken[0]!r} a second time.")
        result.update(entries)
    return result


def write_plugins_result(run: HostRun, folder: Path, result: Mapping[str, Any]) -> None:
    """Writes `result.json`: the entries of plugins after a description of the run."""
    described = {
        "config": run.config_name, "sampler": run.config.RUN.sampler, "seed": run.seed,
        "steps": run.step,
    }  # fmt: skip
    write_result(folder, {**described, **result})


def write_report(run: HostRun, folder: Path, about: str = "") -> Path:
    """Writes what plugins report.

    Args:
        run: The run, after `gan_train_end`.
        folder: Where to.
        about: Precedes the number of steps in the subtitle.

    Returns:
        The file.
    """
    report = Report(
        f"{run.config_name} with the sampler {run.config.RUN.sampler}",
        f"{about}{run.step} steps, seed {run.seed}",
    )
    run.hooks.report(run, report)
    path = folder / REPORT_FILE
    report.write(path)
    return path
