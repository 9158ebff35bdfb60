"""The flags of a remedy on the command line."""

from __future__ import annotations

import argparse
from typing import Any, Protocol


class AddArgument(Protocol):
    """Adds a flag that sets an option of a plugin; settings are those of argparse."""

    def __call__(self, flag: str, option: str, **settings: Any) -> None:
        """Adds it."""
        ...


def argument_group(
    parser: argparse.ArgumentParser, plugin: str, title: str, description: str
) -> AddArgument:
    """Begins a group of flags, and returns what adds one to it."""
    group = parser.add_argument_group(title, description)

    def add(flag: str, option: str, **settings: Any) -> None:
        group.add_argument(flag, dest=f"{plugin}.{option}", **settings)

    return add
