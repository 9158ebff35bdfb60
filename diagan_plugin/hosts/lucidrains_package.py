"""Imports `stylegan2-pytorch`, says what its adapter expects, and how its networks are called."""

from __future__ import annotations

import importlib
import importlib.util
from typing import Any

import torch
from torch import Tensor, nn

from diagan_plugin.hosts.kit.seams import Seam
from diagan_plugin.hosts.kit.stand_ins import standing_in
from gan_registry.errors import UserError

KNOWN = "1.9.0"
PACKAGE = "stylegan2_pytorch"

TRAINER_SEAMS = (
    Seam(
        "train",
        uses="loader GAN D_opt G_opt D_aug hinge_loss gen_hinge_loss steps save "
        "gradient_accumulate_every",
    ),
    Seam("set_data_src", "folder"),
    Seam("init_GAN"),
    Seam("save", "num"),
    Seam("load", "num", "GAN"),
    Seam("model_name", "num"),
    Seam("batch_size"),
)
CLASS_SEAMS = TRAINER_SEAMS[:-1]
"""The same as far as the class shows them."""
NETWORK_SEAMS = (
    Seam("S.forward", "x"),
    Seam("G.forward", "styles input_noise"),
    Seam("D.forward", "x"),
    Seam("SE"),
    Seam("GE"),
    Seam("G.num_layers"),
    Seam("G.image_size"),
    Seam("G.latent_dim"),
    Seam("D_opt"),
    Seam("G_opt"),
)
LOSS_SEAMS = (Seam("hinge_loss", "fake real"), Seam("gen_hinge_loss", "fake real"))


def import_trainer() -> Any:
    """Returns the package's `Trainer`, also where `aim`, its tracker, is not installed.

    `aim` only records experiments, for `Trainer(log=True)`, and is no longer what the package
    expects. Where it is missing an empty module stands in for it while the package is imported.

    Raises:
        UserError: The package is missing, or there is no CUDA device, which it insists on.
    """
    if importlib.util.find_spec(PACKAGE) is None:
        raise UserError(
            "stylegan2-pytorch is not installed: pip install 'diagan-plugin[stylegan2]'."
        )
    try:
        with standing_in("aim"):
            return importlib.import_module(PACKAGE).Trainer
    except AssertionError as error:
        raise UserError(f"stylegan2-pytorch cannot be imported here: {error}") from error
    except ImportError as error:
        raise UserError(
            f"stylegan2-pytorch cannot be imported ({error}): "
            "pip install 'diagan-plugin[stylegan2]'."
        ) from error


def read_logits(output: Any) -> Tensor:
    """Reads the realness logits [B] from D's output: squeezed, in a pair, low for real."""
    while isinstance(output, (tuple, list)):
        output = output[0]
    logits: Tensor = -output.reshape(-1)
    return logits


class StyleView(nn.Module):
    """Mapping network and generator as `G(z, y) -> x`.

    Args:
        mapping: The mapping network.
        synthesis: The generator.
        seed: Seed of the noise images.
    """

    def __init__(self, mapping: nn.Module, synthesis: Any, seed: int) -> None:
        super().__init__()
        self.mapping = mapping
        self.synthesis = synthesis
        self._seed = seed
        self._noise: torch.Generator | None = None

    def forward(self, z: Tensor, y: Tensor | None = None) -> Tensor:
        """Generates x [B, C, H, W] in about [0, 1] from latents z [B, latent_dim]."""
        if self._noise is None:
            self._noise = torch.Generator(z.device).manual_seed(self._seed)
        size = self.synthesis.image_size
        styles = self.mapping(z)[:, None].expand(-1, self.synthesis.num_layers, -1)
        noise = torch.rand(len(z), size, size, 1, device=z.device, generator=self._noise)
        x: Tensor = self.synthesis(styles, noise)
        return x
