"""`gan-registry list`: everything that can be chosen by name."""

from __future__ import annotations

import argparse
from typing import Any

from gan_registry.catalogs import KINDS
from gan_registry.errors import unknown_name
from gan_registry.formatting import printable
from gan_registry.plugins import PluginManager


def add_command(commands: Any, plugins: PluginManager) -> None:
    """Adds the subcommand."""
    parser = commands.add_parser(
        "list", allow_abbrev=False, help="list what can be chosen by name",
        description="List what can be chosen by name: configs, backbones, losses, datasets, "
        "samplers, post-processors, ….",
    )  # fmt: skip
    parser.add_argument("kind", nargs="?", metavar="KIND", help="only this kind, e.g. datasets")
    parser.set_defaults(handler=run)


def run(arguments: argparse.Namespace, plugins: PluginManager) -> int:
    """Carries out the subcommand."""
    from gan_registry.config.load import packaged_configs

    entries = {"configs": [(name, "gan_registry") for name in packaged_configs()]}
    for plural, catalog in plugins.catalogs:
        entries[plural] = [(name, catalog.owner(name)) for name in catalog]
    if arguments.kind is not None and arguments.kind not in entries:
        raise unknown_name("kind of thing to list", arguments.kind, ["configs", *KINDS])
    for kind, names in entries.items():
        if arguments.kind in (None, kind):
            print(f"{kind}:" if names else f"{kind}: (none)")
            for name, owner in names:
                line = f"  {name}" + (f"  (from {owner})" if owner != "gan_registry" else "")
                print(printable(line))
    return 0
