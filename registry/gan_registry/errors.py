"""Errors that reach a person: one clear line, and exit code 2 on the command line."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class UserError(Exception):
    """A mistake that its user can mend; the message names the thing and the remedy.

    The command line prints the message without a traceback and exits with code 2.
    """


class PluginError(UserError):
    """A plugin broke the contract of a hook or a catalog; the message names plugin and hook.

    One line like any other mistake, but exit code 1: the defect is the plugin's, not the user's.

    Attributes:
        step: The step of the training in which it happened, where that may be known only later.
    """

    step: int | None = None


class Diverged(UserError):  # noqa: N818 - what happened, not whose fault it is
    """A loss is no longer a number.

    Args:
        message: The line.
        step: The step in which it happened.
    """

    def __init__(self, message: str, step: int) -> None:
        super().__init__(message)
        self.step = step


class CapabilityError(PluginError, AttributeError):
    """A plugin asked a run for what its host never has; the message names host and capability.

    An AttributeError as well, so that `getattr(run, name, None)` asks whether it is there.
    """


def add_sentence(error: UserError, sentence: str) -> None:
    """Adds to an error's line what its reader should know beside it."""
    error.args = (f"{error} {sentence}",)


def nearest(name: str, known: Iterable[str]) -> str | None:
    """Returns the known name closest to `name`, or None if none is close."""
    matches = difflib.get_close_matches(name, list(known), n=1, cutoff=0.5)
    return matches[0] if matches else None


def unknown_name(kind: str, name: object, known: Iterable[str], where: str = "") -> UserError:
    """Builds the error for a name that nothing answers to.

    Args:
        kind: What the name should have named, e.g. "backbone".
        name: The name as the user gave it.
        known: The names that exist.
        where: Where the name was found, e.g. a file; empty when there is nothing to add.

    Returns:
        An error that lists the known names and suggests the nearest.
    """
    known = sorted(known)
    match = nearest(str(name), known)
    hint = f" Did you mean {match!r}?" if match else ""
    place = f" in {where}" if where else ""
    return UserError(
        f"Unknown {kind} {str(name)!r}{place}.{hint} Known: {', '.join(known) or '(none)'}."
    )
