"""A step of phase 2, D, auxiliary D and G, against mimicry's `train_step` of each.

That is the published protocol. Both sides train copies of the same networks on batches of the same
size, with Adam of the same settings. The peer gets its batches ready-made; ours fetches its own.

The paper's own networks for Colored MNIST come from a checkout of its code,
github.com/grayhong/self-diagnosing-gan, that the environment variable SELF_DIAGNOSING_GAN names:
they train by steps of their own there, and here as our `mnist_dcgan`.
"""

from __future__ import annotations

import copy
import os
from functools import partial
from typing import Any

import torch

from benchmarks.speed import mimicry
from benchmarks.speed.harness import Row, Settings, alternate, at_least
from benchmarks.speed.setups import NoiseImages, dcgan32, phase2, plugin_manager
from gan_registry.backbones.base import Backbone
from gan_registry.hookspecs import hookimpl
from gan_registry.training.run import Run
from gan_registry.training.step import train_step

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
    """Measures the networks."""
    mimicry.load("nets.gan.gan")  # before anything is trained
    quick = settings.quick
    images = NoiseImages(128)
    size: dict[str, Any] = {"OPTIMIZATION__batch_size": 8 if quick else 64}
    adam = {"OPTIMIZATION__beta1": 0.5, "OPTIMIZATION__beta2": 0.9, "OPTIMIZATION__d_lr": 1e-4}
    rows = [_published(images, {**size, **adam}, settings)]

    plugins = plugin_manager(noise=images)
    width = 8 if quick else 64
    widths = {"MODEL__g_conv_dim": width, "MODEL__d_conv_dim": width}
    run = phase2(dcgan32(plugins, **size, **widths), plugins)
    rows.append(_compare("DCGAN, 32 px", run, "ns", settings, 9))

    size = {"OPTIMIZATION__batch_size": 8}  # a step of 64 takes half a minute
    plugins = plugin_manager(
        noise=images, mimicry=MimicryBackbone(*((16, 16) if quick else (256, 128)))
    )
    config = dcgan32(
        plugins, **size, MODEL__backbone="mimicry_sngan32", MODEL__z_dim=128,
        LOSS__adv_loss="hinge", OPTIMIZATION__beta1=0.0, OPTIMIZATION__beta2=0.9,
    )  # fmt: skip
    rows.append(_compare("SNGAN-32", phase2(config, plugins), "hinge", settings, 3))
    return rows


def _published(images: NoiseImages, given: dict[str, Any], settings: Settings) -> Row:
    """Measures the paper's networks, with its dropout, against its own code."""
    label = "the paper's networks for Colored MNIST, and its code"
    checkout = os.environ.get("SELF_DIAGNOSING_GAN", "")
    if not checkout:
        return Row(NAME, label, note="skipped: SELF_DIAGNOSING_GAN names no checkout of its code")
    plugins = plugin_manager(noise=images)
    networks = {
        "MODEL__backbone": "mnist_dcgan", "MODEL__z_dim": 100, "MODEL__d_dropout": 0.5,
        "MODEL__g_init": "default", "MODEL__d_init": "default",
    }  # fmt: skip
    run = phase2(dcgan32(plugins, **given, **networks), plugins)
    theirs, second = mimicry.colored_mnist(checkout), mimicry.colored_mnist(checkout).discriminator
    pairs = zip((run.generator, run.discriminator), theirs, strict=True)
    assert all(_size(ours) == _size(peer) for ours, peer in pairs)
    return _timed(label, run, theirs, second, settings, 9)


def _size(network: Any) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


def _compare(label: str, run: Run, loss: str, settings: Settings, usual: int) -> Row:
    generator, discriminator = copy.deepcopy((run.generator, run.discriminator))
    for network in (generator, discriminator):
        network.to(memory_format=torch.contiguous_format)  # the peer leaves torch's own layout
    second = copy.deepcopy(discriminator)
    z_dim = run.backbone.z_dim
    networks = mimicry.wrapped(generator, discriminator, z_dim, loss)
    other = mimicry.wrapped(generator, second, z_dim, loss).discriminator
    return _timed(label, run, networks, other, settings, usual)


def _timed(
    label: str, run: Run, networks: mimicry.Networks, other: Any, settings: Settings, usual: int
) -> Row:
    networks.generator.train()
    config = run.config.OPTIMIZATION
    adam = partial(torch.optim.Adam, lr=config.d_lr, betas=(config.beta1, config.beta2))
    theirs = mimicry.published_step(networks, other, adam)
    weighted, uniform = (run.stream.next().x.contiguous() for _ in range(2))
    pair = alternate(
        lambda: train_step(run), lambda: theirs(weighted, uniform), settings.pairs(usual)
    )
    return pair.row(
        NAME, f"{label}, batch {len(weighted)}", _AIM, unit="ms", scale=1e3,
        note="the peer's batches are ready-made, ours are fetched",
    )  # fmt: skip
