"""(4) A step of phase 2, D, auxiliary D and G, against mimicry's `train_step` of each.

That is the published protocol. Both sides train copies of the same networks on batches of the same
size, with Adam of the same settings. The peer gets its batches ready-made; ours fetches its own.
"""

from __future__ import annotations

import copy
from functools import partial
from typing import Any

import torch

from benchmarks.speed import mimicry
from benchmarks.speed.harness import Row, Settings, alternate, at_least
from benchmarks.speed.setups import NoiseImages, dcgan32, one_step, phase2, plugin_manager
from gan_registry.backbones.base import Backbone
from gan_registry.hookspecs import hookimpl
from gan_registry.training.run import Run

NAME = "phase2_step"
_AIM = at_least(1.3)


class MimicryBackbone:
    """Adds the backbone `mimicry_sngan32`: mimicry's networks in our host."""

    def __init__(self, ngf: int, ndf: int) -> None:
        self.widths = ngf, ndf

    @hookimpl
    def gan_register(self, catalogs: Any) -> None:
        """Adds the backbone."""
        module = mimicry.load("nets.sngan.sngan_32")
        ngf, ndf = self.widths

        def build(config: Any, sample_shape: Any, num_classes: int, seed: int) -> Backbone:
            return Backbone(
                partial(mimicry.Adapter, module.SNGANGenerator32, ngf=ngf),
                partial(mimicry.Adapter, module.SNGANDiscriminator32, ndf=ndf),
                z_dim=128,
                seed=seed,
            )

        catalogs.backbones.register("mimicry_sngan32", build)


def run(settings: Settings) -> list[Row]:
    """Measures both networks."""
    mimicry.load("nets.gan.gan")  # before anything is trained
    quick = settings.quick
    images = NoiseImages(128 if quick else 2_000)
    batch_size = 8 if quick else 64
    size: dict[str, Any] = {"OPTIMIZATION__batch_size": batch_size}
    rows = []

    plugins = plugin_manager(noise=images)
    width = 8 if quick else 64
    widths = {"MODEL__g_conv_dim": width, "MODEL__d_conv_dim": width}
    run = phase2(dcgan32(plugins, **size, **widths), plugins)
    rows.append(_compare("DCGAN, 32 px", run, "ns", settings, 15))

    widths_sngan = (16, 16) if quick else (256, 128)
    plugins = plugin_manager(noise=images, mimicry=MimicryBackbone(*widths_sngan))
    config = dcgan32(
        plugins, **size, MODEL__backbone="mimicry_sngan32", MODEL__z_dim=128,
        LOSS__adv_loss="hinge", OPTIMIZATION__beta1=0.0, OPTIMIZATION__beta2=0.9,
    )  # fmt: skip
    rows.append(_compare("SNGAN-32", phase2(config, plugins), "hinge", settings, 3))
    return rows


def _compare(label: str, run: Run, loss: str, settings: Settings, usual: int) -> Row:
    generator, discriminator = copy.deepcopy((run.generator, run.discriminator))
    for network in (generator, discriminator):
        network.to(memory_format=torch.contiguous_format)  # the peer leaves torch's own layout
    second = copy.deepcopy(discriminator)
    z_dim = run.backbone.z_dim
    networks = mimicry.wrapped(generator, discriminator, z_dim, loss)
    networks.generator.train()
    other = mimicry.wrapped(generator, second, z_dim, loss).discriminator
    config = run.config.OPTIMIZATION
    adam = partial(torch.optim.Adam, lr=config.d_lr, betas=(config.beta1, config.beta2))
    theirs = mimicry.published_step(networks, other, adam)
    weighted, uniform = (run.stream.next().x.contiguous() for _ in range(2))
    run.generator.train()
    run.discriminator.train()
    pair = alternate(
        lambda: one_step(run), lambda: theirs(weighted, uniform), settings.pairs(usual)
    )
    return pair.row(
        NAME, f"{label}, batch {len(weighted)}", _AIM, unit="ms", scale=1e3,
        note="the peer's batches are ready-made, ours are fetched",
    )  # fmt: skip
