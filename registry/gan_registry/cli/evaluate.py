"""`gan-registry evaluate`: measures a trained run again."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from gan_registry.cli.train import require_folder
from gan_registry.errors import UserError
from gan_registry.plugins import PluginManager


def add_command(commands: Any, plugins: PluginManager) -> None:
    """Adds the subcommand."""
    parser = commands.add_parser(
        "evaluate", allow_abbrev=False, help="measure a trained run",
        description="Measure a trained run: generate samples, compare them with the data, write "
        "result.json anew.",
    )  # fmt: skip
    parser.add_argument("--run", required=True, metavar="DIR", type=Path, help="the run folder")
    parser.add_argument("--num", type=int, metavar="N", help="samples (default: the run's own)")
    parser.add_argument(
        "--samples", action="append", metavar="NAME",
        help="post-processor to measure beside plain samples; may be repeated (default: the run's)",
    )  # fmt: skip
    parser.add_argument("--checkpoint", type=int, metavar="STEP", help="default: the newest")
    parser.add_argument(
        "--device", default="auto", choices=("auto", "cpu", "cuda", "mps"),
        metavar="DEVICE", help="auto, cpu, cuda or mps (default: auto)",
    )  # fmt: skip
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    parser.set_defaults(handler=run)


def run(arguments: argparse.Namespace, plugins: PluginManager) -> int:
    """Carries out the subcommand."""
    require_folder(arguments.run)
    if arguments.num is not None and arguments.num < 1:
        raise UserError(f"--num is {arguments.num}, but must be at least 1.")
    for name in arguments.samples or ():
        _ = plugins.catalogs.postprocessors[name]
    from gan_registry.evaluation.evaluate import evaluate
    from gan_registry.evaluation.results import read_result
    from gan_registry.evaluation.tables import result_table
    from gan_registry.training.trainer import open_run

    live = open_run(arguments.run, plugins, arguments.checkpoint, arguments.device)
    evaluate(live, arguments.num, arguments.samples)
    result = read_result(arguments.run)
    print(json.dumps(result, indent=2) if arguments.json else result_table(result))
    return 0
