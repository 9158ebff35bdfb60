"""Residual blocks of generators and discriminators (SNGAN; Miyato et al., 2018).

Two published families differ in details, which are arguments here: StudioGAN upsamples to the
nearest and gives a discriminator's hidden layer the block's outgoing width; mimicry upsamples
bilinearly and gives it the incoming width.

In both of those an in-place ReLU at the start of a discriminator's block also changes what its
shortcut sees. Here the shortcut sees the block's input, as in the paper and in SNGAN's own code.
Shortcuts are 1×1 convolutions, which commute with resizing: they are applied at the lower
resolution, four times as cheap.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import Tensor, nn
from torch.nn import functional as F

from gan_registry.backbones.conditioning import ConditionalBatchNorm2d
from gan_registry.errors import UserError

if TYPE_CHECKING:
    from gan_registry.config.schema import Config

ACTIVATIONS = ("ReLU", "Leaky_ReLU", "ELU", "GELU")


def activation(name: str, inplace: bool = True) -> nn.Module:
    """Makes one of StudioGAN's activations.

    Args:
        name: One of `ACTIVATIONS`; a leaky ReLU has slope 0.1.
        inplace: Overwrite the input; safe after a convolution or a norm whose output nobody else
            reads.

    Raises:
        ValueError: `name` is unknown.
    """
    if name == "ReLU":
        return nn.ReLU(inplace)
    if name == "Leaky_ReLU":
        return nn.LeakyReLU(0.1, inplace)
    if name == "ELU":
        return nn.ELU(inplace=inplace)
    if name == "GELU":
        return nn.GELU()
    raise ValueError(f"Argument `name` must be one of {ACTIVATIONS}, but got {name!r}.")


def activations(backbone: str, config: Config) -> tuple[str, str]:
    """Returns (`MODEL.g_act_fn`, `MODEL.d_act_fn`), or raises a UserError for an unknown one."""
    for key in ("g_act_fn", "d_act_fn"):
        name = getattr(config.MODEL, key)
        if name not in ACTIVATIONS:
            raise UserError(
                f"MODEL.{key}={name} is not supported by MODEL.backbone {backbone}; use one of "
                f"{', '.join(ACTIVATIONS)}."
            )
    return config.MODEL.g_act_fn, config.MODEL.d_act_fn


def upsampled(x: Tensor, mode: str) -> Tensor:
    """Doubles height and width; `mode` is "nearest" or "bilinear"."""
    if mode == "nearest":
        return F.interpolate(x, scale_factor=2, mode=mode)
    return F.interpolate(x, scale_factor=2, mode=mode, align_corners=False)


class GeneratorBlock(nn.Module):
    """Norm, activation, upsampling, 3×3, norm, activation, 3×3, plus an upsampled shortcut.

    Args:
        condition_dim: Dimension of the condition of class-conditional batch norm; 0 for plain.
        act: See `activation`.
        mode: "nearest" or "bilinear".
        eps: Of plain batch norm.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        condition_dim: int = 0,
        act: str = "ReLU",
        mode: str = "nearest",
        eps: float = 1e-4,
    ) -> None:
        super().__init__()

        def norm(channels: int) -> nn.Module:
            if condition_dim:
                return ConditionalBatchNorm2d(condition_dim, channels)
            return nn.BatchNorm2d(channels, eps)

        self.conditional = condition_dim > 0
        self.mode = mode
        self.norm1, self.norm2 = norm(in_channels), norm(out_channels)
        self.activation = activation(act)
        self.conv1 = nn.Conv2d(in_channels, out_channels, 3, padding=1)
        self.conv2 = nn.Conv2d(out_channels, out_channels, 3, padding=1)
        self.shortcut = nn.Conv2d(in_channels, out_channels, 1)

    def forward(self, x: Tensor, condition: Tensor | None = None) -> Tensor:
        """Maps [B, in_channels, H, W] to [B, out_channels, 2H, 2W]."""
        given = (condition,) if self.conditional else ()
        h = self.activation(self.norm1(x, *given))
        h = self.conv1(upsampled(h, self.mode))
        h = self.conv2(self.activation(self.norm2(h, *given)))
        raised: Tensor = h + upsampled(self.shortcut(x), self.mode)
        return raised


class FirstBlock(nn.Module):
    """The first block of a discriminator: 3×3, activation, 3×3, pooling, plus a shortcut.

    Batch norm, if wanted, is between the convolutions and in the shortcut; for `act` see
    `activation`.
    """

    def __init__(
        self, in_channels: int, out_channels: int, batch_norm: bool = False, act: str = "ReLU"
    ) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, out_channels, 3, padding=1)
        self.norm = plain_norm(out_channels, batch_norm)
        self.activation = activation(act)
        self.conv2 = nn.Conv2d(out_channels, out_channels, 3, padding=1)
        self.shortcut_norm = plain_norm(in_channels, batch_norm)
        self.shortcut = nn.Conv2d(in_channels, out_channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Maps [B, in_channels, H, W] to [B, out_channels, H/2, W/2]."""
        h = self.conv2(self.activation(self.norm(self.conv1(x))))
        skipped: Tensor = self.shortcut(self.shortcut_norm(F.avg_pool2d(x, 2)))
        return F.avg_pool2d(h, 2) + skipped


class DiscriminatorBlock(nn.Module):
    """Activation, 3×3, activation, 3×3, perhaps pooling, plus a shortcut.

    Batch norm, if wanted, is before the activations and in the shortcut; for `act` see
    `activation`. Between the convolutions there are `hidden_channels`, by default `out_channels`.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        downsample: bool = True,
        batch_norm: bool = False,
        act: str = "ReLU",
        hidden_channels: int | None = None,
    ) -> None:
        super().__init__()
        hidden = out_channels if hidden_channels is None else hidden_channels
        self.downsample = downsample
        self.norm1 = plain_norm(in_channels, batch_norm)
        # Without a norm before it this reads the block's input, which the shortcut reads as well.
        self.activation1 = activation(act, inplace=batch_norm)
        self.conv1 = nn.Conv2d(in_channels, hidden, 3, padding=1)
        self.norm2 = plain_norm(hidden, batch_norm)
        self.activation2 = activation(act)
        self.conv2 = nn.Conv2d(hidden, out_channels, 3, padding=1)
        self.learnt_shortcut = downsample or in_channels != out_channels
        if self.learnt_shortcut:
            self.shortcut_norm = plain_norm(in_channels, batch_norm)
            self.shortcut = nn.Conv2d(in_channels, out_channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Maps [B, in_channels, H, W] to [B, out_channels, H/2, W/2], or to the same size."""
        h = self.conv1(self.activation1(self.norm1(x)))
        h = self.conv2(self.activation2(self.norm2(h)))
        if self.learnt_shortcut:
            x = self.shortcut_norm(x)
        if self.downsample:
            h, x = F.avg_pool2d(h, 2), F.avg_pool2d(x, 2)
        lowered: Tensor = h + (self.shortcut(x) if self.learnt_shortcut else x)
        return lowered


def plain_norm(channels: int, wanted: bool) -> nn.Module:
    """Makes StudioGAN's batch norm (eps 1e-4), or the identity."""
    return nn.BatchNorm2d(channels, eps=1e-4) if wanted else nn.Identity()


class SumPool(nn.Module):
    """Sums a feature map over its positions: [B, C, H, W] to [B, C]."""

    def forward(self, x: Tensor) -> Tensor:
        """Returns [B, C]."""
        return x.sum((2, 3))
