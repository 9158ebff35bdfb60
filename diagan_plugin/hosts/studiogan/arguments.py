"""StudioGAN's own arguments, as far as the adapter has to read them; they are passed on unchanged.

StudioGAN's options are of the form `-cfg` and its parser is its own business, so they are looked up
here without a parser: an option that is spelt out counts, the last one of several. Free of torch.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from gan_registry.errors import UserError


def value_of(arguments: Sequence[str], *names: str) -> str | None:
    """Returns the value given to an option, or None.

    Args:
        arguments: StudioGAN's arguments.
        *names: How the option is spelt, e.g. "-cfg", "--cfg_file".
    """
    value = None
    for position, argument in enumerate(arguments):
        name, equals, given = argument.partition("=")
        if name not in names:
            continue
        if equals:
            value = given
        elif position + 1 < len(arguments):
            value = arguments[position + 1]
    return value


def check_arguments(arguments: Sequence[str]) -> None:
    """Refuses what would end in one of StudioGAN's tracebacks.

    Raises:
        UserError: There are no arguments, or a file or folder that they name does not exist.
    """
    if not arguments:
        raise UserError("Give StudioGAN's own arguments after --, e.g. -- -t -cfg CONFIG.yaml.")
    config = value_of(arguments, "-cfg", "--cfg_file")
    if config is not None and not Path(config).is_file():
        raise UserError(f"-cfg {config}: there is no such file.")
    for short, long in (("-data", "--data_dir"), ("-ckpt", "--ckpt_dir")):
        folder = value_of(arguments, short, long)
        if folder is not None and not Path(folder).is_dir():
            raise UserError(f"{short} {folder}: there is no such folder.")


def trains(arguments: Sequence[str]) -> bool:
    """Whether they ask for training."""
    return any(argument in ("-t", "--train") for argument in arguments)


def checkpoint_folder(arguments: Sequence[str]) -> Path | None:
    """Returns the folder of checkpoints to begin with, or None."""
    folder = value_of(arguments, "-ckpt", "--ckpt_dir")
    return None if folder is None else Path(folder)


def save_folder(arguments: Sequence[str]) -> Path:
    """Returns the folder that everything is written to."""
    return Path(value_of(arguments, "-save", "--save_dir") or "./")
