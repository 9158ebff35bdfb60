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
from diagan_plugin.flags import given_flags
from gan_registry.cli.completion import add_completion
from gan_registry.cli.main import run_command
from gan_registry.cli.parser import Parser
from gan_registry.config.trust import add_trust_flag
from gan_registry.errors import UserError
from gan_registry.files import check_writable
from gan_registry.formatting import printable, printable_lines

COMMANDS = {
    "calibrate": "diagan_plugin.blackbox.commands:add_calibrate",
    "diagnose": "diagan_plugin.cli:add_diagnose",
    "doctor": "diagan_plugin.hosts.doctor:add_command",
    "export": "diagan_plugin.report.commands:add_export",
    "nvlabs": "diagan_plugin.hosts.nvlabs.command:add_command",
    "report": "diagan_plugin.cli:add_report",
    "sample": "diagan_plugin.hosts.nvlabs.sample:add_command",
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
    add_completion(commands, parser)
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


def add_diagnose(commands: Any) -> None:
    """Adds `diagan diagnose`: of a black box, or of a finished GAN by its discriminators."""
    from diagan_plugin.blackbox import commands as blackbox
    from diagan_plugin.hosts.finished import command as finished

    parser = blackbox.add_diagnose(commands)
    finished.add_flags(parser)

    def run(arguments: argparse.Namespace) -> int:
        given = given_flags(parser, arguments)
        if arguments.discriminators is not None:
            return finished.run(arguments, given)
        finished.check_without(given)
        return blackbox.run(arguments, given)

    parser.set_defaults(handler=run)


def add_report(commands: Any) -> None:
    """Adds `diagan report`."""
    report = commands.add_parser(
        "report", allow_abbrev=False, help="write the report of a run anew",
        description="Write report.html of a run anew, from the files in its folder; of one that is "
        "still training, what is known at its newest checkpoint. Of two runs on the same data: "
        "which samples and groups the second recovers and loses.",
    )  # fmt: skip
    report.add_argument(
        "--run", required=True, metavar="DIR", type=Path, action="append",
        help="the run folder; twice for a comparison, the run to compare with first",
    )  # fmt: skip
    report.add_argument(
        "--out", metavar="FILE.html", type=Path, help="of a comparison: the file to write"
    )
    report.add_argument(
        "--features", metavar="NAME|FILE",
        help="of a comparison: what distances are measured between (default: auto)",
    )  # fmt: skip
    report.add_argument(
        "--num", metavar="N", type=int,
        help="of a comparison: generated samples of each of two draws (default: 2,000)",
    )  # fmt: skip
    add_trust_flag(report)
    report.set_defaults(handler=report_on)


def report_on(arguments: argparse.Namespace) -> int:
    """Carries out `diagan report`: of one run, or of two."""
    given = {flag: getattr(arguments, flag) for flag in ("out", "features", "num")}
    given = {flag: value for flag, value in given.items() if value is not None}
    if len(arguments.run) == 1:
        if given:
            raise UserError(f"--{min(given)} has no meaning with one --run; leave it out.")
        arguments.run = arguments.run[0]
        return write(arguments)
    if len(arguments.run) > 2:
        raise UserError(
            f"--run is given {len(arguments.run)} times, but two runs are compared at most; for "
            "more: gan-registry compare."
        )
    if given.get("num", 4) < 4:
        raise UserError(f"--num is {arguments.num}, but must be at least 4.")
    from diagan_plugin.report.two_runs import compare_runs, default_path
    from gan_registry.cli.train import require_folder

    folders = [require_folder(folder) for folder in arguments.run]
    path = given.pop("out", None) or default_path(folders)
    check_writable(path)
    compare_runs(folders, trust=arguments.trust, **given).write(path)
    print(printable(f"report  {path}"))
    return 0


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
