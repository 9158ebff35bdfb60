"""`gan-registry completion`: the script by which a shell completes commands, flags and names.

Made from the parser itself: a package that does this (shtab, argcomplete) would be one more to
install, or would start the program at each press of the key.
"""

from __future__ import annotations

import argparse
import re
from collections.abc import Iterator
from typing import Any

_SCRIPT = """\
{zsh}{function}() {{
  local key="${{COMP_WORDS[1]}}" words
  if ((COMP_CWORD == 1)); then
    key=
  elif [[ "${{COMP_WORDS[COMP_CWORD]}}" != -* ]]; then
    key+=" ${{COMP_WORDS[COMP_CWORD - 1]}}"
  fi
  case "$key" in
{cases}
  esac
  COMPREPLY=($(compgen -W "$words" -- "${{COMP_WORDS[COMP_CWORD]}}"))
}}
complete -o default -F {function} {program}
"""


def add_completion(commands: Any, parser: argparse.ArgumentParser) -> None:
    """Adds the subcommand, after all others, to the commands of a parser."""
    command = commands.add_parser(
        "completion", allow_abbrev=False, help="print a script for completion in a shell",
        description="Print a script by which a shell completes commands, flags and names. For "
        f'good: add  eval "$({parser.prog} completion bash)"  to ~/.bashrc, or the like with zsh '
        "to ~/.zshrc.",
    )  # fmt: skip
    command.add_argument("shell", choices=("bash", "zsh"), help="bash or zsh")

    def run(arguments: argparse.Namespace, *_: Any) -> int:
        print(script(parser, arguments.shell), end="")
        return 0

    command.set_defaults(handler=run)


def script(parser: argparse.ArgumentParser, shell: str) -> str:
    """Returns the script for "bash" or "zsh"."""
    (commands,) = (a.choices for a in parser._actions if a.nargs == argparse.PARSER)
    assert isinstance(commands, dict)
    cases = [("", [*commands, *parser._option_string_actions])]
    for name, command in commands.items():
        cases.append((name, list(command._option_string_actions)))
        cases += [(f"{name} {flag}", words) for flag, words in _values(command)]
    return _SCRIPT.format(
        zsh="autoload -Uz bashcompinit && bashcompinit\n" if shell == "zsh" else "",
        function="_" + re.sub(r"\W", "_", parser.prog),
        program=parser.prog,
        cases="\n".join(f'    "{key}") words="{" ".join(words)}" ;;' for key, words in cases),
    )


def _values(command: argparse.ArgumentParser) -> Iterator[tuple[str, list[str]]]:
    """Yields the flags whose values have names, with these; `completer` is argcomplete's word."""
    for action in command._actions:
        names = [str(name) for name in action.choices or getattr(action, "completer", list)()]
        if names:
            yield from ((flag, names) for flag in action.option_strings)
