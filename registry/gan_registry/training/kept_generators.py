"""Generators of earlier steps that plugins asked to keep: for the evaluation to measure as well.

A file each, `kept/NAME.safetensors` in the run folder, which no pruning of checkpoints removes. A
run that is continued from before its step writes it again, the same.
"""

from __future__ import annotations

import copy
import logging
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import nn

from gan_registry.errors import PluginError
from gan_registry.integrity import DamagedError
from gan_registry.live_run import LiveRun
from gan_registry.state_files import read_state, write_state

FORMAT = "gan_registry kept generator 1"
_SUFFIX = ".safetensors"
_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,39}")

_LOG = logging.getLogger(__name__)


class KeptGenerators:
    """Those of a run; a run without a folder has them in memory.

    Args:
        run: The run.
    """

    def __init__(self, run: LiveRun) -> None:
        self._run = run
        self._states: dict[str, Mapping[str, Any]] = {}

    def keep(self, name: str) -> None:
        """Keeps the generator that is sampled from; see :meth:`LiveRun.keep_generator`.

        Raises:
            PluginError: The name is none.
            UserError: The file cannot be written.
        """
        if not isinstance(name, str) or not _NAME.fullmatch(name):
            raise PluginError(
                "run.keep_generator takes a name of lower-case letters, digits, hyphens and "
                f"underscores, but got {name!r}."
            )
        run = self._run
        if run.rank != 0:
            return
        state = {"step": run.step, "generator": run.sampling_generator.state_dict()}
        if run.folder is None:
            self._states[name] = copy.deepcopy(state)
        else:
            write_state(_path(run.folder, name), state, FORMAT)

    @property
    def names(self) -> list[str]:
        """The names of those that were kept, sorted."""
        if self._run.folder is None:
            return sorted(self._states)
        names = [path.stem for path in (self._run.folder / "kept").glob(f"*{_SUFFIX}")]
        return sorted(name for name in names if _NAME.fullmatch(name))

    def load(self, name: str) -> tuple[int, nn.Module] | None:
        """Returns the step and a copy of the run's generator with the weights of that step.

        None where it is of a later step than the run; or, with a warning, where it is damaged.
        """
        run = self._run
        try:
            state = self._states[name] if run.folder is None else _read(run.folder, name)
            if state["step"] > run.step:
                return None
            network = copy.deepcopy(run.sampling_generator)
            network.load_state_dict(state["generator"])
        except Exception as error:  # whoever wrote it may have written anything
            reason = " ".join(str(error).split())[:200] or type(error).__name__
            _LOG.warning("The kept generator %r is left out: it %s.", name, reason)
            return None
        return state["step"], network


def _path(folder: Path, name: str) -> Path:
    return folder / "kept" / f"{name}{_SUFFIX}"


def _read(folder: Path, name: str) -> Mapping[str, Any]:
    state = read_state(_path(folder, name), FORMAT)
    if not isinstance(state, dict) or type(state.get("step")) is not int:
        raise DamagedError("holds something else than a generator")
    return state
