"""`gan-registry compare`: several runs side by side, with mean ± std over seeds."""

from __future__ import annotations

import argparse
import os
import shutil
import sys
from pathlib import Path
from typing import Any

from gan_registry.cli.train import require_folder
from gan_registry.formatting import json_text
from gan_registry.plugins import PluginManager


def add_command(commands: Any, plugins: PluginManager) -> None:
    """Adds the subcommand."""
    parser = commands.add_parser(
        "compare", allow_abbrev=False, help="show several runs side by side",
        description="Show several runs side by side. Runs that differ in the seed alone share a "
        "column, as mean ± standard deviation. Only numbers that differ are shown. Arrows say "
        "which way is better; in a terminal the best are bold.",
    )  # fmt: skip
    parser.add_argument("runs", nargs="+", metavar="RUN", type=Path, help="run folders")
    parser.add_argument("--color", action="store_true", help="bold also where this is no terminal")
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    parser.add_argument(
        "--csv", metavar="FILE", type=Path, help="write every number too, a line each"
    )
    parser.add_argument("--html", metavar="FILE", type=Path, help="write the tables as a page too")
    parser.set_defaults(handler=run)


def run(arguments: argparse.Namespace, plugins: PluginManager) -> int:
    """Carries out the subcommand."""
    from gan_registry.evaluation.comparison import compare
    from gan_registry.evaluation.comparison_tables import comparison_text, write_csv
    from gan_registry.evaluation.results import read_result, read_settings

    # A folder named twice is one run, and no evidence of how little seeds matter.
    folders = list({require_folder(path).resolve(): path for path in arguments.runs}.values())
    results = [read_result(folder) for folder in folders]
    comparison = compare(results, [read_settings(folder) for folder in folders])
    if arguments.json:
        print(json_text(comparison.as_dict(), indent=2))
    else:
        # https://no-color.org: the variable counts unless a flag says otherwise
        wanted = sys.stdout.isatty() and not os.environ.get("NO_COLOR")
        width = shutil.get_terminal_size().columns if sys.stdout.isatty() else 100
        print(comparison_text(comparison, arguments.color or wanted, width))
    if arguments.csv is not None:
        write_csv(comparison, arguments.csv)
    if arguments.html is not None:
        from gan_registry.report.comparison_page import comparison_page

        comparison_page(comparison).write(arguments.html)
    return 0
