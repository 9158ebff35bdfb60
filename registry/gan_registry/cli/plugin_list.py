"""`gan-registry plugins`: what is loaded, with versions and hooks, and why one was skipped."""

from __future__ import annotations

import argparse
from typing import Any

from gan_registry.formatting import printable
from gan_registry.plugins import PluginManager


def add_command(commands: Any, plugins: PluginManager) -> None:
    """Adds the subcommand."""
    parser = commands.add_parser(
        "plugins", allow_abbrev=False, help="list the installed plugins",
        description="List the installed plugins: version, hooks implemented, and why one was "
        "skipped.",
    )  # fmt: skip
    parser.set_defaults(handler=run)


def run(arguments: argparse.Namespace, plugins: PluginManager) -> int:
    """Carries out the subcommand."""
    if not plugins.infos:
        print("No plugins are installed.")
    for info in plugins.infos.values():
        print(printable(f"{info.name} {info.version}".rstrip()))
        state = f"skipped: {info.skipped}" if info.skipped else f"hooks: {', '.join(info.hooks)}"
        print(printable(f"  {state}"))
        added = [
            f"{plural}: {', '.join(names)}"
            for plural, catalog in plugins.catalogs
            if (names := [name for name in catalog if catalog.owner(name) == info.name])
        ]
        if added:
            print(printable(f"  adds: {'; '.join(added)}"))
    return 0
