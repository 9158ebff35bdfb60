"""`gan-registry compare`: several runs side by side, with mean ± std over seeds."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from gan_registry.cli.train import require_folder
from gan_registry.plugins import PluginManager


def add_command(commands: Any, plugins: PluginManager) -> None:
    """Adds the subcommand."""
    parser = commands.add_parser(
        "compare", allow_abbrev=False, help="show several runs side by side",
        description="Show several runs side by side. Runs that differ in the seed alone share a "
        "column, as mean ± standard deviation.",
    )  # fmt: skip
    parser.add_argument("runs", nargs="+", metavar="RUN", type=Path, help="run folders")
    parser.set_defaults(handler=run)


def run(arguments: argparse.Namespace, plugins: PluginManager) -> int:
    """Carries out the subcommand."""
    from gan_registry.evaluation.results import read_result, read_settings
    from gan_registry.evaluation.tables import compare_table

    # A folder named twice is one run, and no evidence of how little seeds matter.
    folders = list({require_folder(path).resolve(): path for path in arguments.runs}.values())
    results = [read_result(folder) for folder in folders]
    print(compare_table(results, [read_settings(folder) for folder in folders]))
    return 0
