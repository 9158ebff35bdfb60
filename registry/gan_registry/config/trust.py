"""Code that a configuration names: run if the user's own command line names it, or says --trust.

Configurations and run folders are passed from hand to hand; reading one must not run what its
author wished. Installed plugins and packaged configurations are the user's choice already.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Container, Iterable, Iterator, Mapping
from typing import Any, NamedTuple

from gan_registry.config.schema import Config
from gan_registry.errors import UserError
from gan_registry.options import OptionTable

_SUFFIXES = (".pt", ".pth", ".ts", ".jit", ".torchscript")
_MODULE = "MODEL.module"
EVAL_FEATURES = "RUN.eval_features"


class NamedCode(NamedTuple):
    """A key of a configuration that names code.

    Attributes:
        key: `SECTION.key`.
        value: The module or file.
        flag: What names it on the command line.
    """

    key: str
    value: str
    flag: str


def is_file(choice: str) -> bool:
    """Whether a choice of features is a path: there is such a file, or it ends like one."""
    return choice.lower().endswith(_SUFFIXES) or os.path.isfile(os.path.expanduser(choice))


def feature_choice(text: str) -> str:
    """The type of a plugin's flag that takes a feature extractor: a name, or a TorchScript file."""
    return text


def add_trust_flag(parser: Any) -> None:
    """Adds `--trust` to a command that reads configurations or run folders."""
    parser.add_argument(
        "--trust", action="store_true",
        help="run code that the config or run folder names: MODEL.module, TorchScript files",
    )  # fmt: skip


def named_code(
    config: Config,
    options: Mapping[str, Mapping[str, Any]],
    table: OptionTable | None = None,
    features: Container[str] = (),
) -> Iterator[NamedCode]:
    """Finds what in a configuration names code.

    Args:
        config: The configuration.
        options: Plugin → option → value.
        table: The options of all plugins; those of the type :func:`feature_choice` are looked at.
        features: Known names of feature extractors, which are no files.
    """
    if config.MODEL.module is not None:
        yield NamedCode(_MODULE, config.MODEL.module, f"--set {_MODULE}={config.MODEL.module}")
    choice = config.RUN.eval_features
    if choice not in features and is_file(choice):
        yield NamedCode(EVAL_FEATURES, choice, f"--set {EVAL_FEATURES}={choice}")
    for option in table or ():
        if option.convert is feature_choice:
            choice = options.get(option.plugin, {}).get(option.name) or ""
            if choice not in features and is_file(choice):
                yield NamedCode(option.key, choice, f"{option.flag} {choice}")


def refuse_code(
    found: Iterable[NamedCode],
    where: str,
    named: Collection[str] = (),
    instead: str | None = None,
) -> None:
    """Refuses code that only a file names.

    Args:
        found: What names code.
        where: The file, for the message.
        named: Keys that the user's command line gives, or sections and plugins of such.
        instead: What names it on the command line at hand, "" for nothing; each code's own `flag`
            by default.

    Raises:
        UserError: There is some; says what, and how to allow it.
    """
    for code in found:
        if not any(code.key == key or code.key.startswith(f"{key}.") for key in named):
            flag = code.flag if instead is None else instead
            itself = f", or name it yourself: {flag}" if flag else ""
            raise UserError(
                f"{where} names code that would be run: {code.key} = {code.value!r}. If you trust "
                f"it, add --trust (in Python: trust=True){itself}."
            )
