"""The command `diagan`: what the plugin does beside the host's own command."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from diagan_plugin import __version__
from gan_registry.cli.main import Parser, run_command


def build_parser() -> argparse.ArgumentParser:
    """Builds the parser."""
    parser = Parser(prog="diagan", description="Self-diagnosis for GANs.", allow_abbrev=False)
    parser.add_argument("--version", action="version", version=f"diagan {__version__}")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", parser_class=Parser)
    report = commands.add_parser(
        "report", allow_abbrev=False, help="write the report of a trained run anew",
        description="Write report.html of a trained run anew, from the files in its folder.",
    )  # fmt: skip
    report.add_argument("--run", required=True, metavar="DIR", type=Path, help="the run folder")
    report.set_defaults(handler=write)
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


def write(arguments: argparse.Namespace) -> int:
    """Carries out `diagan report`."""
    from gan_registry.cli.train import require_folder
    from gan_registry.evaluation.results import read_result
    from gan_registry.report.write import write_report
    from gan_registry.training.trainer import open_run

    folder = require_folder(arguments.run)
    read_result(folder)  # a folder without a result is refused before anything heavy begins
    print(f"report  {write_report(open_run(folder))}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
