"""Says of options that they do nothing, where the remedy they belong to is off."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from gan_registry.live_run import LiveRun

_LOG = logging.getLogger(__name__)


def warn_of_unused(run: LiveRun, plugin: str, switch: str) -> None:
    """Warns of each option of a plugin that is not at its default.

    Args:
        run: A run in which the plugin does not act.
        plugin: The plugin's name.
        switch: What would turn it on, as one would type it.
    """
    for option in run.plugins.options:
        if option.plugin == plugin and run.options[plugin][option.name] != option.default:
            _LOG.warning("%s has no effect without %s.", option.flag, switch)
