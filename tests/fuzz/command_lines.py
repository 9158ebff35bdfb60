"""Command lines of `gan-registry` and `diagan`, made of their parsers' own flags.

Nothing long is begun: what trains, measures or launches is replaced where a command line got so
far. Files that flags name are missing, empty, folders or rubbish.
"""

from __future__ import annotations

import argparse
import contextlib
import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest import mock

from hypothesis import strategies as st

import diagan_plugin.cli
import gan_registry.cli.main
from gan_registry.plugins import PluginManager
from gan_registry.training.cost import Cost
from tests.fuzz.harness import Target, command, scratch
from tests.fuzz.values import ODD_TEXTS, TEXT, seldom

Case = tuple[str, list[str]]

PROGRAMS: dict[str, Callable[[list[str]], int]] = {
    "gan-registry": gan_registry.cli.main.main,
    "diagan": diagan_plugin.cli.main,
}

HEAVY: dict[str, Any] = {
    "gan_registry.cli.train._train_and_measure": None,
    "gan_registry.datasets.download.download": None,
    "gan_registry.training.plan.measure": Cost(0.1, 0.1),
    "diagan_plugin.blackbox.command_tasks.diagnose_samples": None,
    "diagan_plugin.blackbox.command_tasks.calibrate_generator": None,
    "diagan_plugin.blackbox.command_tasks.draw_samples": None,
    "diagan_plugin.hosts.studiogan.launcher.launch": 0,
}
"""What is replaced, and what it returns then."""

FILES = ("missing", "empty", "rubbish.yaml", "folder", "small.yaml", "absent/deep/file.npz")
_WORDS = (
    "gaussian", "gmm25", "dia", "drs", "plain", "uniform", "fid", "raw", "auto", "cpu", "none",
    "0", "1", "2", "0.5", "1=0.1", "DATA.img_size=8", "RUN.seed=1", "collapse", *FILES,
)  # fmt: skip


@functools.cache
def subcommands(program: str) -> dict[str, argparse.ArgumentParser]:
    """Subcommand → its parser."""
    parser = (
        gan_registry.cli.main.build_parser(PluginManager())
        if program == "gan-registry"
        else diagan_plugin.cli.build_parser()
    )
    (action,) = (each for each in parser._actions if isinstance(each, argparse._SubParsersAction))
    return dict(action.choices)


def _value(action: argparse.Action) -> st.SearchStrategy[str]:
    if action.choices:
        usual: st.SearchStrategy[str] = st.sampled_from([str(each) for each in action.choices])
    elif action.type is Path:
        usual = st.sampled_from(FILES)
    elif action.type is int:
        usual = st.integers(-2, 300).map(str)
    elif action.type is float:
        usual = st.floats(-1, 2).map(str)
    else:
        usual = st.sampled_from(_WORDS)
    return seldom(0.2, usual, st.one_of(TEXT, ODD_TEXTS, st.sampled_from(_WORDS)))


@st.composite
def cases(draw: Any) -> Case:
    """A program and its arguments; flags that are required are given more often than not."""
    program = draw(st.sampled_from(sorted(PROGRAMS)))
    names = sorted(subcommands(program))
    name = draw(seldom(0.05, st.sampled_from(names), TEXT))
    if name not in names:
        return program, [name, *draw(st.lists(TEXT, max_size=2))]
    actions = subcommands(program)[name]._actions
    needed = [each for each in actions if each.required and each.option_strings]
    chosen = [] if draw(st.integers(0, 9)) == 0 else needed
    chosen += draw(st.lists(st.sampled_from(actions), max_size=4))
    line = [name]
    if name == "train" and draw(st.booleans()):
        line += ["--config", draw(st.sampled_from(["gaussian", "gmm25", "small.yaml"]))]
    for action in chosen:
        line += [draw(st.sampled_from(action.option_strings))] if action.option_strings else []
        count = {None: 1, "?": 1, "+": 1, "*": 1}.get(action.nargs, action.nargs)
        for _ in range(int(count) if isinstance(count, int) else 1):
            line.append(draw(_value(action)))
    if draw(st.integers(0, 19)) == 0:
        line.insert(draw(st.integers(0, len(line))), draw(st.one_of(TEXT, ODD_TEXTS)))
    return program, line


def obey(case: Case) -> bool:
    """Runs a command line where files of all kinds lie."""
    program, line = case
    with scratch() as folder, contextlib.ExitStack() as stack:
        for place, result in HEAVY.items():
            stack.enter_context(mock.patch(place, return_value=result))
        (folder / "empty").touch()
        (folder / "folder").mkdir()
        (folder / "rubbish.yaml").write_bytes(b"\x80{[: ")
        (folder / "small.yaml").write_text("DATA: {name: gmm25, options: {num_samples: 64}}\n")
        code, _ = command(PROGRAMS[program], line)
    return code == 0


TARGETS = (Target("commands", cases(), obey, 30, least=0.02),)
