"""Puts backbones of images together by the keys of MODEL that all read; plain generators."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

from torch import Tensor, nn

from gan_registry.backbones.base import Backbone
from gan_registry.backbones.init import Initialiser

if TYPE_CHECKING:
    from gan_registry.config.schema import Config

AnyBackbone = TypeVar("AnyBackbone", bound=Backbone)


class PlainGenerator(nn.Module):
    """An unconditional generator: its `layers`, from a latent to a sample.

    Its classes take `z_dim`, the dimension of the latent; `spectral`, spectral norm on each layer;
    `init`, see `gan_registry.backbones.init.initialise`; and, those of images, `image_size`, one of
    their module's `SUPPORTED_SIZES`, and `out_channels`, the channels of an image.
    """

    layers: nn.Module

    def forward(self, z: Tensor, y: Tensor | None = None) -> Tensor:
        """Returns samples [B, ...], images [B, C, H, W] in [-1, 1]; `y` is not used."""
        samples: Tensor = self.layers(z)
        return samples


def assemble(
    kind: type[AnyBackbone],
    generator: Callable[..., nn.Module],
    discriminator: Callable[..., nn.Module],
    config: Config,
    channels: int,
    seed: int,
    *,
    own_init: str | Initialiser = "default",
    **keys: Any,
) -> AnyBackbone:
    """Puts a backbone together, with the arguments that all networks of images name alike.

    Args:
        kind: Class of the backbone.
        generator: Makes G; it is given `z_dim`, `out_channels`, `width` and `init`, and is a
            partial where it takes more.
        discriminator: Makes D; it is given `in_channels`, `width`, `init` and `out_features`,
            likewise.
        config: `MODEL.z_dim`, `z_prior`, `g_conv_dim`, `d_conv_dim`, `g_init` and `d_init` are
            read.
        channels: Channels of an image.
        seed: Seed of the initial weights.
        own_init: What `g_init` and `d_init` "default" mean.
        **keys: Further arguments of the backbone.
    """
    model = config.MODEL
    g_init, d_init = (
        own_init if init == "default" else init for init in (model.g_init, model.d_init)
    )
    return kind(
        partial(
            generator,
            z_dim=model.z_dim,
            out_channels=channels,
            width=model.g_conv_dim,
            init=g_init,
        ),
        partial(
            discriminator,
            in_channels=channels,
            width=model.d_conv_dim,
            init=d_init,
            out_features=1,
        ),
        z_dim=model.z_dim,
        z_prior=model.z_prior,
        seed=seed,
        **keys,
    )
