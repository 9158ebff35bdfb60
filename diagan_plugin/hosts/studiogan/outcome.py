"""What plugins tell: lines in StudioGAN's log, and at the end `result.json` and a report."""

from __future__ import annotations

import logging
from pathlib import Path

from diagan_plugin.hosts.kit.outcome import write_plugins_result, write_report
from diagan_plugin.hosts.studiogan.run import StudioRun
from gan_registry.errors import UserError

_LOG = logging.getLogger(__name__)


def write_outcome(run: StudioRun) -> Path | None:
    """Writes what plugins have to tell, on rank 0; nothing where they tell nothing.

    Args:
        run: The run, after `gan_train_end`.

    Returns:
        Where the report lies.

    Raises:
        PluginError: Two plugins report the same entry.
    """
    found = run.hooks.result(run)
    if not found and not any(run.folder.glob("diagnosis*")):
        return None
    write_plugins_result(run, run.folder, found)
    try:
        path = write_report(run, run.folder, "StudioGAN, ")
    except UserError as error:
        _LOG.warning("No report was written: %s", error)
        return None
    print(f"report  {path}", flush=True)
    return path
