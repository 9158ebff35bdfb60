"""Types of flags that Dia and the remedies share; which flags of a command were given."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from typing import Any

from gan_registry.errors import UserError

AUTO = "auto"
"""Leaves a choice to the run; for Dia's k and phase 1, by :mod:`diagan_plugin.scoring.adaptive`."""


def at_least(kind: Any, bound: float) -> Any:
    """Returns a type of flag: a number of a kind, not below a bound."""

    def convert(text: str) -> Any:
        value = number(kind, text)
        if not value >= bound:
            raise argparse.ArgumentTypeError(f"{words(kind)} of at least {bound:g}")
        return value

    return convert


def or_word(convert: Any, meanings: Mapping[str, Any]) -> Any:
    """Returns a type of flag: what another takes, or words that stand for values."""

    def converted(text: str) -> Any:
        if text in meanings:
            return meanings[text]
        try:
            return convert(text)
        except argparse.ArgumentTypeError as error:
            named = " or ".join(map(repr, meanings))
            raise argparse.ArgumentTypeError(f"{error}, or {named}") from None

    return converted


def or_auto(convert: Any) -> Any:
    """Returns a type of flag: what another takes, or "auto"."""
    return or_word(convert, {AUTO: AUTO})


def positive(text: str) -> float:
    """Reads a number above 0."""
    value: float = number(float, text)
    if not value > 0:
        raise argparse.ArgumentTypeError("a number above 0")
    return value


def share(text: str) -> float:
    """Reads a share above 0 and at most 1."""
    value: float = number(float, text)
    if not 0.0 < value <= 1.0:
        raise argparse.ArgumentTypeError("a share above 0 and at most 1")
    return value


def share_of_steps(text: str) -> float:
    """Reads a share of the steps, from 0 to 1."""
    value: float = number(float, text)
    if not 0.0 <= value <= 1.0:
        raise argparse.ArgumentTypeError("a share of the steps between 0 and 1")
    return value


def number(kind: Any, text: str) -> Any:
    """Reads a finite number of a kind."""
    try:
        value = kind(text)
    except ValueError:
        raise argparse.ArgumentTypeError(words(kind)) from None
    if value in (float("inf"), float("-inf")):
        raise argparse.ArgumentTypeError("a finite number")
    if kind is int and abs(value) >= 2**63:
        raise argparse.ArgumentTypeError("a whole number of at most 63 bits")
    return value


def words(kind: Any) -> str:
    """Names a kind of number in a message."""
    return "a whole number" if kind is int else "a number"


def given_flags(parser: argparse.ArgumentParser, arguments: argparse.Namespace) -> set[str]:
    """Returns the names of a command's flags that are not at their defaults."""
    return {name for name, value in vars(arguments).items() if value != parser.get_default(name)}


def flag(name: str) -> str:
    """Returns a flag as one types it."""
    return f"--{name.replace('_', '-')}"


def refuse_flags(names: set[str], where: str) -> None:
    """Refuses flags that were given and have no meaning there.

    Raises:
        UserError: There is one; names the first.
    """
    if names:
        raise UserError(f"{flag(min(names))} has no meaning {where}.")
