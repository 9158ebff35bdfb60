"""The command `gan-registry`: reads the command line and hands over to a subcommand."""

from __future__ import annotations

import argparse
import sys
import warnings
from collections.abc import Callable, Sequence
from typing import NoReturn

from gan_registry import __version__
from gan_registry.errors import UserError
from gan_registry.plugins import PluginManager

Handler = Callable[[argparse.Namespace, PluginManager], int]


class Parser(argparse.ArgumentParser):
    """An argument parser whose errors are one line, with exit code 2."""

    def error(self, message: str) -> NoReturn:
        """Ends the program with the message and a pointer to --help."""
        self.exit(2, f"{self.prog}: error: {message} (see {self.prog} --help)\n")


def build_parser(plugins: PluginManager) -> argparse.ArgumentParser:
    """Builds the parser, with the flags of the loaded plugins."""
    from gan_registry.cli import compare, evaluate, listing, plugin_list, sample, train

    _ = plugins.options  # settles the flags' defaults before they are shared
    parser = Parser(
        prog="gan-registry", description="Train, sample, evaluate and compare GANs.",
        allow_abbrev=False,
    )  # fmt: skip
    parser.add_argument("--version", action="version", version=f"gan-registry {__version__}")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", parser_class=Parser)
    for module in (train, sample, evaluate, compare, listing, plugin_list):
        module.add_command(commands, plugins)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command line; returns the exit code (0, 2 for a user's mistake)."""
    warnings.showwarning = _show_warning
    return run_command(lambda: build_and_parse(argv), "gan-registry")


def build_and_parse(argv: Sequence[str] | None) -> int:
    """Parses and runs one command."""
    plugins = PluginManager()
    parser = build_parser(plugins)
    arguments = parser.parse_args(argv)
    if not hasattr(arguments, "handler"):
        parser.print_help()
        return 2
    handler: Handler = arguments.handler
    return handler(arguments, plugins)


def run_command(command: Callable[[], int], program: str) -> int:
    """Runs a command and turns what a user can mend into one line and exit code 2."""
    try:
        return command()
    except UserError as error:
        print(f"{program}: error: {error}", file=sys.stderr)
        return 2
    except BrokenPipeError:
        sys.stderr.close()
        return 0
    except KeyboardInterrupt:
        print(
            f"\n{program}: interrupted; the same command continues from the last checkpoint.",
            file=sys.stderr,
        )
        return 130


def _show_warning(message: Warning | str, *_: object, **__: object) -> None:
    """Prints warnings as lines for people, without file and line number."""
    print(f"warning: {message}", file=sys.stderr)
