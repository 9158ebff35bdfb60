"""Features as clean-fid takes them: resized with antialiasing, by another copy of the network."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from gan_registry.errors import UserError
from gan_registry.features.base import FeatureContext, Features
from gan_registry.features.image_network import ImageNetwork, unbiased_probabilities
from gan_registry.features.torchscript import load_script
from gan_registry.features.weights import WeightsFile, find_weights, sha256_of

NAME = "clean"
FILE = WeightsFile(
    "inception-2015-12-05.pt",
    "https://nvlabs-fi-cdn.nvidia.com/stylegan2-ada-pytorch/pretrained/metrics/"
    "inception-2015-12-05.pt",
)
_SIZE = (299, 299)


class Clean(ImageNetwork):
    """The 2,048 pooled features of clean-fid (Parmar et al., 2022), and the network's classes.

    The network is the TorchScript file of StyleGAN2-ADA; clean-fid itself need not be installed.

    Args:
        context: `dataset`, `device` and `cache` are read.

    Raises:
        UserError: The file is missing or damaged; the samples are no images of 1 or 3 channels.
    """

    def __init__(self, context: FeatureContext) -> None:
        super().__init__(NAME, context)
        path = find_weights(FILE, NAME, context.cache)
        try:
            network = load_script(path, context.device)
        except UserError as error:
            raise UserError(f"{error} Delete it and get it anew from {FILE.url}.") from error
        if not hasattr(network, "layers"):
            raise UserError(
                f"{path} is not the network it is named after; delete it and get it anew from "
                f"{FILE.url}."
            )
        self._layers = network.layers
        self._weight = getattr(getattr(network, "output", None), "weight", None)
        self.identity = f"{NAME} 1 {sha256_of(path)}"
        with torch.no_grad():
            trial = self._extract(torch.zeros(1, 3, 8, 8, device=context.device))
        self.num_features = trial.features.shape[1]

    def _extract(self, levels: Tensor) -> Features:
        # (x − 128) / 128, as in clean-fid, though the file itself takes (x − 127.5) / 127.5.
        features = self._layers((clean_resize(levels) - 128.0) / 128.0).flatten(1).float()
        if self._weight is None:
            return Features(features)
        return Features(features, unbiased_probabilities(features, self._weight))


def clean_resize(levels: Tensor) -> Tensor:
    """Resizes images [B, C, H, W] of 0 to 255 to 299 px: bicubic, antialiased, not rounded.

    clean-fid resizes one image after the other with Pillow; this does so for a batch, on any
    device, and differs by less than 0.01 of the 255 levels.
    """
    resized = nn.functional.interpolate(
        levels, size=_SIZE, mode="bicubic", antialias=True, align_corners=False
    )
    return resized.clamp_(0.0, 255.0)
