"""What plugins have found out by the end: `result.json` and a report."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from diagan_plugin.hosts.kit.run import HostRun
from gan_registry.evaluation.contributions import merge_contributions
from gan_registry.evaluation.results import write_result
from gan_registry.report.document import Report

REPORT_FILE = "report.html"

Contributions = Sequence[tuple[str, Mapping[str, Any]]]
"""Plugin and what it contributes."""


def log_line(values: Mapping[str, Any]) -> str:
    """Writes what plugins log as one line; empty where there is nothing."""
    if not values:
        return ""
    items = (f"{k}: {v:.4g}" if isinstance(v, float) else f"{k}: {v}" for k, v in values.items())
    return f"Plugins: {' '.join(items)}"


def write_plugins_result(run: HostRun, folder: Path, found: Contributions) -> None:
    """Writes `result.json`: a description of the run, and what plugins have found out.

    Args:
        run: The run.
        folder: Where to.
        found: What `gan_result` returned, by plugin.

    Raises:
        PluginError: Two plugins report the same entry, or one that describes the run.
    """
    described = {
        "config": run.config_name, "sampler": run.config.RUN.sampler, "seed": run.seed,
        "steps": run.step, "health": run.health.found(),
    }  # fmt: skip
    write_result(folder, merge_contributions(found, described))


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
