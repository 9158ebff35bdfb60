"""NVlabs' networks behind the calls that plugins make: `G(z, y)`, `D(x, y)`, latents.

The views hold all that the adapter adds, and the networks nothing: those end in a snapshot.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from diagan_plugin.hosts.kit.networks import HostNetworks, NetworkView, gaussian, labels_of
from diagan_plugin.hosts.nvlabs.checkout import Trainer
from gan_registry.seeding import seeded_rng

Call = Callable[[nn.Module, Tensor, "Tensor | None"], Any]


def host_networks(
    trainer: Trainer, generator: Any, discriminator: Any, average: Any, seed: int
) -> HostNetworks:
    """Returns a trainer's networks as plugins see them.

    Args:
        trainer: Whose they are.
        generator: G.
        discriminator: D, not wrapped for several devices.
        average: The moving average of G.
        seed: Seed of the noise in G, which is drawn aside from the trainer's.
    """
    classes = int(generator.c_dim)
    generate = _generate(trainer, classes, seed)
    group = group_size(discriminator)
    view = NetworkView(discriminator, call=_discriminate(trainer, classes, group))
    if group > 1:
        # Its logits depend on the batch in every mode; see `logit_modes.depends_on_batch`.
        view.depends_on_batch = True  # type: ignore[assignment]
    return HostNetworks(
        NetworkView(generator, call=generate), view, gaussian(int(generator.z_dim)),
        average=NetworkView(average, call=generate), conditional=classes > 0,
        num_classes=max(classes, 1),
    )  # fmt: skip


def group_size(discriminator: nn.Module) -> int:
    """Returns in groups of how many D takes deviations within a batch; 1 where it takes none."""
    for module in discriminator.modules():
        size: Any = getattr(module, "group_size", 0)
        if size != 0:
            return 1 << 30 if size is None else int(size)
    return 1


def _generate(trainer: Trainer, classes: int, seed: int) -> Call:
    calls = itertools.count()

    def call(network: Any, z: Tensor, y: Tensor | None) -> Tensor:
        c = one_hot(z, y, classes)
        with seeded_rng(z.device, seed, "noise", next(calls)):
            if not trainer.moves_average:
                images: Tensor = network(z, c)
            else:
                ws = network.mapping(z, c, skip_w_avg_update=True)
                images = network.synthesis(ws, **_in_full(trainer, z))
        return images.float()

    return call


def _in_full(trainer: Trainer, x: Tensor) -> dict[str, bool]:
    """Keeps StyleGAN2-ADA from half precision on a CPU, where its operations are missing."""
    return {"force_fp32": True} if trainer.moves_average and x.device.type == "cpu" else {}


def _discriminate(trainer: Trainer, classes: int, group: int) -> Call:
    def call(network: nn.Module, x: Tensor, y: Tensor | None) -> Any:
        c, full = one_hot(x, y, classes), _in_full(trainer, x)
        n = len(x)
        if n <= group or n % group == 0:
            return network(x, c, **full)
        # D refuses a batch that its groups do not divide: it is filled up with its own samples.
        rows = torch.arange(-(-n // group) * group, device=x.device) % n
        return network(x[rows], c[rows], **full)[:n]

    return call


def one_hot(x: Tensor, y: Tensor | None, classes: int) -> Tensor:
    """Returns the labels of x [B, ...] as the trainers give them to networks, float32 [B, C]."""
    if not classes:
        return torch.empty(len(x), 0, device=x.device)
    return nn.functional.one_hot(labels_of(x, y), classes).float()
