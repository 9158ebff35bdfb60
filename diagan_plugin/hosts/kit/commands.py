"""What commands that run a host from the user's checkout have in common. Free of torch."""

from __future__ import annotations

import argparse
import os
from pathlib import Path
from typing import Any

from diagan_plugin.hosts.kit.settings import UNIFORM
from gan_registry.plugins import PluginManager


def host_command(
    commands: Any, name: str, host: str, script: str, *, checkout: tuple[str, str], fresh: str,
    **texts: str,
) -> tuple[Any, PluginManager]:  # fmt: skip
    """Adds a subcommand that runs a host with plugins.

    Args:
        commands: What `add_subparsers` returned.
        name: The subcommand.
        host: What draws the samples unless a sampler does, in words.
        script: What gets the arguments behind `--`.
        checkout: The flag of the checkout, and the environment variable that stands for it.
        fresh: What `--fresh` does.
        **texts: `help` and `description`.

    Returns:
        The parser, and the plugins, whose flags it has.
    """
    plugins = PluginManager()
    parser = commands.add_parser(
        name, parents=[plugins.parser], allow_abbrev=False,
        usage=f"diagan {name} {checkout[0]} CHECKOUT [OPTION …] -- {script.upper()}'S OWN "
        "ARGUMENTS", **texts,
    )  # fmt: skip
    parser.hint = plugins.skipped_hint()
    add_checkout(parser, *checkout)
    parser.add_argument(
        "--sampler", default=UNIFORM,
        help=f"how training samples are drawn (default: {UNIFORM}, {host}'s own)",
    )  # fmt: skip
    parser.add_argument("--fresh", action="store_true", help=fresh)
    parser.add_argument(
        "arguments", nargs="*", metavar="-- ARGUMENT", help=f"{script}'s own arguments"
    )
    return parser, plugins


def add_checkout(
    parser: argparse.ArgumentParser, flag: str, variable: str, what: str = "folder of the checkout"
) -> None:
    """Adds the flag of a checkout, for which an environment variable may stand."""
    parser.add_argument(
        flag, metavar="CHECKOUT", type=Path, default=os.environ.get(variable) or None,
        help=f"{what} (default: {variable})",
    )  # fmt: skip
