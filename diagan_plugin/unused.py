"""Says of options that they do nothing, where the plugin they belong to is off."""

from __future__ import annotations

import logging
from collections.abc import Collection
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from gan_registry.live_run import LiveRun

_LOG = logging.getLogger(__name__)


def warn_of_unused(run: LiveRun, plugin: str, switch: str, but: Collection[str] = ()) -> None:
    """Warns of each option not at its default of a plugin that does not act in a run.

    `switch` is what would turn it on, as one would type it; options in `but` are others' business
    too. Silent for a run that is opened again, e.g. to be sampled from: it was said when it began.
    """
    if run.step:
        return
    for option in run.plugins.options:
        if option.plugin != plugin or option.name in but:
            continue
        if run.options[plugin][option.name] != option.default:
            _LOG.warning("%s has no effect without %s.", option.flag, switch)
