"""Imports mimicry's modules, and says what its adapter expects of them. Free of torch."""

from __future__ import annotations

import importlib
import importlib.util
import sys
from types import ModuleType
from typing import Any

from diagan_plugin.hosts.kit.seams import Seam
from diagan_plugin.hosts.kit.stand_ins import standing_in
from gan_registry.errors import UserError

KNOWN = "0.1.16"
PACKAGE = "torch_mimicry"

TRAINER_SEAMS = (
    Seam(
        "train",
        uses="_restore_models_and_step _fetch_data netD netG train_step scheduler step "
        "_save_model_checkpoints logger close_writers",
    ),
    Seam("_fetch_data", "iter_dataloader", "dataloader"),
    Seam("_restore_models_and_step"),
    Seam("_save_model_checkpoints", "global_step"),
    Seam("dataloader.dataset"),
    Seam("dataloader.batch_size"),
    Seam("scheduler.step", "log_data global_step"),
    Seam("logger.close_writers"),
    Seam("netD.train_step", "real_batch netG optD log_data device", "compute_gan_loss"),
    Seam("netD.compute_gan_loss", "output_real output_fake"),
    Seam("netG.train_step", "real_batch netD optG log_data device", "compute_gan_loss"),
    Seam("netG.compute_gan_loss", "output"),
    Seam("netG.generate_images", "num_images device", "forward"),
    Seam("netG.nz"),
    Seam("netG.loss_type"),
    Seam("optD"),
    Seam("num_steps"),
    Seam("n_dis"),
    Seam("log_dir"),
)


CLASS_SEAMS = {
    "training.trainer": (
        Seam("Trainer.train", uses=TRAINER_SEAMS[0].uses),
        Seam("Trainer._fetch_data", "iter_dataloader", "dataloader"),
        Seam("Trainer._restore_models_and_step"),
        Seam("Trainer._save_model_checkpoints", "global_step"),
    ),
    "training.scheduler": (Seam("LRScheduler.step", "log_data global_step"),),
    "training.logger": (Seam("Logger.close_writers"),),
    "nets.gan.gan": (
        Seam("BaseDiscriminator.compute_gan_loss", "output_real output_fake"),
        Seam("BaseDiscriminator.train_step", "real_batch netG optD log_data", "compute_gan_loss"),
        Seam("BaseGenerator.compute_gan_loss", "output"),
        Seam("BaseGenerator.train_step", "real_batch netD optG log_data", "compute_gan_loss"),
        Seam("BaseGenerator.generate_images", "num_images device", "forward"),
    ),
}
"""The same seams as far as classes show them, by module."""


def import_mimicry(module: str) -> Any:
    """Imports a module of mimicry's, e.g. "nets.sngan" or "training.trainer", without tensorflow.

    The `__init__` of the package and of its folders is passed over: empty packages stand in for
    them, unless the package has been imported already.

    Args:
        module: The module, without "torch_mimicry.".

    Raises:
        UserError: mimicry is missing, or something that the module itself needs.
    """
    if PACKAGE not in sys.modules:
        spec = importlib.util.find_spec(PACKAGE)
        if spec is None or not spec.submodule_search_locations:
            raise UserError("mimicry is not installed: pip install --no-deps torch-mimicry.")
        for name in ("", ".training", ".nets", ".utils"):
            shell = ModuleType(PACKAGE + name)
            shell.__path__ = [
                place + name.replace(".", "/") for place in spec.submodule_search_locations
            ]
            sys.modules[shell.__name__] = shell
    try:
        with standing_in("skimage.io"):  # for reading image files in evaluations
            return importlib.import_module(f"{PACKAGE}.{module}")
    except ImportError as error:
        raise UserError(f"mimicry's module {module} cannot be imported: {error}.") from error
