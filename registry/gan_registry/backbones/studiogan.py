"""What StudioGAN's backbones share: a generator's forward pass, and the keys that are read."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

from torch import Tensor, nn

from gan_registry.backbones.assembly import assemble
from gan_registry.backbones.attention import attention_places
from gan_registry.backbones.conditioning import ConditionalBackbone, conditions, one_hot
from gan_registry.backbones.residual import activations

if TYPE_CHECKING:
    from gan_registry.config.schema import Config

GRID = 4  # size of a generator's smallest feature map
EPS = 1e-6  # of spectral norm


class StudioGANGenerator(nn.Module):
    """A generator that projects the latent and conditions each of its blocks on the label.

    Args:
        z_dim: Dimension of the latent.
        out_channels: Channels of an image.
        width: Base width (`g_conv_dim`), of which the channels of all layers are multiples.
        num_classes: Classes of class-conditional batch norm; 0 for plain batch norm.
        attention: Blocks (from 1) that self-attention follows.
        act: See `gan_registry.backbones.residual.activation`.
        spectral: Spectral norm on each layer.
        init: See `gan_registry.backbones.init.initialise`.

    Attributes:
        num_classes: As given.
    """

    num_classes: int
    project: nn.Module
    unflatten: nn.Module
    blocks: nn.ModuleList
    to_image: nn.Module

    def forward(self, z: Tensor, y: Tensor | None = None) -> Tensor:
        """Returns images [B, C, H, W] in [-1, 1]; `y` is needed by a conditional G only."""
        condition = one_hot(y, self.num_classes, z) if self.num_classes else None
        h = self.unflatten(self.project(z))
        for block in self.blocks:
            h = block(h, condition)
        images: Tensor = self.to_image(h)
        return images


def studiogan_backbone(
    name: str,
    generator: Callable[..., nn.Module],
    discriminator: Callable[..., nn.Module],
    config: Config,
    channels: int,
    num_classes: int,
    seed: int,
    blocks: tuple[int, int],
) -> ConditionalBackbone:
    """Puts a backbone together by the keys that all of StudioGAN's read.

    `generator` and `discriminator` take the arguments of `StudioGANGenerator` and
    `ConditionalDiscriminator`; `blocks` says how many blocks they have.

    Raises:
        UserError: The conditioning or an activation is not supported.
    """
    g_cond, d_cond = conditions(name, config, num_classes)
    g_act, d_act = activations(name, config)
    model = config.MODEL
    return assemble(
        ConditionalBackbone,
        partial(
            generator,
            num_classes=num_classes if g_cond == "cBN" else 0,
            attention=attention_places(model.apply_attn, model.attn_g_loc, blocks[0]),
            act=g_act,
            spectral=model.apply_g_sn,
        ),
        partial(
            discriminator,
            method=d_cond,
            num_classes=num_classes,
            normalize=model.normalize_d_embed,
            attention=attention_places(model.apply_attn, model.attn_d_loc, blocks[1]),
            act=d_act,
            spectral=model.apply_d_sn,
        ),
        config,
        channels,
        seed,
        own_init="ortho",
        num_classes=num_classes,
        g_cond=g_cond,
        d_cond=d_cond,
        cond_lambda=config.LOSS.cond_lambda,
    )
