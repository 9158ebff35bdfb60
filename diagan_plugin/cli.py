"""The command `diagan`: what the plugin does beside the host's own command.

Each subcommand is a line of :data:`COMMANDS`. Nothing here, nor in the modules named there, imports
torch before a command runs.
"""

from __future__ import annotations

import argparse
import importlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from diagan_plugin import __version__
from gan_registry.cli.main import Parser, run_command
from gan_registry.config.trust import add_trust_flag
from gan_registry.formatting import printable_lines

COMMANDS = {
    "calibrate": "diagan_plugin.blackbox.commands:add_calibrate",
    "diagnose": "diagan_plugin.blackbox.commands:add_diagnose",
    "doctor": "diagan_plugin.hosts.doctor:add_command",
    "report": "diagan_plugin.cli:add_report",
    "studiogan": "diagan_plugin.hosts.studiogan.command:add_command",
}
"""Subcommand → `module:function`. The function is called with the object that `add_subparsers`
returned, adds the subcommand of that name, and sets its default `handler`: a function of the parsed
arguments that returns the exit code."""


def build_parser() -> argparse.ArgumentParser:
    """Builds the parser."""
    parser = Parser(prog="diagan", description="Self-diagnosis for GANs.", allow_abbrev=False)
    parser.add_argument("--version", action="version", version=f"diagan {__version__}")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", parser_class=Parser)
    for place in COMMANDS.values():
        module, _, function = place.partition(":")
        getattr(importlib.import_module(module), function)(commands)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command line; returns the exit code (0, 2 for a user's mistake)."""

    def command() -> int:
        parser = build_parser()
        arguments = parser.parse_args(argv)
        if not hasattr(arguments, "handler"):
            parser.print_help()
            return 2
        return int(arguments.handler(arguments))

    return run_command(command, "diagan")


def add_report(commands: Any) -> None:
    """Adds `diagan report`."""
    report = commands.add_parser(
        "report", allow_abbrev=False, help="write the report of a run anew",
        description="Write report.html of a run anew, from the files in its folder; of one that is "
        "still training, what is known at its newest checkpoint.",
    )  # fmt: skip
    report.add_argument("--run", required=True, metavar="DIR", type=Path, help="the run folder")
    add_trust_flag(report)
    report.set_defaults(handler=write)


def write(arguments: argparse.Namespace) -> int:
    """Carries out `diagan report`."""
    from contextlib import nullcontext

    from gan_registry.cli.train import require_folder
    from gan_registry.evaluation.provisional import is_unfinished
    from gan_registry.evaluation.results import read_result
    from gan_registry.report.write import build_report, summary, write_report
    from gan_registry.training.checkpoint import checkpoint_steps
    from gan_registry.training.lock import held_folder
    from gan_registry.training.trainer import open_run

    folder = require_folder(arguments.run)
    if not checkpoint_steps(folder):
        read_result(folder)  # a folder without a result is refused before anything heavy begins
    live = open_run(folder, trust=arguments.trust)
    # A run in progress holds its folder, and writes no report before its end.
    with nullcontext() if is_unfinished(live) else held_folder(folder):
        report = build_report(live)
        path = write_report(live, report)
    print(printable_lines("\n\n".join(filter(None, [summary(report), f"report  {path}"]))))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
