"""Multi-layer perceptrons for points, such as the papers' two-dimensional toy data.

Supported: samples of shape (D,). Keys read: `MODEL.z_dim`, `z_prior`, `hidden_dim`, `num_layers`,
`apply_g_sn`, `apply_d_sn`, `g_bn`, `d_bn`, `d_dropout`, `g_init`, `d_init`.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from torch import Tensor, nn

from gan_registry.backbones.base import Backbone, LinearHead, finish, hidden_layer
from gan_registry.errors import UserError

if TYPE_CHECKING:
    from gan_registry.config.schema import Config


class MLPGenerator(nn.Module):
    """Maps z [B, z_dim] to points [B, out_features] through ReLU layers.

    Args:
        z_dim: Dimension of the latent.
        out_features: Dimension of a point.
        width: Units of a hidden layer.
        num_layers: Number of hidden layers.
        batch_norm: Batch norm after each hidden linear layer.
        spectral: Spectral norm on each linear layer.
        init: See `gan_registry.backbones.base.finish`.
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
        modules: list[nn.Module] = []
        for i in range(num_layers):
            linear = nn.Linear(z_dim if i == 0 else width, width, bias=not batch_norm)
            modules += hidden_layer(
                linear, nn.BatchNorm1d(width) if batch_norm else None, nn.ReLU, 0.0
            )
        modules.append(nn.Linear(width if num_layers else z_dim, out_features))
        self.layers = nn.Sequential(*modules)
        finish(self, init, spectral)

    def forward(self, z: Tensor, y: Tensor | None = None) -> Tensor:
        """Returns points [B, out_features]; `y` is not used."""
        points: Tensor = self.layers(z)
        return points


class MLPDiscriminator(LinearHead):
    """Maps points [B, in_channels] to logits [B, 1] through LeakyReLU(0.2) layers.

    Args:
        in_channels: Dimension of a point; of m points side by side for a D that packs them.
        width: Units of a hidden layer.
        num_layers: Number of hidden layers.
        batch_norm: Batch norm after each hidden linear layer.
        spectral: Spectral norm on each linear layer.
        dropout: Probability of dropping a hidden unit.
        init: See `gan_registry.backbones.base.finish`.
        out_features: Number of outputs.
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
        modules: list[nn.Module] = []
        for i in range(num_layers):
            linear = nn.Linear(in_channels if i == 0 else width, width, bias=not batch_norm)
            modules += hidden_layer(
                linear,
                nn.BatchNorm1d(width) if batch_norm else None,
                partial(nn.LeakyReLU, 0.2),
                dropout,
            )
        self.body = nn.Sequential(*modules)
        self.head = nn.Linear(width if num_layers else in_channels, out_features)
        finish(self, init, spectral)


def build_mlp(
    config: Config, sample_shape: tuple[int, ...], num_classes: int, seed: int
) -> Backbone:
    """Builds the backbone `mlp`.

    Args:
        config: Section MODEL is read.
        sample_shape: (D,).
        num_classes: Not used: the networks are unconditional.
        seed: Seed of the initial weights.

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
