"""The plugins' part of a checkpoint, whatever the host keeps beside it: tensors, plain values."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from diagan_plugin.hosts.kit.run import HostRun
from gan_registry.errors import UserError
from gan_registry.integrity import DamagedError
from gan_registry.state_files import read_state, write_state

FORMAT = 1
SUFFIX = ".safetensors"
_KIND = "gan_registry plugins 1"
_PARTS: dict[str, type] = {
    "step": int, "seed": int, "sampler_name": str, "fingerprint": str, "position": int,
    "sampler": dict, "additions": dict, "plugins": dict,
}  # fmt: skip
"""What a state holds, and as what."""


def write_file(path: Path, state: Mapping[str, Any]) -> None:
    """Writes a state, which carries its checksum.

    Raises:
        UserError: The disk is full, read-only or not writable.
    """
    write_state(path, state, _KIND)


def read_file(path: Path, remedy: str) -> dict[str, Any]:
    """Reads a state that :func:`write_file` wrote.

    Args:
        path: The file.
        remedy: What to do if it is damaged.

    Raises:
        FileNotFoundError: There is none.
        UserError: It is damaged, or of another format.
    """
    try:
        state = read_state(path, _KIND)
        check_state(state)
    except DamagedError as error:
        raise UserError(f"The plugins' state {path} is damaged: it {error}; {remedy}.") from error
    return state  # type: ignore[no-any-return]


def check_state(state: Any) -> None:
    """Checks what a state from a file holds.

    Raises:
        DamagedError: It lacks something, or has it in another form.
    """
    if not isinstance(state, dict) or state.get("format") != FORMAT:
        raise DamagedError(f"is of another format than {FORMAT}, which this version reads")
    for name, kind in _PARTS.items():
        value: Any = state.get(name)
        if not isinstance(value, kind) or isinstance(value, bool):
            raise DamagedError(f"holds no {name}, or not as it should be")
        if name in ("step", "position") and state[name] < 0:
            raise DamagedError(f"holds {name} = {value}")


def refuse_earlier(path: Path, remedy: str) -> None:
    """Refuses a state that a version before the first release wrote.

    Raises:
        UserError: There is such a file.
    """
    if path.exists():
        raise UserError(
            f"The plugins' state {path} is of an earlier version, which this one can't continue; "
            f"{remedy}."
        )


def collect_state(run: HostRun) -> dict[str, Any]:
    """Returns what plugins continue from; they may communicate, hence on every rank.

    Raises:
        PluginError: A plugin's state is not made of tensors and plain values.
    """
    plugins = run.hooks.state(run)
    return {
        "format": FORMAT,
        "step": run.step,
        "seed": run.seed,
        "sampler_name": run.config.RUN.sampler,
        "fingerprint": run.fingerprint,
        "position": run.position,
        "sampler": run.sampler.state_dict(),
        "additions": {name: addition.state_dict() for name, addition in run.additions.items()},
        "plugins": plugins,
    }


def restore_parts(run: HostRun, state: Mapping[str, Any]) -> None:
    """Restores plugins, what they added, and the sampler.

    Plugins come first: one that had added networks adds them again, to be filled afterwards.

    Raises:
        UserError: Plugins have added other networks or optimisers, or a part is of another shape.
    """
    run.hooks.load_state(run, state["plugins"], f"the checkpoint of step {state['step']}")
    saved = state["additions"]
    for name in sorted(set(saved) ^ set(run.additions)):
        side = "holds" if name in saved else "lacks"
        raise UserError(f"The checkpoint {side} {name!r}; use the options that it was made with.")
    for name, addition in run.additions.items():
        _load(addition, saved[name], repr(name))
    _load(run.sampler, state["sampler"], f"sampler {run.config.RUN.sampler!r}")


def _load(part: Any, state: Any, name: str) -> None:
    try:
        part.load_state_dict(state)
    except Exception as error:  # whoever wrote it may have written anything
        reason = " ".join(str(error).split())[:300]
        raise UserError(f"The checkpoint's {name} does not fit: {reason}") from error
