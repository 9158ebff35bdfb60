"""The parser of both commands: errors of one line that lead on, and help that begins short."""

from __future__ import annotations

import argparse
import re
from collections import Counter
from collections.abc import Sequence
from typing import Any, NoReturn

from gan_registry.errors import nearest
from gan_registry.formatting import one_line

ALL_HELP = "--help-all"


class Parser(argparse.ArgumentParser):
    """An argument parser whose errors are one line, with exit code 2.

    A flag that it does not know is refused by the parser of the subcommand, which knows those that
    there are. Flags of plugins (`dest` is `plugin.option`) are shown by `--help-all` alone.

    Attributes:
        hint: A sentence to add where a flag is unknown, e.g. that its plugin was skipped.
    """

    hint = ""

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        """Parses; ends the program where something is left over."""
        found, rest = super().parse_known_args(args, namespace)
        if rest:
            known = {flag.lstrip("-"): flag for flag in self._option_string_actions}
            flags = [word.partition("=")[0].lstrip("-") for word in rest if word.startswith("-")]
            near = [known[match] for flag in flags if (match := nearest(flag, known))]
            meant = f"; did you mean {' and '.join(near)}?" if near else ""
            self.error(f"unrecognized arguments: {' '.join(rest)}{meant}")
        return found, rest

    def _check_value(self, action: argparse.Action, value: Any) -> None:
        try:
            super()._check_value(action, value)
        except argparse.ArgumentError as error:
            match = nearest(str(value), map(str, action.choices or ()))
            if match and "?" not in error.message:  # Python has suggestions of its own from 3.14
                error.message += f"; did you mean {match!r}?"
            raise

    def error(self, message: str) -> NoReturn:
        """Ends the program with the message and a pointer to the help that tells more."""
        hint = self.hint if "unrecognized arguments" in message else ""
        message = one_line(message)
        named = set(re.findall(r"--?[\w-]+", message))
        of_plugins = any(named.intersection(action.option_strings) for action in self._of_plugins)
        flag = ALL_HELP if of_plugins else "--help"
        self.exit(2, f"{self.prog}: error: {message} (see {self.prog} {flag}).{hint}\n")

    def format_help(self, everything: bool = False) -> str:
        """Returns the help, with the flags of plugins if everything is asked for."""
        own = [action for action in self._actions if action not in self._of_plugins]
        formatter = self._get_formatter()
        formatter.add_usage(self.usage, own, self._mutually_exclusive_groups)
        formatter.add_text(self.description)
        for group in self._action_groups:
            actions = [action for action in group._group_actions if action in own]
            self._add_section(formatter, actions, group.title, group.description)
        if everything:
            for plugin in dict.fromkeys(map(_plugin, self._of_plugins)):
                self._add_plugin(formatter, plugin)
        elif self._of_plugins:
            counts = Counter(map(_plugin, self._of_plugins))
            listed = ", ".join(f"{name} ({count})" for name, count in counts.items())
            formatter.add_text(f"Plugins add more flags, which {ALL_HELP} shows: {listed}.")
        formatter.add_text(self.epilog)
        return formatter.format_help()

    def _add_plugin(self, formatter: argparse.HelpFormatter, plugin: str) -> None:
        """Adds a plugin's flags, group by group; those without one under the plugin's name."""
        for group in self._action_groups:
            flags = [a for a in group._group_actions if "." in a.dest and _plugin(a) == plugin]
            loose = group in (self._positionals, self._optionals)
            title = plugin if loose else f"{plugin}: {group.title}"
            self._add_section(formatter, flags, title, group.description)

    @staticmethod
    def _add_section(
        formatter: argparse.HelpFormatter,
        actions: Sequence[argparse.Action],
        title: str | None,
        description: str | None,
    ) -> None:
        if actions:
            formatter.start_section(title)
            formatter.add_text(description)
            formatter.add_arguments(actions)
            formatter.end_section()

    @property
    def _of_plugins(self) -> list[argparse.Action]:
        return [action for action in self._actions if "." in action.dest]


class ShowAll(argparse.Action):
    """The flag `--help-all`: shows the help with the flags of plugins."""

    def __init__(self, option_strings: Sequence[str], dest: str, **settings: Any) -> None:
        super().__init__(option_strings, argparse.SUPPRESS, nargs=0, default=argparse.SUPPRESS,
                         **settings)  # fmt: skip

    def __call__(self, parser: Any, namespace: Any, values: Any, option_string: Any = None) -> None:
        """Shows it and ends the program."""
        print(parser.format_help(everything=True), end="")
        parser.exit()


def _plugin(action: argparse.Action) -> str:
    return action.dest.partition(".")[0]
