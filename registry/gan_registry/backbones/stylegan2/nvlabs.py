"""The backbone `nvlabs`: StyleGAN2's networks from a module that the user names.

`MODEL.module` is an importable module with the classes `Generator` and `Discriminator` of NVlabs'
`stylegan2-ada-pytorch` (`training.networks`) or `stylegan3` (`training.networks_stylegan2`), or any
of one's own with the same signatures: a G of `mapping(z, c) -> w [B, L, w_dim]` and
`synthesis(w) -> x`, and `D(x, c) -> [B, 1]`. On a CPU NVlabs' layers use their reference
implementations.

Supported: square images of 8 to 1024 px, a power of two. Keys read: `MODEL.z_dim`, `w_dim` (`z_dim`
by default), `g_conv_dim`, `d_conv_dim` (64 gives NVlabs' channel_base 32768 and channel_max 512,
and other widths in proportion; StudioGAN's 16384 for 64 to 256 px is another ratio), `g_cond_mtd`
(W/O, cAdaIN), `d_cond_mtd` (W/O, SPD), `STYLEGAN.mapping_network`, `style_mixing_p`,
`d_architecture`, `d_epilogue_mbstd_group_size`, `apply_pl_reg`, `pl_weight`, `g_reg_interval`, and
`RUN.mixed_precision`, whose fp16 is NVlabs' own: the four highest resolutions, on a GPU. `g_init`
and `d_init` are not read.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from gan_registry.backbones.conditioning import one_hot
from gan_registry.backbones.images import image_shape
from gan_registry.backbones.stylegan2.nvlabs_module import (
    Network,
    accepts,
    has_parameter,
    made,
    named_network,
    takes_synthesis_kwargs,
)
from gan_registry.backbones.stylegan2.styles import (
    StyleBackbone,
    StyleGenerator,
    inputs_of,
    require_plain_keys,
    style_keys,
)
from gan_registry.errors import UserError
from gan_registry.regularizers.full_precision import full_precision

if TYPE_CHECKING:
    from gan_registry.config.schema import Config

SUPPORTED_SIZES = tuple(2**power for power in range(3, 11))
CHANNEL_BASE, CHANNEL_MAX = 512, 8  # for each unit of width
FP16_RESOLUTIONS, FP16_CLAMP = 4, 256


class NVlabsGenerator(StyleGenerator):
    """Maps z [B, z_dim] and labels [B] to images.

    Args:
        network: Makes G: its class, or any function that takes the same arguments.
        num_classes: Dimension of the one-hot labels; 0 for none.
        style_mixing_p: See `StyleGenerator`.
        **keys: The other arguments of `network`.
    """

    def __init__(
        self, network: Network, num_classes: int = 0, style_mixing_p: float = 0.0, **keys: Any
    ) -> None:
        super().__init__(style_mixing_p)
        self.network: Any = network(c_dim=num_classes, **keys)
        self.num_classes = num_classes

    def styles(self, z: Tensor, y: Tensor | None = None, *, track: bool = False) -> Tensor:
        """Returns one style a layer, [B, L, w_dim]."""
        c = one_hot(y, self.num_classes, z) if self.num_classes else None
        with full_precision(z):
            w: Tensor = self.network.mapping(z, c, **self._tracking(track))
        return w

    def images(self, w: Tensor, *, track: bool = False) -> Tensor:
        """Returns images; their noise is random in training mode and constant in evaluation."""
        # Not under autocast: the networks check the types of their activations, and halve some.
        keys = self._tracking(track) if self._takes("update_emas") else {}
        if accepts(self.network.synthesis.forward, "noise_mode"):
            keys["noise_mode"] = "random" if self.training else "const"
        with full_precision(w):
            x: Tensor = self.network.synthesis(w, **keys)
        return x

    def _tracking(self, track: bool) -> dict[str, Any]:
        """How `stylegan3` and `stylegan2-ada-pytorch`, which differ, are told of running means."""
        if self._takes("update_emas"):
            return {"update_emas": track}
        return {"skip_w_avg_update": not track} if self._takes("skip_w_avg_update") else {}

    def _takes(self, name: str) -> bool:
        return has_parameter(self.network.mapping.forward, name)


class NVlabsDiscriminator(nn.Module):
    """Maps images and labels [B] to logits [B, 1].

    A logit depends on the batch: the last layers see the standard deviation within groups of
    samples. Where a batch is no multiple of a group, its first samples fill the last one up and
    their second logits are dropped.

    Args:
        network: Makes D: its class, or any function that takes the same arguments.
        in_channels: Channels of an image; of m images stacked for a D that packs them.
        num_classes: Dimension of the one-hot labels; 0 for none.
        group_size: Samples of a group of the minibatch standard deviation.
        **keys: The other arguments of `network`.

    Attributes:
        depends_on_batch: Whether a logit depends on which samples share the batch, in any mode.
    """

    def __init__(
        self,
        network: Network,
        in_channels: int = 3,
        num_classes: int = 0,
        group_size: int = 4,
        **keys: Any,
    ) -> None:
        super().__init__()
        self.network = network(
            c_dim=num_classes,
            img_channels=in_channels,
            epilogue_kwargs={"mbstd_group_size": group_size},
            **keys,
        )
        self.num_classes = num_classes
        self.group_size = group_size
        self.depends_on_batch = group_size > 1

    def features(self, x: Tensor) -> Tensor:
        """Returns the penultimate activations, [B, F], on which labels have no influence.

        Raises:
            NotImplementedError: The network has no last layer `b4.out`, as NVlabs' has.
        """
        last = getattr(getattr(self.network, "b4", None), "out", None)
        if not isinstance(last, nn.Module):
            name = type(self.network).__name__
            raise NotImplementedError(f"The discriminator {name} has no last layer `b4.out`.")
        y = torch.zeros(len(x), dtype=torch.int64, device=x.device)
        return inputs_of(last, lambda: self(x, y))[: len(x)]

    def forward(self, x: Tensor, y: Tensor | None = None) -> Tensor:
        """Returns logits [B, 1]; `y` is needed by a conditional D only."""
        size = len(x)
        c = one_hot(y, self.num_classes, x) if self.num_classes else None
        if size > self.group_size and size % self.group_size:
            missing = -size % self.group_size
            x = torch.cat([x, x[:missing]])
            c = None if c is None else torch.cat([c, c[:missing]])
        with full_precision(x):
            logits: Tensor = self.network(x, c)
        return logits[:size]


def build_nvlabs(
    config: Config, sample_shape: tuple[int, ...], num_classes: int, seed: int
) -> StyleBackbone:
    """Builds the backbone `nvlabs`; the section STYLEGAN and RUN.mixed_precision are read, too.

    Raises:
        UserError: `MODEL.module` can't be imported or has no such networks, the samples are no
            images of a supported size, or the conditioning is not supported.
    """
    channels, size = image_shape("nvlabs", sample_shape, SUPPORTED_SIZES)
    require_plain_keys("nvlabs", config)
    g_classes, d_classes = _classes(config, num_classes)
    model, style = config.MODEL, config.STYLEGAN
    generator_class = named_network(model.module, "Generator")
    synthesis = {**_widths(model.g_conv_dim), **_precision(config)}
    generator = partial(
        NVlabsGenerator,
        network=partial(made, generator_class, f"{model.module}.Generator"),
        num_classes=g_classes,
        style_mixing_p=style.style_mixing_p,
        z_dim=model.z_dim,
        w_dim=model.w_dim or model.z_dim,
        img_resolution=size,
        img_channels=channels,
        mapping_kwargs={"num_layers": style.mapping_network},
        **(
            {"synthesis_kwargs": synthesis}
            if takes_synthesis_kwargs(generator_class)
            else synthesis
        ),
    )
    discriminator = partial(
        NVlabsDiscriminator,
        network=partial(
            made, named_network(model.module, "Discriminator"), f"{model.module}.Discriminator"
        ),
        in_channels=channels,
        num_classes=d_classes,
        group_size=style.d_epilogue_mbstd_group_size,
        img_resolution=size,
        architecture=style.d_architecture,
        **_widths(model.d_conv_dim),
        **_precision(config),
    )
    backbone = StyleBackbone(
        generator,
        discriminator,
        num_classes=num_classes,
        conditional=g_classes > 0,
        **style_keys(config, seed),
    )
    for part in ("mapping", "synthesis"):
        if not isinstance(getattr(backbone.generator.network, part, None), nn.Module):
            raise UserError(f"The Generator of MODEL.module={model.module} has no part `{part}`.")
    return backbone


def _classes(config: Config, num_classes: int) -> tuple[int, int]:
    """Returns the number of classes that G and D are told of; 0 for none."""
    g_cond, d_cond = config.MODEL.g_cond_mtd, config.MODEL.d_cond_mtd
    for key, method, known in (
        ("g_cond_mtd", g_cond, ("W/O", "cAdaIN")),
        ("d_cond_mtd", d_cond, ("W/O", "SPD")),
    ):
        if method not in known:
            raise UserError(
                f"MODEL.{key}={method} is not supported by MODEL.backbone nvlabs; use one of "
                f"{', '.join(known)}."
            )
    if d_cond != "W/O" and g_cond == "W/O":
        raise UserError(
            "MODEL.d_cond_mtd=SPD needs a generator that takes labels: set "
            "MODEL.g_cond_mtd=cAdaIN, or MODEL.d_cond_mtd=W/O."
        )
    if g_cond != "W/O" and num_classes < 1:
        raise UserError(
            "MODEL.g_cond_mtd=cAdaIN needs labelled data, but this dataset has no classes; set "
            "MODEL.g_cond_mtd=W/O and MODEL.d_cond_mtd=W/O."
        )
    return (0 if g_cond == "W/O" else num_classes), (0 if d_cond == "W/O" else num_classes)


def _widths(width: int) -> dict[str, Any]:
    return {"channel_base": CHANNEL_BASE * width, "channel_max": CHANNEL_MAX * width}


def _precision(config: Config) -> dict[str, Any]:
    """Returns how NVlabs' networks are told of half precision, which they manage themselves."""
    name = config.RUN.mixed_precision
    if name == "bf16":
        raise UserError(
            "MODEL.backbone nvlabs has half precision of its own, in float16: set "
            "RUN.mixed_precision to fp16 or no."
        )
    if name == "fp16":
        return {"num_fp16_res": FP16_RESOLUTIONS, "conv_clamp": FP16_CLAMP}
    return {"num_fp16_res": 0, "conv_clamp": None}
