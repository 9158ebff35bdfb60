"""Runs a host's script from the user's checkout: its modules, and the processes that it starts."""

from __future__ import annotations

import importlib
import runpy
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch.multiprocessing.spawn import ProcessExitedException

from diagan_plugin.hosts.kit.patches import Patches
from gan_registry.errors import PluginError, UserError

_FAILED = 2


@contextmanager
def checkout_modules(host: str, source: str, names: Sequence[str]) -> Iterator[None]:
    """Imports modules whose names are as general as `config`, and forgets them at the end.

    Args:
        host: The host's name.
        source: The folder that goes first on the path.
        names: What is imported first, in this order.

    Raises:
        UserError: A package that the host needs is missing, or a name is taken.
    """
    before, path = set(sys.modules), list(sys.path)
    if source not in sys.path:
        sys.path.insert(0, source)
    try:
        for name in names:
            _import(host, name, source)
        yield
    finally:
        sys.path[:] = path
        for name in set(sys.modules) - before:
            where = getattr(sys.modules[name], "__file__", None)
            if where and Path(where).is_relative_to(source):
                del sys.modules[name]


def _import(host: str, name: str, source: str) -> None:
    try:
        module = importlib.import_module(name)
    except ModuleNotFoundError as error:
        raise UserError(
            f"{host} needs the package {error.name!r}, which is not installed; see its README."
        ) from error
    where = str(module.__file__ or "")
    if not Path(where).resolve().is_relative_to(Path(source).resolve()):
        raise UserError(
            f"{host}'s module {name!r} is hidden by {where}; run elsewhere, or rename that."
        )


def run_script(
    script: Path,
    arguments: Sequence[str],
    patches: Patches,
    install: Callable[[], object],
    start: Callable[..., Any],
) -> int:
    """Runs a host's script in this process, with the seams in place until it ends.

    Args:
        script: Its file.
        arguments: What it is given on its command line.
        patches: What `install` puts in place; undone at the end.
        install: Puts the seams in place.
        start: `(torch.multiprocessing.spawn, …) -> its result`, for the processes that it starts.

    Returns:
        Its exit code.

    Raises:
        UserError: A seam is not as expected, or a plugin refuses.
    """
    argv, sys.argv = sys.argv, [str(script), *arguments]
    try:
        install()
        patches.around(torch.multiprocessing, "spawn", start)
        runpy.run_path(str(script), run_name="__main__")
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else int(bool(end.code))
    finally:
        sys.argv = argv
        patches.undo()
    return 0


@contextmanager
def unnamed_main() -> Iterator[None]:
    """Hides the running script's file, so that processes started inside do not import it first."""
    main = sys.modules["__main__"].__dict__
    file = main.pop("__file__", None)
    try:
        yield
    finally:
        if file is not None:
            main["__file__"] = file


def spawn(
    original: Callable[..., Any],
    entry: Callable[..., None],
    arguments: tuple[Any, ...],
    complaints: str,
    nprocs: int,
    **options: Any,
) -> Any:
    """Starts a host's processes by an entry that puts the seams in place, and waits for them.

    Args:
        original: `torch.multiprocessing.spawn`.
        entry: Called with the rank and the arguments, at the top of an importable module.
        arguments: What it takes; pickled.
        complaints: Where :func:`complaining` leaves a mistake of the user's.
        nprocs: How many processes.
        **options: More of `spawn`.

    Raises:
        UserError: A child process has met a mistake of the user's, or of a plugin's.
    """
    with unnamed_main():
        context = original(entry, args=arguments, nprocs=nprocs, join=False, **options)
    try:
        while not context.join():
            pass
    except ProcessExitedException as error:
        if error.exit_code == _FAILED:
            for complaint in sorted(Path(complaints).glob("*.txt")):
                kind, _, message = complaint.read_text(encoding="utf-8").partition("\n")
                raise (PluginError if kind == "plugin" else UserError)(message) from None
        raise
    return context


@contextmanager
def complaining(complaints: str, rank: int) -> Iterator[None]:
    """Ends a child process without a traceback where the user has made a mistake."""
    try:
        yield
    except UserError as error:
        kind = "plugin" if isinstance(error, PluginError) else "user"
        Path(complaints, f"{rank}.txt").write_text(f"{kind}\n{error}", encoding="utf-8")
        raise SystemExit(_FAILED) from None
