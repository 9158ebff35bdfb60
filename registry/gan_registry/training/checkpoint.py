"""Checkpoints: everything from which a run continues, bit for bit.

A checkpoint is a `torch.save` file of tensors and plain values, written to a temporary name and
renamed, and read with `weights_only=True`, so that it can carry no code.
"""

from __future__ import annotations

import errno
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from gan_registry.errors import UserError
from gan_registry.files import atomic_write
from gan_registry.plain_values import check_plain
from gan_registry.training.run import Run

FORMAT = 1
_FOLDER = "checkpoints"
_KEYS = frozenset(
    {
        "step", "total_steps", "seconds", "stopped", "logged", "fingerprint", "position", "sampler",
        "generator", "discriminator", "average", "precision", "optimizers", "additions", "plugins",
    }
)  # fmt: skip


def checkpoint_steps(folder: Path) -> list[int]:
    """Returns the steps of the checkpoints in a run folder, ascending."""
    return sorted(
        int(path.stem.removeprefix("step-"))
        for path in (folder / _FOLDER).glob("step-*.pt")
        if path.stem.removeprefix("step-").isdigit()
    )


def checkpoint_path(folder: Path, step: int) -> Path:
    """Returns where the checkpoint of a step lies."""
    return folder / _FOLDER / f"step-{step:08d}.pt"


def save_checkpoint(run: Run, keep: int) -> None:
    """Writes a checkpoint of the present step, and removes all but the newest `keep`.

    With several processes every rank must call this: rank 0 alone writes.
    """
    plugins = run.hooks.state(run)  # may communicate, so on every rank
    if run.folder is None or run.rank != 0:
        return
    state: dict[str, Any] = {
        "format": FORMAT,
        "step": run.step,
        "total_steps": run.total_steps,
        "seconds": run.seconds,
        "stopped": run.stopped,
        "logged": run.noted(),
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
    with atomic_write(path) as temporary, temporary.open("wb") as file:
        try:
            torch.save(state, file)
        except RuntimeError as error:
            # Of a full disk torch tells only that positions do not fit; the cause is behind it.
            if isinstance(error.__context__, OSError):
                raise error.__context__ from None
            raise
    for step in checkpoint_steps(run.folder)[:-keep]:
        checkpoint_path(run.folder, step).unlink(missing_ok=True)


def read_checkpoint(folder: Path, step: int) -> dict[str, Any]:
    """Reads the checkpoint of a step.

    Raises:
        UserError: It is missing, damaged or of another format.
    """
    path = checkpoint_path(folder, step)
    if not path.is_file():
        steps = ", ".join(map(str, checkpoint_steps(folder))) or "none"
        raise UserError(f"There is no checkpoint of step {step} in {folder}; there are: {steps}.")
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
        found = state["format"]
        if found == FORMAT and (missing := _KEYS - state.keys()):
            raise KeyError(*sorted(missing))
    except OSError as error:
        if error.errno == errno.EINVAL:  # torch seeks to where a file that was cut has nothing
            raise _damaged(path, error) from error
        raise UserError(f"Cannot read the checkpoint {path}: {error.strerror}.") from error
    except Exception as error:  # a damaged file can raise anything
        raise _damaged(path, error) from error
    if found != FORMAT:
        raise UserError(f"The checkpoint {path} has format {found}; this version reads {FORMAT}.")
    return state  # type: ignore[no-any-return]


def _damaged(path: Path, error: Exception) -> UserError:
    return UserError(
        f"The checkpoint {path} is damaged ({type(error).__name__}); delete it to continue from "
        "the one before."
    )


def load_checkpoint(run: Run, state: Mapping[str, Any]) -> None:
    """Restores a run from a checkpoint.

    Plugins come first: one that had added networks adds them again, then the host fills them.

    Raises:
        UserError: The dataset is not the one the checkpoint was made with, or parts do not fit.
    """
    fingerprint = run.fingerprint
    if state["fingerprint"] != fingerprint:
        raise UserError(
            f"The dataset {run.config.DATA.name!r} has changed since the checkpoint of step "
            f"{state['step']} (fingerprint {fingerprint[:12]}, was {state['fingerprint'][:12]}); "
            "restore the data, or start anew in another folder with --out."
        )
    run.step = run.first_step = state["step"]
    run.seconds = state["seconds"]
    if run.total_steps <= state["total_steps"]:  # asked for more steps, it goes on
        run.stopped = state["stopped"]
    run.log(state["logged"])
    run.hooks.load_state(run, state["plugins"])
    try:
        run.generator.load_state_dict(state["generator"])
        run.discriminator.load_state_dict(state["discriminator"])
        if run.average is not None:
            run.average.average.load_state_dict(state["average"])
        run.precision.load_state_dict(state["precision"])
        for name, optimizer in run.optimizers.items():
            _load_optimizer(optimizer, state["optimizers"][name])
        for name, addition in run.additions.items():
            addition.load_state_dict(state["additions"][name])
        run.sampler.load_state_dict(state["sampler"])
        run.stream.seek(state["position"])
    except (RuntimeError, ValueError, KeyError, TypeError) as error:
        reason = " ".join(str(error).split())
        raise UserError(
            f"The checkpoint of step {state['step']} does not fit this "
            f"configuration: {reason if len(reason) < 300 else reason[:300] + ' …'}."
        ) from error
    for name in sorted(set(state["additions"]) - set(run.additions)):
        raise UserError(
            f"The checkpoint holds {name!r}, which no loaded plugin claims; enable its plugin."
        )


def _load_optimizer(optimizer: torch.optim.Optimizer, state: dict[str, Any]) -> None:
    """Loads an optimiser's state; whether it is fused remains a matter of the present device."""
    fused = [group.get("fused") for group in optimizer.param_groups]
    optimizer.load_state_dict(state)
    for group, kept in zip(optimizer.param_groups, fused, strict=True):
        if "fused" in group:
            group["fused"] = kept
