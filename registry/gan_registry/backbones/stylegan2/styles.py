"""What StyleGAN2's networks share: styles, their mixing, and the path-length regulariser."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from gan_registry.backbones.base import Backbone
from gan_registry.errors import UserError
from gan_registry.regularizers.full_precision import full_precision
from gan_registry.regularizers.path_length import path_length_penalty

if TYPE_CHECKING:
    from gan_registry.config.schema import Config

PATH_LENGTH_BATCH_SHRINK = 2  # the penalty is taken on half a batch, as published


class StyleGenerator(nn.Module):
    """A generator in two parts: `styles`, z -> w, and `images`, w -> x.

    In training mode it mixes styles, draws the noise of its layers from torch's global generators,
    which a run seeds at each step, and returns the synthesis network's output as it is: the last
    layer is linear, as published, and D sees what it gives. In evaluation mode a sample is a
    function of z and y alone: no mixing, the same noise for every sample, and x is clamped to
    [-1, 1], as both implementations do when they write an image.

    Args:
        style_mixing_p: Probability that a batch's styles are mixed.

    Attributes:
        path_length_mean: a of the path-length regulariser, a buffer, so that checkpoints hold it.
    """

    path_length_mean: Tensor

    def __init__(self, style_mixing_p: float = 0.0) -> None:
        super().__init__()
        self.style_mixing_p = style_mixing_p
        self.register_buffer("path_length_mean", torch.zeros(()))

    def styles(self, z: Tensor, y: Tensor | None = None, *, track: bool = False) -> Tensor:
        """Returns one style a layer, [B, L, w_dim], of latents [B, z_dim] and labels [B] or None.

        `track` says whether running averages that the networks keep take these in.
        """
        raise NotImplementedError

    def images(self, w: Tensor, *, track: bool = False) -> Tensor:
        """Returns the synthesis network's output [B, C, H, W] for styles [B, L, w_dim]."""
        raise NotImplementedError

    def mixed_styles(self, z: Tensor, y: Tensor | None = None, *, track: bool = False) -> Tensor:
        """Returns styles [B, L, w_dim]; in training mode those of two latents, at random.

        With probability `style_mixing_p`, the layers from a cut on, uniform in 1, …, L-1, take the
        style of a second latent. The cut is drawn once a batch, as in the authors' code.
        """
        w = self.styles(z, y, track=track)
        layers = w.shape[1]
        if not self.training or self.style_mixing_p == 0.0 or layers < 2:
            return w
        other = self.styles(torch.randn_like(z), y)
        # Tensors, not numbers, so that no device is waited for.
        cut = torch.randint(1, layers, (), device=w.device)
        mixed = torch.rand((), device=w.device) < self.style_mixing_p
        second = mixed & (torch.arange(layers, device=w.device) >= cut)
        return torch.where(second[:, None], other, w)

    def forward(self, z: Tensor, y: Tensor | None = None) -> Tensor:
        """Returns images [B, C, H, W]; in [-1, 1] in evaluation mode."""
        # Only updates of G have gradients: what a plugin generates leaves no trace.
        track = self.training and torch.is_grad_enabled()
        x = self.images(self.mixed_styles(z, y, track=track), track=track)
        return x if self.training else x.clamp(-1.0, 1.0)


class StyleBackbone(Backbone):
    """A backbone whose generator is a `StyleGenerator`, with its path lengths regularised lazily.

    Args:
        generator: As for `Backbone`.
        discriminator: As for `Backbone`.
        pl_weight: Weight of the penalty; 0 for none.
        interval: Updates of G between two regularising steps.
        **keys: The other arguments of `Backbone`.
    """

    def __init__(
        self,
        generator: partial[Any],
        discriminator: partial[Any],
        *,
        pl_weight: float = 0.0,
        interval: int = 4,
        **keys: Any,
    ) -> None:
        super().__init__(generator, discriminator, **keys)
        self._pl_weight = pl_weight
        self._interval = interval

    def lazy_intervals(self) -> Mapping[str, int]:
        """Returns {"generator": interval} if path lengths are regularised, else {}."""
        return {"generator": self._interval} if self._pl_weight else {}

    def lazy_generator_terms(self, z: Tensor, y: Tensor | None = None) -> Tensor | None:
        """Returns weight × interval × the path-length penalty on a batch's first half, or None.

        The mean path length, a buffer of G, takes in this batch's.

        Raises:
            ValueError: G has been replaced by a module that has no styles.
        """
        if not self._pl_weight:
            return None
        network = self.generator
        if not isinstance(network, StyleGenerator):
            raise ValueError(
                "The generator must be a StyleGenerator for path-length regularisation, but got "
                f"{type(network).__name__}; set STYLEGAN.apply_pl_reg=false."
            )
        size = max(len(z) // PATH_LENGTH_BATCH_SHRINK, 1)
        with full_precision(z):
            w = network.mixed_styles(z[:size], None if y is None else y[:size])
            x = network.images(w)
        penalty, mean = path_length_penalty(x, w, network.path_length_mean)
        network.path_length_mean.copy_(mean)
        return self._pl_weight * self._interval * penalty


def style_keys(config: Config, seed: int) -> dict[str, Any]:
    """Returns the arguments of `StyleBackbone` that come from the configuration alone."""
    model, style = config.MODEL, config.STYLEGAN
    return {
        "z_dim": model.z_dim,
        "seed": seed,
        "pl_weight": style.pl_weight if style.apply_pl_reg else 0.0,
        "interval": style.g_reg_interval,
    }


def require_plain_keys(backbone: str, config: Config) -> None:
    """Raises a UserError if the configuration asks for what no StyleGAN2 here has."""
    model = config.MODEL
    for key, plain in (
        ("z_prior", "gaussian"),
        ("apply_attn", False),
        ("apply_g_sn", False),
        ("apply_d_sn", False),
    ):
        value = getattr(model, key)
        if value != plain:
            raise UserError(
                f"MODEL.backbone {backbone} does not support MODEL.{key}={value}; set it to "
                f"{plain}."
            )


def inputs_of(layer: nn.Module, call: Callable[[], Any]) -> Tensor:
    """Returns what a layer is given during a call, e.g. a network's penultimate activations."""
    seen: list[Tensor] = []
    handle = layer.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    try:
        call()
    finally:
        handle.remove()
    return seen[-1]
