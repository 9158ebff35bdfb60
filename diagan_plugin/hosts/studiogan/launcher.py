"""Runs StudioGAN's `main.py` in this process, and its children, with the seams in place."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import replace
from multiprocessing.reduction import ForkingPickler
from pathlib import Path
from typing import Any

import numpy as np
import torch

from diagan_plugin.hosts.kit.launching import checkout_modules, complaining, run_script, spawn
from diagan_plugin.hosts.kit.patches import Patches
from diagan_plugin.hosts.studiogan.install import install
from diagan_plugin.hosts.studiogan.settings import Settings
from gan_registry.errors import UserError

_MODULES = ("utils.misc", "config", "loader", "worker")
"""What is imported first, in this order: StudioGAN's `utils` import each other in a circle."""


def launch(settings: Settings) -> int:
    """Runs StudioGAN.

    Returns:
        Its exit code.

    Raises:
        UserError: It cannot run here, or a plugin refuses.
    """
    if torch.cuda.device_count() < 1:
        raise UserError("StudioGAN needs a CUDA device, and this machine offers none.")
    script, patches = Path(settings.source, "main.py"), Patches()
    with studiogan_modules(settings.source), tempfile.TemporaryDirectory() as complaints:
        settings = replace(settings, complaints=complaints)
        return run_script(
            script, settings.arguments, patches,
            lambda: install(settings, patches),
            lambda original, *args, **options: _spawn(original, settings, *args, **options),
        )  # fmt: skip


@contextmanager
def studiogan_modules(source: str) -> Iterator[None]:
    """Imports StudioGAN's modules, and forgets them at the end.

    Raises:
        UserError: A package that StudioGAN needs is missing, or a name is taken.
    """
    with checkout_modules("StudioGAN", source, _MODULES), _numpy_scalars():
        yield


def _numpy_scalars() -> AbstractContextManager[Any]:
    """Lets StudioGAN read its own checkpoints, which hold the best FID as a number of NumPy's.

    Since torch 2.6 its calls of `torch.load`, with the default, would refuse that.
    """
    if not hasattr(torch.serialization, "safe_globals"):
        return nullcontext()
    scalar = np.float64(0).__reduce__()[0]
    kinds = [type(np.dtype(kind)) for kind in (np.float64, np.float32)]
    return torch.serialization.safe_globals([scalar, np.dtype, *kinds])


def _spawn(
    original: Any, settings: Settings, fn: Any, args: Any = (), nprocs: int = 1,
    join: bool = True, **options: Any,
) -> Any:  # fmt: skip
    """Starts StudioGAN's processes so that the seams are in place in each of them.

    It returns when all have ended: main.py kills those that are left when the first one ends.
    """
    payload = bytes(ForkingPickler.dumps((fn, args)))
    arguments = settings, payload
    return spawn(original, child_entry, arguments, settings.complaints, nprocs, **options)


def child_entry(rank: int, settings: Settings, payload: bytes) -> None:
    """Runs one of StudioGAN's processes."""
    with studiogan_modules(settings.source):
        install(settings, Patches())
        fn, args = ForkingPickler.loads(payload)
        with complaining(settings.complaints, rank):
            fn(rank, *args)
