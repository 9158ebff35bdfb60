"""What the adapter can do, and what it refuses before anything is built."""

from __future__ import annotations

from typing import Any

from diagan_plugin.hosts.kit.capabilities import FIRED, Capabilities
from diagan_plugin.hosts.kit.settings import PLAIN
from gan_registry.errors import UserError
from gan_registry.plugins import PluginManager

CAPABILITIES = Capabilities("StudioGAN", FIRED)
"""The hooks that are fired."""


def check(
    cfgs: Any, plugins: PluginManager, asked: set[str], world_size: int, samples: str
) -> None:
    """Refuses what cannot work together.

    Args:
        cfgs: StudioGAN's configuration.
        plugins: The loaded plugins.
        asked: Those that the run asks for.
        world_size: The number of processes.
        samples: Name of the post-processor.

    Raises:
        UserError: Names the setting and the remedy.
    """
    CAPABILITIES.check(plugins, asked)
    if samples != PLAIN:
        _check_samples(cfgs, samples)
    if not cfgs.RUN.train:
        return
    if cfgs.AUG.apply_apa and world_size > 1:
        raise UserError(
            "AUG.apply_apa replaces other numbers of real samples in each process, so their logits "
            "cannot be put together; set it to false, or use one process."
        )
    if cfgs.LOSS.apply_topk:
        for hook in ("gan_generator_weights", "gan_generator_penalty"):
            for name in sorted(asked & set(plugins.infos)):
                if hook in plugins.infos[name].hooks:
                    raise UserError(
                        f"LOSS.apply_topk hides from plugin {name!r} which samples are meant; set "
                        "it to false."
                    )


def _check_samples(cfgs: Any, samples: str) -> None:
    """Refuses what StudioGAN does to latents and a post-processor would undo."""
    for name, is_on in (
        ("-lgv (Langevin sampling)", bool(cfgs.RUN.langevin_sampling)),
        ("LOSS.apply_lo", bool(cfgs.LOSS.apply_lo)),
        ("MODEL.info_type", cfgs.MODEL.info_type not in (None, "N/A")),
    ):
        if is_on:
            raise UserError(f"--samples {samples} does not go together with {name}.")
