"""Says of options that they do nothing, where what they belong to is off. Free of torch."""

from __future__ import annotations

import logging
from collections.abc import Collection
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from gan_registry.live_run import LiveRun

_LOG = logging.getLogger(__name__)


def warn_of_unused(
    run: LiveRun, plugin: str, switch: str, only: Collection[str] | None = None
) -> None:
    """Warns of each option that was set, of a plugin that does not act in a run.

    Args:
        run: The run, before anything is built.
        plugin: Whose options.
        switch: What would turn it on, as one would type it.
        only: Names of the options that do nothing; None: all of the plugin.
    """
    options = [option for option in run.plugins.options if option.plugin == plugin]
    values = run.options[plugin]
    preset = {
        name: value
        for option in options
        for name, value in option.stand_ins(values[option.name]).items()
    }
    for option in options:
        unset = preset.get(option.name, option.default)
        if values[option.name] != unset and (only is None or option.name in only):
            _LOG.warning("%s has no effect without %s.", option.flag, switch)
