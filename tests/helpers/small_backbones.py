"""Backbones from real configurations, narrow enough to train in a moment."""

from __future__ import annotations

from typing import Any
from unittest.mock import patch

import torch
from torch import Tensor, nn

from gan_registry.backbones import BUILTIN
from gan_registry.backbones.attention import SelfAttention
from gan_registry.backbones.base import Backbone
from gan_registry.catalogs import Catalog
from gan_registry.config.schema import Config
from gan_registry.losses.base import Loss
from gan_registry.losses.logistic import Logistic
from gan_registry.losses.multi_hinge import MultiHinge
from gan_registry.records import Fake, Real

CLASSES = 5


def backbone(
    name: str,
    size: int = 32,
    *,
    channels: int = 3,
    classes: int = CLASSES,
    shape: tuple[int, ...] | None = None,
    seed: int = 0,
    cond_lambda: float = 1.0,
    **model: Any,
) -> Backbone:
    """Builds a backbone by name; widths are 4 unless said otherwise."""
    keys = {"backbone": name, "z_dim": 20, "g_conv_dim": 4, "d_conv_dim": 4, **model}
    config = Config.model_validate({"MODEL": keys, "LOSS": {"cond_lambda": cond_lambda}})
    catalog = Catalog("backbone")
    for known, path in BUILTIN.items():
        catalog.register(known, path)
    result = catalog[name](config, shape or (channels, size, size), classes, seed)
    assert isinstance(result, Backbone)
    return result


def counts(name: str, size: int, **keys: Any) -> tuple[int, int]:
    """Numbers of parameters of G and D, without memory for the weights.

    Initialisation and spectral norm change no number, but take seconds at full width.
    """
    base = "gan_registry.backbones.base."
    with (
        patch(base + "initialise"),
        patch(base + "normalise_spectrally"),
        torch.device("meta"),
    ):
        built = backbone(name, size, **keys)
    return count(built.generator), count(built.discriminator)


def count(network: nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


def rng(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def batch(
    built: Backbone, shape: tuple[int, ...], n: int, seed: int = 0
) -> tuple[Real, Tensor, Tensor | None]:
    """Real samples, and latents and labels for as many fakes."""
    x = torch.randn((n, *shape), generator=rng(seed)).clamp(-1, 1)
    y = torch.arange(n) % CLASSES
    real = Real(torch.arange(n), x, y)
    return real, built.latent(n, rng(seed + 1)), y.flip(0) if built.conditional else None


def losses(built: Backbone, d_cond: str) -> Loss:
    return MultiHinge(built.realness) if d_cond == "MH" else Logistic(built.realness)


def discriminator_loss(built: Backbone, loss: Loss, real: Real, fake: Fake) -> Tensor:
    real_out = built.discriminator(real.x, real.y)
    fake_out = built.discriminator(fake.x, fake.y)
    terms = loss.real_terms(real_out, real.y).mean() + loss.fake_terms(fake_out, fake.y).mean()
    own = built.discriminator_terms(real, fake, real_out, fake_out)
    return terms if own is None else terms + own


def generator_loss(built: Backbone, loss: Loss, fake: Fake) -> Tensor:
    out = built.discriminator(fake.x, fake.y)
    terms = loss.generator_terms(out, fake.y).mean()
    own = built.generator_terms(fake, out)
    return terms if own is None else terms + own


def open_attention(*networks: nn.Module) -> None:
    """Gives self-attention a part in the result; at the start it has none."""
    for network in networks:
        for module in network.modules():
            if isinstance(module, SelfAttention):
                nn.init.constant_(module.sigma, 0.5)
