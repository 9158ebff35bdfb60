"""Saved discriminators: those of a run folder, and those that a user's function makes of a file."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from gan_registry.datasets.arrays_file import read_arrays
from gan_registry.datasets.base import Dataset
from gan_registry.datasets.decoding import ImageFormat
from gan_registry.datasets.image_folder import FolderOptions, open_folder
from gan_registry.datasets.options import read_options
from gan_registry.errors import UserError
from gan_registry.formatting import one_line
from gan_registry.training.checkpoint import checkpoint_steps, read_checkpoint

if TYPE_CHECKING:
    from gan_registry.training.run import Run

Loader = Callable[[str], nn.Module]


def find_loader(text: str) -> Loader:
    """Returns the function that `--loader module:function` names; the present folder counts.

    Raises:
        UserError: There is none, or its module fails.
    """
    module, _, name = text.partition(":")
    if not module or not name:
        raise UserError(f"--loader is {text!r}, but must be module:function, e.g. mine:load.")
    sys.path.insert(0, "")
    try:
        function = getattr(importlib.import_module(module), name, None)
    except Exception as error:  # it is the user's own code
        raise UserError(
            f"--loader {text}: {module} cannot be imported ({_said(error)})."
        ) from error
    finally:
        sys.path.remove("")
    if not callable(function):
        raise UserError(f"--loader {text}: {module} has no function {name!r}.")
    found: Loader = function
    return found


def load(loader: Loader, text: str, path: Path, device: torch.device) -> nn.Module:
    """Returns the discriminator that a user's function makes of a file, on the device.

    Raises:
        UserError: There is no such file, or the function fails or returns something else.
    """
    if not path.exists():
        raise UserError(f"--discriminators: there is no {path}.")
    try:
        network = loader(str(path))
    except Exception as error:  # it is the user's own code
        raise UserError(f"--loader {text} fails on {path}: {_said(error)}.") from error
    if not isinstance(network, nn.Module):
        raise UserError(
            f"--loader {text} returns a {type(network).__name__} for {path}; it must return the "
            "discriminator, a torch.nn.Module."
        )
    return network.to(device)


def run_steps(paths: Sequence[Path]) -> tuple[Path, list[int]]:
    """Returns the run folder that checkpoints belong to, and their steps, ascending.

    Args:
        paths: A run folder, which stands for all its checkpoints, or files of one.

    Raises:
        UserError: They are neither, or of several runs.
    """
    folders, steps = set[Path](), set[int]()
    for path in paths:
        folder = path if path.is_dir() else path.parent.parent
        found = checkpoint_steps(folder)
        if not path.is_dir():
            found = [step for step in found if path.name == f"step-{step:08d}.safetensors"]
        if not found:
            raise UserError(
                f"--discriminators {path} is no checkpoint of gan-registry's; for files of another "
                "framework say with --loader module:function how to load them."
            )
        folders.add(folder)
        steps.update(found)
    if len(folders) > 1:
        raise UserError("--discriminators are of several runs; give those of one.")
    return folders.pop(), sorted(steps)


def of_run(run: Run, folder: Path, steps: Sequence[int]) -> Iterator[str]:
    """Puts the discriminators of a run's checkpoints into an opened run, one after the other.

    Yields:
        What each is called.

    Raises:
        UserError: One is damaged or does not fit.
    """
    for step in steps:
        state = read_checkpoint(folder, step)
        try:
            run.discriminator.load_state_dict(state["discriminator"])
        except (RuntimeError, KeyError, TypeError) as error:
            raise UserError(
                f"The checkpoint of step {step} does not fit: {_said(error)}."
            ) from error
        yield f"step {step}"


def open_data(path: Path, img_size: int | None, channels: int | None) -> Dataset:
    """Opens the training data of a finished GAN: a folder of images, or a NumPy file.

    Images are as `gan_registry` serves them, float32 in [-1, 1]; the classes of a folder, if there
    are any, are its labels and groups.

    Args:
        path: A folder, as of the dataset `image_folder`, or a .npz or .npy file.
        img_size: Side that images of a folder are brought to; None keeps theirs.
        channels: 1 or 3 for a folder; None goes by its first image.

    Raises:
        UserError: There is none, or it cannot be read.
    """
    path = path.expanduser()
    if path.is_file():
        return read_arrays(path)
    options = read_options(FolderOptions, "image_folder", {})
    return open_folder("image_folder", path, ImageFormat(img_size, channels), options)


def failure(error: Exception, what: str, shape: Sequence[int]) -> UserError:
    """Turns what a discriminator raises into one line for the user."""
    sizes = ", ".join(map(str, shape))
    return UserError(
        f"The discriminator {what} fails on samples [B, {sizes}]: {_said(error)}. (Are --img-size "
        "and --channels those it was trained with? A D that takes labels needs --conditional.)"
    )


def _said(error: Any) -> str:
    text = one_line(error)
    text = text if len(text) < 300 else f"{text[:300]} …"
    return f"{type(error).__name__}: {text}".rstrip(".: ")
