"""Multi-layer perceptrons for points, such as the papers' two-dimensional toy data.

Supported: samples of shape (D,). Keys read: `MODEL.z_dim`, `z_prior`, `hidden_dim`, `num_layers`,
`apply_g_sn`, `apply_d_sn`, `g_bn`, `d_bn`, `d_dropout`, `g_init`, `d_init`.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

from torch import nn

from gan_registry.backbones.assembly import PlainGenerator
from gan_registry.backbones.base import Backbone, LinearHead, finish, hidden_layer
from gan_registry.errors import UserError

if TYPE_CHECKING:
    from gan_registry.config.schema import Config


class MLPGenerator(PlainGenerator):
    """Maps z [B, z_dim] to points [B, out_features] through ReLU layers.

    Args:
        out_features: Dimension of a point.
        width: Units of a hidden layer.
        num_layers: Number of hidden layers.
        batch_norm: Batch norm after each hidden linear layer.
    """

    def __init__(
        self,
        z_dim: int,
        out_features: int,
        width: int = 128,
        num_layers: int = 3,
        batch_norm: bool = False,
        spectral: bool = False,
        init: str = "default",
    ) -> None:
        super().__init__()
        hidden = _hidden_layers(z_dim, width, num_layers, batch_norm, nn.ReLU)
        self.layers = nn.Sequential(
            *hidden, nn.Linear(width if num_layers else z_dim, out_features)
        )
        finish(self, init, spectral)


class MLPDiscriminator(LinearHead):
    """Maps points [B, in_channels] to logits [B, 1] through LeakyReLU(0.2) layers.

    Args:
        width: Units of a hidden layer.
        num_layers: Number of hidden layers.
        batch_norm: Batch norm after each hidden linear layer.
    """

    def __init__(
        self,
        in_channels: int,
        width: int = 128,
        num_layers: int = 3,
        batch_norm: bool = False,
        spectral: bool = False,
        dropout: float = 0.0,
        init: str = "default",
        out_features: int = 1,
    ) -> None:
        super().__init__()
        leaky = partial(nn.LeakyReLU, 0.2)
        self.body = nn.Sequential(
            *_hidden_layers(in_channels, width, num_layers, batch_norm, leaky, dropout)
        )
        self.head = nn.Linear(width if num_layers else in_channels, out_features)
        finish(self, init, spectral)


def _hidden_layers(
    inputs: int,
    width: int,
    count: int,
    batch_norm: bool,
    activation: Callable[[], nn.Module],
    dropout: float = 0.0,
) -> list[nn.Module]:
    modules: list[nn.Module] = []
    for i in range(count):
        linear = nn.Linear(inputs if i == 0 else width, width, bias=not batch_norm)
        norm = nn.BatchNorm1d(width) if batch_norm else None
        modules += hidden_layer(linear, norm, activation, dropout)
    return modules


def build_mlp(
    config: Config, sample_shape: tuple[int, ...], num_classes: int, seed: int
) -> Backbone:
    """Builds the backbone `mlp`.

    Raises:
        UserError: The samples are no points.
    """
    if len(sample_shape) != 1:
        raise UserError(
            f"MODEL.backbone mlp takes points of shape (D,), but the samples of this dataset have "
            f"shape {tuple(sample_shape)}; use MODEL.backbone=dcgan for images."
        )
    model = config.MODEL
    generator = partial(
        MLPGenerator,
        z_dim=model.z_dim,
        out_features=sample_shape[0],
        width=model.hidden_dim,
        num_layers=model.num_layers,
        batch_norm=model.g_bn,
        spectral=model.apply_g_sn,
        init=model.g_init,
    )
    discriminator = partial(
        MLPDiscriminator,
        in_channels=sample_shape[0],
        width=model.hidden_dim,
        num_layers=model.num_layers,
        batch_norm=model.d_bn,
        spectral=model.apply_d_sn,
        dropout=model.d_dropout,
        init=model.d_init,
        out_features=1,
    )
    return Backbone(generator, discriminator, z_dim=model.z_dim, z_prior=model.z_prior, seed=seed)
