"""The plugins' part of a checkpoint: `model=DIA-…` beside StudioGAN's `model=G-…` and `model=D-…`.

It holds tensors and plain values only, carries its checksum, and is written to a temporary name and
renamed. The file of the checkpoint before stays until StudioGAN has written its own
ones, so that there is one for whichever of them a killed process leaves behind.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import nn

from diagan_plugin.hosts.kit.state import (
    SUFFIX,
    collect_state,
    read_file,
    refuse_earlier,
    restore_parts,
    write_file,
)
from diagan_plugin.hosts.studiogan.record import checkpoint_steps
from diagan_plugin.hosts.studiogan.run import StudioRun
from gan_registry.errors import UserError

MODEL = "DIA"


def state_path(folder: Path, when: str, step: int) -> Path:
    """Returns the name of a checkpoint, formed as StudioGAN forms its own.

    Args:
        folder: The folder of checkpoints.
        when: "current" or "best".
        step: The step.
    """
    return folder / f"model={MODEL}-{when}-weights-step={step}{SUFFIX}"


def collect(run: StudioRun) -> dict[str, Any]:
    """Returns what a run continues from; plugins may communicate, hence on every rank.

    Raises:
        PluginError: A plugin's state is not made of tensors and plain values.
    """
    return {
        **collect_state(run),
        "position": run.feed.stop,
        "stopped": run.stopped,
        "num_samples": len(run.dataset),
    }


def write(folder: Path, when: str, state: Mapping[str, Any]) -> None:
    """Writes a state beside those that are there."""
    write_file(state_path(folder, when, state["step"]), state)


def remove_others(folder: Path, when: str, step: int) -> None:
    """Removes all states of a kind but one."""
    for other in checkpoint_steps(folder, MODEL, when, SUFFIX):
        if other != step:
            state_path(folder, when, other).unlink(missing_ok=True)


def read(folder: Path, when: str, step: int | None = None) -> dict[str, Any] | None:
    """Reads the state that belongs to StudioGAN's checkpoint, or None where there is none.

    Args:
        folder: The folder of checkpoints.
        when: "current" or "best".
        step: The step of StudioGAN's checkpoint; that of its D by default.

    Raises:
        UserError: There are states, but none of that step; or it is damaged or of another format.
    """
    steps = checkpoint_steps(folder, MODEL, when, SUFFIX)
    if not steps:
        for earlier in checkpoint_steps(folder, MODEL, when):
            refuse_earlier(
                state_path(folder, when, earlier).with_suffix(".pth"), "start anew with --fresh"
            )
        return None
    if step is None:
        step = (checkpoint_steps(folder, "D", when) or steps)[-1]
    if step not in steps:
        raise UserError(
            f"{folder} holds the plugins' state of step {steps[-1]}, but StudioGAN's checkpoint of "
            f"step {step}: it was killed while it wrote them. Start anew with --fresh."
        )
    path = state_path(folder, when, step)
    remedy = "delete it to go on from StudioGAN's checkpoint with the plugins started afresh"
    return read_file(path, remedy)


def restore(run: StudioRun, state: Mapping[str, Any]) -> None:
    """Restores plugins, what they added, and the sampler.

    Raises:
        UserError: The data or the sampler is another, or parts do not fit.
    """
    if state["fingerprint"] != run.fingerprint:
        raise UserError(
            f"The training data have changed since the checkpoint of step {state['step']}; restore "
            "them, or start anew with --fresh."
        )
    name = run.config.RUN.sampler
    if state["sampler_name"] != name:
        raise UserError(
            f"The checkpoint was made with --sampler {state['sampler_name']}, not {name}; use the "
            "same, or start anew with --fresh."
        )
    restore_parts(run, state)


def best_networks(run: StudioRun, state: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the added networks as they were at the best checkpoint, for evaluating it.

    One that did not exist then is left out: the discriminator of that time stands for itself.
    """
    kept: dict[str, Any] = {}
    for name, addition in run.additions.items():
        if name in state["additions"] and isinstance(addition, nn.Module):
            addition.load_state_dict(state["additions"][name])
            kept[name] = addition
    return kept
