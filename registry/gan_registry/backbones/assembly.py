"""Puts backbones of images together by the keys of MODEL that all read; plain generators."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

from torch import Tensor, nn

from gan_registry.backbones.base import Backbone

if TYPE_CHECKING:
    from gan_registry.config.schema import Config

AnyBackbone = TypeVar("AnyBackbone", bound=Backbone)


class PlainGenerator(nn.Module):
    """An unconditional generator: its `layers`, from a latent to an image."""

    layers: nn.Module

    def forward(self, z: Tensor, y: Tensor | None = None) -> Tensor:
        """Returns images [B, C, H, W] in [-1, 1]; `y` is not used."""
        images: Tensor = self.layers(z)
        return images


def assemble(
    kind: type[AnyBackbone],
    generator: Callable[..., nn.Module],
    discriminator: Callable[..., nn.Module],
    config: Config,
    channels: int,
    seed: int,
    **keys: Any,
) -> AnyBackbone:
    """Puts a backbone together, with the arguments that all networks of images name alike.

    Args:
        kind: Class of the backbone.
        generator: Makes G; it is given `z_dim`, `out_channels` and `width`, and is a partial where
            it takes more.
        discriminator: Makes D; it is given `in_channels`, `width` and `out_features`, likewise.
        config: `MODEL.z_dim`, `z_prior`, `g_conv_dim` and `d_conv_dim` are read.
        channels: Channels of an image.
        seed: Seed of the initial weights.
        **keys: Further arguments of the backbone.
    """
    model = config.MODEL
    return kind(
        partial(generator, z_dim=model.z_dim, out_channels=channels, width=model.g_conv_dim),
        partial(discriminator, in_channels=channels, width=model.d_conv_dim, out_features=1),
        z_dim=model.z_dim,
        z_prior=model.z_prior,
        seed=seed,
        **keys,
    )
