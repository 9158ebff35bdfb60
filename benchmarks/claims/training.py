"""Trains a cell's run, from a phase 1 that several cells share where they do.

The shared part is a run of its own, which ends with the last step before phase 2. Its checkpoint is
copied into a new run folder, with a configuration that differs only in options of plugins: host and
checkpoint bind what the host trains by, and a plugin answers for its own state.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks.claims.cells import Cell
from benchmarks.claims.declared import PLAIN, Settings
from diagan_plugin.dia.options import DiaOptions
from diagan_plugin.dia.schedule import Schedule
from gan_registry.config.load import read_config, set_key, validate_config
from gan_registry.config.schema import Config
from gan_registry.errors import UserError
from gan_registry.evaluation.evaluate import evaluate
from gan_registry.hookspecs import hookimpl
from gan_registry.live_run import LiveRun
from gan_registry.plugins import PluginManager
from gan_registry.training.checkpoint import checkpoint_path, newest_sound
from gan_registry.training.folder import write_config
from gan_registry.training.run import Run
from gan_registry.training.trainer import train

_LEFT_OUT = frozenset({"config", "sampler", "seed", "versions", "directions"})
"""Of a result: what a cell says already, or what is the same for all."""


class Prepared(NamedTuple):
    """What a run is made of."""

    config: Config
    plugins: PluginManager
    options: dict[str, dict[str, Any]]


class _PhaseOver(KeyboardInterrupt):
    """The last step of what is shared is saved."""


class _Stop:
    """Ends a training after a step that was saved."""

    def __init__(self, step: int) -> None:
        self.step = step

    @hookimpl
    def gan_step_end(self, run: LiveRun) -> None:
        """Ends it: not by `run.stop`, which would end what goes on from there, too."""
        if run.step > self.step:
            raise _PhaseOver


def prepare(config_name: str, settings: Settings, seed: int, data: Path | None = None) -> Prepared:
    """Reads a packaged configuration, changed and checked, with the options of all plugins.

    Args:
        config_name: Its name.
        settings: Over it.
        seed: The run's.
        data: Where the data lie, if they lie anywhere.

    Raises:
        UserError: A setting is none, or cannot be.
    """
    plugins = PluginManager()
    _, where, content = read_config(config_name)
    always = {"RUN.seed": seed, "RUN.cpu_threads": 1, "RUN.save_freq": 0}
    placed = {} if data is None else {"DATA.path": str(data)}
    for key, value in {**always, **placed, **settings}.items():
        content = set_key(content, key, value, key)
    config = validate_config(content, where, plugins.catalogs.claims)
    return Prepared(config, plugins, plugins.options.resolve(config.PLUGINS))


def train_cell(cell: Cell, work: Path, folder: Path, data: Path | None = None) -> Run:
    """Trains the run of a cell, from the shared phase 1 in `work` where it has one.

    Args:
        cell: The cell.
        work: Where shared phases are kept; an interrupted training goes on from what is there.
        folder: The run folder.
        data: Where the data lie, if they lie anywhere.

    Raises:
        UserError: The settings cannot work, or there are no data.
    """
    settings = {**cell.settings, **cell.how.settings}
    if cell.how.later is None:
        made = prepare(cell.config, settings, cell.seed, data)
    else:
        made = prepare(cell.config, {**settings, **cell.how.later}, cell.seed, data)
        if newest_sound(folder) is None:
            trunk = trunk_folder(cell, work)
            step = _train_trunk(cell, prepare(cell.config, settings, cell.seed, data), trunk)
            fork(trunk, step, folder, cell.config, made)
    return train(made.config, folder, made.plugins, made.options, name=cell.config, quiet=True)


def trunk_folder(cell: Cell, work: Path) -> Path:
    """Returns the run folder of the phase 1 that a cell shares."""
    return work / f"phase1-{cell.trunk}-seed{cell.seed}"


def _train_trunk(cell: Cell, made: Prepared, folder: Path) -> int:
    """Trains what is shared, unless that is done; returns its last step."""
    dia, total = DiaOptions(**made.options["dia"]), made.config.OPTIMIZATION.total_steps
    if made.config.RUN.sampler != "dia" or dia.phase1 == "auto":
        raise UserError(
            f"{cell}: a phase 1 is shared only under RUN.sampler dia with a PLUGINS.dia.phase1 "
            "that is a number."
        )
    step = Schedule(dia, total, True).phase1_end - 1
    if step < 1:
        raise UserError(f"{cell}: phase 1 is too short to be shared.")
    if not checkpoint_path(folder, step).exists():
        made.config.RUN.save_freq, made.config.RUN.keep_checkpoints = step, 2
        made.plugins.register(_Stop(step), "the end of the shared phase")
        with contextlib.suppress(_PhaseOver):
            train(made.config, folder, made.plugins, made.options, name=cell.config, quiet=True)
    return step


def fork(trunk: Path, step: int, folder: Path, name: str, made: Prepared) -> None:
    """Makes a run folder that goes on from a step of another run, with other plugin options.

    Args:
        trunk: The other run's folder.
        step: A step that was saved there.
        folder: The new one.
        name: The configuration's name.
        made: What goes on; what its host binds must be as in the trunk.
    """
    shutil.rmtree(folder, ignore_errors=True)
    target = checkpoint_path(folder, step)
    target.parent.mkdir(parents=True)
    write_config(folder, name, made.config, made.options, {})
    temporary = target.with_suffix(".copy")
    shutil.copyfile(checkpoint_path(trunk, step), temporary)
    os.replace(temporary, target)


def measured(cell: Cell, run: Run) -> dict[str, Any]:
    """Evaluates a trained run and returns what a cell keeps of `result.json`.

    Kinds that are no post-processors are rows that the claim reads off otherwise.
    """
    known = run.plugins.catalogs.postprocessors
    result = evaluate(run, postprocessors=[kind for kind in cell.how.kinds if kind in known])
    return {key: value for key, value in result.items() if key not in _LEFT_OUT}


def seconds_of(folder: Path) -> float:
    """Returns how long a phase 1 was trained, by its log; 0 where there is none."""
    try:
        lines = (folder / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
        return float(json.loads(lines[-1])["seconds"])
    except (OSError, ValueError, IndexError, KeyError):
        return 0.0


def by_kind(values: Mapping[str, Any], kind: str) -> tuple[Mapping[str, Any], str]:
    """Returns the metrics of a kind of samples in a result, and how its other keys end."""
    ending = "" if kind == PLAIN else f"_{kind}"
    metrics: Mapping[str, Any] = values.get(f"metrics{ending}") or {}
    return metrics, ending
