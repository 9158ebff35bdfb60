"""Checkpoints: everything from which a run continues, bit for bit.

A checkpoint is a file of tensors and plain values that carries its own checksum (see
:mod:`gan_registry.state_files`), written to a temporary name and renamed. Nothing of it is believed
before it is checked.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from gan_registry.config.settings import binding_settings
from gan_registry.errors import UserError
from gan_registry.integrity import TENSORS, DamagedError, check
from gan_registry.plain_values import check_plain
from gan_registry.state_files import read_state, write_state
from gan_registry.training.checkpoint_content import check_optimizer, check_state
from gan_registry.training.run import Run

FORMAT = "gan_registry checkpoint 2"
_FOLDER = "checkpoints"
_SUFFIX = ".safetensors"
_EARLIER = ".pt"
"""Of files that versions before the first release wrote."""

_LOG = logging.getLogger(__name__)


def checkpoint_steps(folder: Path) -> list[int]:
    """Returns the steps of the checkpoints in a run folder, ascending."""
    return _steps(folder, _SUFFIX)


def newest_sound(folder: Path, at_most: float = math.inf) -> int | None:
    """Returns the step of the newest checkpoint that is not damaged, or None.

    Args:
        folder: The run folder.
        at_most: No later step.
    """
    steps = reversed([step for step in checkpoint_steps(folder) if step <= at_most])
    return next((step for step in steps if _is_sound(checkpoint_path(folder, step))), None)


def checkpoint_path(folder: Path, step: int) -> Path:
    """Returns where the checkpoint of a step lies."""
    return folder / _FOLDER / f"step-{step:08d}{_SUFFIX}"


def _steps(folder: Path, suffix: str) -> list[int]:
    names = [path.name for path in (folder / _FOLDER).glob(f"step-*{suffix}")]
    texts = [name.removeprefix("step-").removesuffix(suffix) for name in names]
    # As it is written, and no longer than a step can be: `isdigit` alone holds for more.
    return sorted(int(t) for t in texts if t.isascii() and t.isdigit() and len(t) <= 15)


def save_checkpoint(run: Run, keep: int) -> None:
    """Writes a checkpoint of the present step; all before the newest `keep` sound ones are removed.

    With several processes every rank must call this: rank 0 alone writes.
    """
    plugins = run.hooks.state(run)  # may communicate, so on every rank
    if run.folder is None or run.rank != 0:
        return
    state: dict[str, Any] = {
        "step": run.step,
        "total_steps": run.total_steps,
        "seconds": run.seconds,
        "stopped": None if run.stopped is None else str(run.stopped),
        "logged": run.noted(),
        "health": run.health.state(),
        "settings": _settings(run),
        "fingerprint": run.fingerprint,
        "position": run.position,
        "sampler": run.sampler.state_dict(),
        "generator": run.generator.state_dict(),
        "discriminator": run.discriminator.state_dict(),
        "average": None if run.average is None else run.average.average.state_dict(),
        "precision": run.precision.state_dict(),
        "optimizers": {name: o.state_dict() for name, o in run.optimizers.items()},
        "additions": {name: addition.state_dict() for name, addition in run.additions.items()},
        "plugins": plugins,
    }
    check_plain(state["sampler"], f"The state of the sampler {run.config.RUN.sampler!r}")
    check_plain(state["logged"], "What was given to run.log")
    for name, part in state["additions"].items():
        check_plain(part, f"The state of {name!r}, given to run.add,")
    path = checkpoint_path(run.folder, run.step)
    _make_way(path)
    write_state(path, state, FORMAT)
    run.sound_checkpoints.add(run.step)
    _prune(run, run.folder, keep)


def _make_way(path: Path) -> None:
    """Moves a folder of a checkpoint's name aside, which no file could replace."""
    if path.is_dir() and not path.is_symlink():
        number = 1
        while (aside := path.with_name(f"{path.name}.damaged-{number}")).exists():
            number += 1
        try:
            path.rename(aside)
        except OSError as error:
            raise UserError(
                f"{path} is a folder, and no checkpoint can be written in its place: "
                f"{error.strerror}; move it elsewhere."
            ) from error


def _prune(run: Run, folder: Path, keep: int) -> None:
    """Removes the checkpoints before the newest `keep` sound ones, up to the present step.

    Damaged ones do not count, else sound ones would be removed in their favour. Those that this
    process has not written are read through, once.
    """
    sound = 0
    for step in reversed([step for step in checkpoint_steps(folder) if step <= run.step]):
        path = checkpoint_path(folder, step)
        if sound >= keep:
            try:
                path.unlink(missing_ok=True)
                run.sound_checkpoints.discard(step)
            except OSError as error:
                _LOG.warning("Cannot remove the old checkpoint %s: %s.", path, error.strerror)
        elif step in run.sound_checkpoints or _is_sound(path):
            run.sound_checkpoints.add(step)
            sound += 1


def _is_sound(path: Path) -> bool:
    try:
        check(path, TENSORS)
    except (DamagedError, OSError):
        return False
    return True


def read_checkpoint(folder: Path, step: int) -> dict[str, Any]:
    """Reads the checkpoint of a step.

    Raises:
        UserError: It is missing or damaged.
    """
    path = checkpoint_path(folder, step)
    try:
        return _read(path, step)
    except FileNotFoundError:
        _refuse_earlier(folder, step)
        steps = ", ".join(map(str, checkpoint_steps(folder))) or "none"
        raise UserError(
            f"There is no checkpoint of step {step} in {folder}; there are: {steps}."
        ) from None
    except DamagedError as error:
        raise UserError(
            f"The checkpoint {path} is damaged: it {error}; choose another step, or none for the "
            "newest one that is sound."
        ) from error


