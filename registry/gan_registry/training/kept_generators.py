"""Generators of earlier steps that plugins asked to keep: for the evaluation to measure as well.

A file each, `checkpoints/kept-NAME.safetensors`, which no pruning of checkpoints removes. A run
that is continued from before its step writes it again, the same.
"""

from __future__ import annotations

import copy
import logging
import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from torch import nn

from gan_registry.errors import PluginError
from gan_registry.integrity import DamagedError
from gan_registry.state_files import read_state, write_state

if TYPE_CHECKING:
    from gan_registry.training.run import Run

FORMAT = "gan_registry kept generator 1"
_PREFIX, _SUFFIX = "kept-", ".safetensors"
_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,39}")

_LOG = logging.getLogger(__name__)


def keep_generator(run: Run, name: str) -> None:
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
    if run.rank != 0:
        return
    state = {"step": run.step, "generator": run.sampling_generator.state_dict()}
    if run.folder is None:
        run.kept[name] = copy.deepcopy(state)
    else:
        write_state(run.folder / "checkpoints" / f"{_PREFIX}{name}{_SUFFIX}", state, FORMAT)


def kept_names(run: Run) -> list[str]:
    """Returns the names of the generators that were kept, sorted."""
    if run.folder is None:
        return sorted(run.kept)
    paths = (run.folder / "checkpoints").glob(f"{_PREFIX}*{_SUFFIX}")
    names = [path.name.removeprefix(_PREFIX).removesuffix(_SUFFIX) for path in paths]
    return sorted(name for name in names if _NAME.fullmatch(name))


def kept_generator(run: Run, name: str) -> tuple[int, nn.Module] | None:
    """Returns the step and a copy of the run's generator with the weights of that step.

    None where it is of a later step than the run; or, with a warning, where it is damaged.
    """
    try:
        state = run.kept[name] if run.folder is None else _read(run.folder, name)
        step = state["step"]
        if step > run.step:
            return None
        network = copy.deepcopy(run.sampling_generator)
        network.load_state_dict(state["generator"])
    except Exception as error:  # whoever wrote it may have written anything
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        _LOG.warning("The kept generator %r is left out: it %s.", name, reason)
        return None
    return step, network


def _read(folder: Path, name: str) -> Mapping[str, Any]:
    state = read_state(folder / "checkpoints" / f"{_PREFIX}{name}{_SUFFIX}", FORMAT)
    if not isinstance(state, dict) or type(state.get("step")) is not int:
        raise DamagedError("holds something else than a generator")
    return state
