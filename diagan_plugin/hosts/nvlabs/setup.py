"""Opens a session on a trainer's settings, for a training or for a snapshot."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from diagan_plugin.hosts.kit.session import Session
from diagan_plugin.hosts.kit.settings import Settings
from diagan_plugin.hosts.nvlabs.checkout import Trainer
from diagan_plugin.hosts.nvlabs.run import NvlabsRun


def set_up(
    trainer: Trainer,
    asked: Settings,
    images: Any,
    *,
    piece: int,
    total_steps: int,
    device: torch.device,
    keywords: Mapping[str, Any],
) -> Session:
    """Opens a session.

    Args:
        trainer: Whose training it is.
        asked: What was asked for.
        images: The data as plugins see them, with `num_classes`.
        piece: Samples that D sees at a time in one process.
        total_steps: Iterations.
        device: Where the networks are.
        keywords: Those of `training_loop`.

    Raises:
        UserError: As for :class:`diagan_plugin.hosts.kit.session.Session`.
    """
    session = Session(
        trainer.capabilities, asked, images, batch_size=piece, total_steps=total_steps,
        device=device, num_classes=images.num_classes, run_class=NvlabsRun,
    )  # fmt: skip
    run = session.run
    assert isinstance(run, NvlabsRun)
    run.config_name = trainer.name
    run.samples_per_step = int(keywords["batch_size"]) * trainer.batches
    run.reads_ahead = trainer.batches > 1
    _regularise(run, trainer, keywords)
    return session


def _regularise(run: NvlabsRun, trainer: Trainer, keywords: Mapping[str, Any]) -> None:
    """Says in `gan_registry`'s own keys how D is regularised, for a second one."""
    gamma = 1.0 if trainer.is_pairwise else float(keywords["loss_kwargs"].get("r1_gamma", 10))
    every = keywords.get("D_reg_interval")
    loss = run.config.LOSS
    loss.apply_r1_reg, loss.apply_r2_reg = gamma > 0, trainer.is_pairwise
    loss.r1_lambda = loss.r2_lambda = gamma  # R3GAN's follows a schedule
    loss.r1_place = "inside_loop" if every is None else "outside_loop"
    run.config.STYLEGAN.d_reg_interval = every or 1