def read_newest(folder: Path, quiet: bool = False) -> dict[str, Any] | None:
    """Reads the newest checkpoint that is sound; each damaged one after it is named in a warning.

    Args:
        folder: The run folder.
        quiet: Warn of nothing; for all processes but the first.

    Returns:
        Its content, or None where there is none yet.

    Raises:
        UserError: All are damaged, or those that are there are of an earlier version.
    """
    steps = checkpoint_steps(folder)
    if not steps:
        _refuse_earlier(folder)
        return None
    reasons: list[str] = []
    for step in reversed(steps):
        path = checkpoint_path(folder, step)
        try:
            state = _read(path, step)
        except (DamagedError, FileNotFoundError) as error:
            what = f"is damaged: it {error}" if isinstance(error, DamagedError) else "is gone"
            reasons.append(f"{path} {what}")
            continue
        for reason in [] if quiet else reasons:
            _LOG.warning("The checkpoint %s; that of step %d is used.", reason, step)
        return state
    none = "and there is no other" if len(steps) == 1 else f"as are all {len(steps)} there"
    raise UserError(
        f"The checkpoint {reasons[0]}, {none}; restore one from a backup, delete "
        f"{folder / _FOLDER} to start anew, or choose another folder with --out."
    )


def _read(path: Path, step: int) -> dict[str, Any]:
    state = read_state(path, FORMAT)
    check_state(state, step)
    return state  # type: ignore[no-any-return]


def _refuse_earlier(folder: Path, step: int | None = None) -> None:
    steps = _steps(folder, _EARLIER)
    if steps if step is None else step in steps:
        path = folder / _FOLDER / f"step-{steps[-1] if step is None else step:08d}{_EARLIER}"
        raise UserError(
            f"The checkpoint {path} is of an earlier version, which this one can't continue; use "
            "the version it was made with, or start anew in another folder with --out."
        )


def load_checkpoint(run: Run, state: Mapping[str, Any]) -> None:
    """Restores a run from a checkpoint.

    Plugins come first: one that had added networks adds them again, then the host fills them.

    Raises:
        UserError: It belongs to another run, the dataset is not the one it was made with, or parts
            do not fit.
    """
    fingerprint, step = run.fingerprint, state["step"]
    _refuse_another_run(run, state["settings"], step)
    if state["fingerprint"] != fingerprint:
        raise UserError(
            f"The dataset {run.config.DATA.name!r} has changed since the checkpoint of step "
            f"{step} (fingerprint {fingerprint[:12]}, was {state['fingerprint'][:12]!r}); "
            "restore the data, or start anew in another folder with --out."
        )
    run.step = run.first_step = step
    run.sound_checkpoints.add(step)
    run.seconds = state["seconds"]
    if run.total_steps <= state["total_steps"]:  # asked for more steps, it goes on
        run.stopped = state["stopped"]
    if "health" in state:  # a checkpoint of an earlier version has none
        run.health.load_state(state["health"])
    run.log(state["logged"])
    run.hooks.load_state(run, state["plugins"], f"the checkpoint of step {step}")
    part = "the networks"
    try:
        run.generator.load_state_dict(state["generator"])
        run.discriminator.load_state_dict(state["discriminator"])
        if run.average is not None:
            part = "the moving average"
            run.average.average.load_state_dict(state["average"])
        part = "the precision"
        run.precision.load_state_dict(state["precision"])
        for name, optimizer in run.optimizers.items():
            part = f"the optimiser of the {name}"
            _load_optimizer(optimizer, state["optimizers"][name])
        for name, addition in run.additions.items():
            part = repr(name)
            if isinstance(addition, torch.optim.Optimizer):
                _load_optimizer(addition, state["additions"][name])
            else:
                addition.load_state_dict(state["additions"][name])
        part = f"the sampler {run.config.RUN.sampler!r}"
        run.sampler.load_state_dict(state["sampler"])
        run.stream.seek(state["position"])
    except UserError:
        raise
    except Exception as error:  # whoever wrote it may have written anything
        reason = " ".join(str(error).split()) or type(error).__name__
        raise UserError(
            f"The checkpoint of step {step} does not fit this configuration, in {part}: "
            f"{reason if len(reason) < 300 else reason[:300] + ' …'}."
        ) from error
    for name in sorted(set(state["additions"]) - set(run.additions)):
        raise UserError(
            f"The checkpoint holds {name!r}, which no loaded plugin claims; enable its plugin."
        )


def _settings(run: Run) -> dict[str, Any]:
    """Returns the host's settings that may not change; plugins answer for their own states."""
    return binding_settings(run.config.model_dump(exclude={"PLUGINS"}))


def _refuse_another_run(run: Run, settings: Mapping[str, Any], step: int) -> None:
    now = _settings(run)
    for key in sorted(settings.keys() & now.keys()):
        if settings[key] != now[key]:
            raise UserError(
                f"The checkpoint of step {step} belongs to another run: {key} is "
                f"{settings[key]!r} there and {now[key]!r} here. Remove it, or put back this run's."
            )


def _load_optimizer(optimizer: torch.optim.Optimizer, state: dict[str, Any]) -> None:
    """Loads an optimiser's state; whether it is fused remains a matter of the present device."""
    check_optimizer(optimizer, state)
    fused = [group.get("fused") for group in optimizer.param_groups]
    optimizer.load_state_dict(state)
    for group, kept in zip(optimizer.param_groups, fused, strict=True):
        if "fused" in group:
            group["fused"] = kept
