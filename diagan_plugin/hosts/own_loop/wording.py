"""What the plugin says of its flags, said of the arguments of `Dia`, and whose errors are whose."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from gan_registry.dispatch import Dispatcher
from gan_registry.errors import PluginError, UserError
from gan_registry.live_run import LiveRun

_VALUES = (
    "auto|sweep|stream|uniform|importance|none|once|epoch|eval|train|batchstat|data|feedback|paper"
)
_FLAG = re.compile(rf"--dia-([a-z0-9]+(?:-[a-z0-9]+)*)(?: ({_VALUES}|\d[\d.]*\b(?<!\.)))?")
_PHRASES = (
    ("--dia-aux-ratio measures", "A diagan_plugin.RatioHead in the loop measures"),
    ("Train with --sampler dia: the samples", "Put dia.sampler in the loader: the samples"),
    ("train or evaluate with the metric occurrence_classifier.", "with a classifier, say."),
    ("--samples drs", "dia.rejection"),
    ("more --steps", "more total_steps"),
    ("--diagnose", "weighted=False"),
    ("leave the flag out", "leave it out"),
)
_SPEAKERS = "diagan_plugin.dia."
"""Whose loggers speak of flags."""


def in_a_loop_s_words(text: str) -> str:
    """Turns flags of the command line into the arguments that a loop has for them."""
    for flag, argument in _PHRASES:
        text = text.replace(flag, argument)

    def argument_of(found: re.Match[str]) -> str:
        name, value = found[1].replace("-", "_"), found[2]
        if value is None:
            return name
        return f"{name}={value}" if value[0].isdigit() else f'{name}="{value}"'

    return _FLAG.sub(argument_of, text)


class LoopHooks(Dispatcher):
    """The hooks of a loop of one's own: refusals speak of its arguments, and errors are raised.

    The loop called for everything that happens here itself, so that no plugin has failed: an error
    is most often that of the call, and is raised as it is.
    """

    def _call(self, *arguments: Any, **named: Any) -> list[tuple[str, Any]]:
        with _logged_in_a_loop_s_words():
            return super()._call(*arguments, **named)

    def _fail(self, run: LiveRun, plugin: str, hook: str, error: BaseException) -> None:
        if isinstance(error, UserError) and not isinstance(error, PluginError):
            raise UserError(in_a_loop_s_words(str(error))) from error.__cause__
        raise error


def _reworded(record: logging.LogRecord) -> bool:
    record.msg, record.args = in_a_loop_s_words(record.getMessage()), ()
    return True


@contextmanager
def _logged_in_a_loop_s_words() -> Iterator[None]:
    known = [name for name in logging.root.manager.loggerDict if name.startswith(_SPEAKERS)]
    loggers = [logging.getLogger(name) for name in known]
    for logger in loggers:
        logger.addFilter(_reworded)
    try:
        yield
    finally:
        for logger in loggers:
            logger.removeFilter(_reworded)


__all__ = ["LoopHooks", "in_a_loop_s_words"]
