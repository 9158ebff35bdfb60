"""Runs a trainer's `train.py` in this process, and its children, with the seams in place."""

from __future__ import annotations

import importlib
import runpy
import tempfile
from dataclasses import replace
from multiprocessing.reduction import ForkingPickler
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch

from diagan_plugin.hosts.kit.launching import checkout_modules, complaining, run_script, spawn
from diagan_plugin.hosts.kit.patches import Patches
from diagan_plugin.hosts.kit.seams import require
from diagan_plugin.hosts.nvlabs.adapter import Adapter, Namesake
from diagan_plugin.hosts.nvlabs.checkout import MODULES, Trainer, trainer_of
from diagan_plugin.hosts.nvlabs.compat import the_past
from diagan_plugin.hosts.nvlabs.settings import NvlabsSettings
from gan_registry.errors import UserError


def launch(settings: NvlabsSettings) -> int:
    """Runs a trainer.

    Returns:
        Its exit code.

    Raises:
        UserError: It cannot run here, or a plugin refuses.
    """
    trainer = trainer_of(Path(settings.checkout))
    if torch.cuda.device_count() < 1:
        raise UserError(f"{trainer.name} needs a CUDA device, and this machine offers none.")
    script, patches = Path(settings.checkout, "train.py"), Patches()
    with (
        tempfile.TemporaryDirectory() as complaints,
        the_past(),
        checkout_modules(trainer.name, settings.checkout, MODULES),
    ):
        settings = replace(settings, complaints=complaints)
        return run_script(
            script, settings.arguments, patches,
            lambda: install(settings, trainer, patches),
            lambda original, *args, **options: _spawn(original, settings, *args, **options),
        )  # fmt: skip


def looked_at(trainer: Trainer) -> SimpleNamespace:
    """Returns the modules that the seams lie in, and checks these.

    Raises:
        UserError: A seam differs from what is known.
    """
    names = ("training.training_loop", "training.loss", "torch_utils.misc",
             "torch_utils.training_stats", "dnnlib", "legacy")  # fmt: skip
    modules = {name.rpartition(".")[2]: importlib.import_module(name) for name in names}
    found = SimpleNamespace(**modules)
    require(trainer.name, trainer.commit, found, trainer.seams)
    return found


def install(settings: NvlabsSettings, trainer: Trainer, patches: Patches) -> Adapter:
    """Replaces the trainer's attributes in this process; all of them, or none.

    Raises:
        UserError: One of them is not as expected.
    """
    modules = looked_at(trainer)
    loop = modules.training_loop
    adapter = Adapter(settings, trainer)
    for owner, name, replacement in (
        (loop, "training_loop", adapter.training_loop),
        (modules.dnnlib.util, "construct_class_by_name", adapter.construct),
        (modules.misc, "InfiniteSampler", adapter.infinite_sampler),
        (modules.training_stats, "report0", adapter.report0),
        (torch.utils.data, "DataLoader", adapter.data_loader),
    ):
        patches.around(owner, name, replacement)
    patches.put(loop, "copy", Namesake(loop.copy, deepcopy=adapter.deepcopy))
    patches.put(loop, "pickle", Namesake(loop.pickle, dump=adapter.dump))
    return adapter


def _spawn(
    original: Any, settings: NvlabsSettings, fn: Any, args: Any = (), nprocs: int = 1,
    join: bool = True, **options: Any,
) -> Any:  # fmt: skip
    """Starts the trainer's processes so that the seams are in place in each of them."""
    arguments = settings, fn.__name__, bytes(ForkingPickler.dumps(args))
    return spawn(original, child_entry, arguments, settings.complaints, nprocs, **options)


def child_entry(rank: int, settings: NvlabsSettings, name: str, payload: bytes) -> None:
    """Runs one of the trainer's processes: the function `name` of its `train.py`."""
    trainer = trainer_of(Path(settings.checkout))
    with (
        the_past(),
        checkout_modules(trainer.name, settings.checkout, MODULES),
        complaining(settings.complaints, rank),
    ):
        install(settings, trainer, Patches())
        script = runpy.run_path(str(Path(settings.checkout, "train.py")), run_name="nvlabs_train")
        script[name](rank, *ForkingPickler.loads(payload))
