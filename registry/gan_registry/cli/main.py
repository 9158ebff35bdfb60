"""The command `gan-registry`: reads the command line and hands over to a subcommand."""

from __future__ import annotations

import argparse
import contextlib
import errno
import io
import logging
import os
import sys
import traceback
import warnings
from collections.abc import Callable, Iterator, Sequence

from gan_registry import __version__
from gan_registry.cli.parser import Parser
from gan_registry.errors import PluginError, UserError
from gan_registry.formatting import one_line, printable_lines
from gan_registry.plugins import PluginManager

Handler = Callable[[argparse.Namespace, PluginManager], int]

# What the operating system refuses for reasons that only a person can mend.
_REFUSALS = {
    errno.EACCES, errno.EDQUOT, errno.EISDIR, errno.ELOOP, errno.ENAMETOOLONG, errno.ENOSPC,
    errno.ENOTDIR, errno.EPERM, errno.EROFS,
}  # fmt: skip


def build_parser(plugins: PluginManager) -> argparse.ArgumentParser:
    """Builds the parser, with the flags of the loaded plugins."""
    from gan_registry.cli import compare, evaluate, init, listing, plugin_list, sample, train
    from gan_registry.cli.completion import add_completion

    parser = Parser(
        prog="gan-registry", description="Train, sample, evaluate and compare GANs.",
        allow_abbrev=False,
    )  # fmt: skip
    parser.add_argument("--version", action="version", version=f"gan-registry {__version__}")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", parser_class=Parser)
    for module in (init, train, sample, evaluate, compare, listing, plugin_list):
        module.add_command(commands, plugins)
    add_completion(commands, parser)
    for command in (parser, *commands.choices.values()):
        command.hint = plugins.skipped_hint()
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command line; returns the exit code: 0, 2 for a user's mistake, 1 for a defect."""
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
    """Runs a command and turns what a person can mend into one line and exit code 2.

    Anything else that goes wrong is a defect: its traceback is shown, and the exit code is 1.
    """
    with _plain_output():
        try:
            code = command()
            sys.stdout.flush()  # here, where a closed pipe can still be dealt with
            return code
        except UserError as error:
            if os.environ.get("GAN_REGISTRY_TRACEBACK"):  # for those who write plugins
                traceback.print_exception(error)
            _complain(program, str(error))
            return 1 if isinstance(error, PluginError) else 2
        except BrokenPipeError:
            # Whoever read the output has seen enough. Nothing may be written at exit either.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            return 0
        except OSError as error:
            if error.errno not in _REFUSALS:
                raise
            what = "the disk" if error.filename is None else error.filename
            _complain(program, f"Cannot use {what}: {error.strerror}.")
            return 2
        except (KeyboardInterrupt, Exception) as error:
            signal = _signal_behind(error)
            if signal is None:
                raise
            print(f"\n{program}: interrupted.", file=sys.stderr)
            return int(getattr(signal, "exit_code", 130))


def _signal_behind(error: BaseException | None) -> KeyboardInterrupt | None:
    """Finds what interrupted: an import that is interrupted may fail with another error."""
    while error is not None and not isinstance(error, KeyboardInterrupt):
        error = error.__cause__ or error.__context__
    return error


def _complain(program: str, message: str) -> None:
    print(f"{program}: error: {one_line(message)}", file=sys.stderr)


def _show_warning(message: Warning | str, *_: object, **__: object) -> None:
    """Prints warnings as lines for people, without file and line number."""
    print(f"warning: {one_line(message)}", file=sys.stderr)


class _PrintableRecord(logging.LogRecord):
    """A logged message, in which nothing from data can steer the terminal."""

    def getMessage(self) -> str:  # noqa: N802  # logging's own name
        """Returns the message, escaped."""
        return printable_lines(super().getMessage())


@contextlib.contextmanager
def _plain_output() -> Iterator[None]:
    """Sees to it that text from data neither steers the terminal nor fails to be printed."""
    made = logging.getLogRecordFactory()
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    with warnings.catch_warnings():
        warnings.showwarning = _show_warning
        logging.setLogRecordFactory(_PrintableRecord)
        try:
            yield
        finally:
            logging.setLogRecordFactory(made)
