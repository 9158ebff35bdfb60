"""What plugins tell: lines in StudioGAN's log, and at the end `result.json` and a report."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from diagan_plugin.hosts.studiogan.run import StudioRun
from gan_registry.errors import PluginError, UserError
from gan_registry.evaluation.results import write_result
from gan_registry.report.document import Report

REPORT_FILE = "report.html"

_LOG = logging.getLogger(__name__)


def log_line(values: Mapping[str, Any]) -> str:
    """Writes what plugins log as one line; empty where there is nothing."""
    if not values:
        return ""
    items = (f"{k}: {v:.4g}" if isinstance(v, float) else f"{k}: {v}" for k, v in values.items())
    return f"Plugins: {' '.join(items)}"


def write_outcome(run: StudioRun) -> Path | None:
    """Writes what plugins have to tell, on rank 0; nothing where they tell nothing.

    Args:
        run: The run, after `gan_train_end`.

    Returns:
        Where the report lies.

    Raises:
        PluginError: Two plugins report the same entry.
    """
    result: dict[str, Any] = {}
    for plugin, entries in run.hooks.result(run):
        taken = sorted(set(result) & set(entries))
        if taken:
            raise PluginError(f"Plugin {plugin!r}: gan_result reports {taken[0]!r} a second time.")
        result.update(entries)
    if not result and not any(run.folder.glob("diagnosis*")):
        return None
    described = {
        "config": run.config_name, "sampler": run.config.RUN.sampler, "seed": run.seed,
        "steps": run.step,
    }  # fmt: skip
    write_result(run.folder, {**described, **result})
    report = Report(
        f"{run.config_name} with the sampler {run.config.RUN.sampler}",
        f"StudioGAN, {run.step} steps, seed {run.seed}",
    )
    path = run.folder / REPORT_FILE
    try:
        run.hooks.report(run, report)
        report.write(path)
    except UserError as error:
        _LOG.warning("No report was written: %s", error)
        return None
    print(f"report  {path}", flush=True)
    return path
