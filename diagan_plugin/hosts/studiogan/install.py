"""Puts a session's methods at the seams."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from diagan_plugin.hosts.kit.patches import Patches
from diagan_plugin.hosts.studiogan.seams import SEAMS
from diagan_plugin.hosts.studiogan.session import Session
from gan_registry.errors import UserError

if TYPE_CHECKING:
    from diagan_plugin.hosts.studiogan.settings import Settings


def install(settings: Settings, patches: Patches) -> Session:
    """Replaces StudioGAN's attributes in this process; all of them, or none.

    Args:
        settings: What was asked for.
        patches: Undoes it.

    Raises:
        UserError: One of them is not there.
    """
    misc, sample = (importlib.import_module(f"utils.{name}") for name in ("misc", "sample"))
    session = Session(settings, misc, sample)
    replacements: dict[str, Callable[..., Any]] = {
        "loader.load_worker": session.load_worker,
        "loader.DataLoader": session.data_loader,
        "config.Configurations.define_losses": session.define_losses,
        "models.model.load_generator_discriminator": session.load_generator_discriminator,
        "worker.WORKER.prepare_train_iter": session.prepare_train_iter,
        "worker.WORKER.sample_data_basket": session.sample_data_basket,
        "worker.WORKER.train_discriminator": lambda *a, **k: session.clock.train_discriminator(
            *a, **k
        ),
        "worker.WORKER.train_generator": lambda *a, **k: session.clock.train_generator(*a, **k),
        "worker.WORKER.log_train_statistics": session.log_statistics,
        "worker.WORKER.save": session.save,
        "utils.sample.sample_zy": session.sample_zy,
        "utils.sample.generate_images": session.generate_images,
        "utils.apa_aug.apply_apa_aug": session.apply_apa,
        "utils.ckpt.load_StudioGAN_ckpts": session.load_checkpoints,
        "utils.ckpt.load_best_model": session.load_best_model,
    }
    places = []
    for seam in SEAMS:
        if not seam.replaced or seam.name not in replacements:
            continue  # the launcher's own, or only used
        owner: Any = importlib.import_module(seam.module)
        *path, name = seam.attribute.split(".")
        for part in path:
            owner = getattr(owner, part, None)
        if not hasattr(owner, name):
            raise UserError(f"This StudioGAN differs at the seam {seam.name}: it does not exist.")
        places.append((owner, name, replacements.pop(seam.name)))
    assert not replacements, sorted(replacements)
    for owner, name, replacement in places:
        patches.around(owner, name, replacement)
    return session
