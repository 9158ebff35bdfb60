"""Features of the Inception network of the original FID, as the package pytorch-fid builds it."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor, nn

from gan_registry.backbones.base import seeded_weights
from gan_registry.errors import UserError
from gan_registry.features.base import FeatureContext, Features
from gan_registry.features.image_network import ImageNetwork, unbiased_probabilities
from gan_registry.features.weights import WeightsFile, find_weights, sha256_of

NAME = "inception"
FILE = WeightsFile(
    "pt_inception-2015-12-05-6726825d.pth",
    "https://github.com/mseitzer/pytorch-fid/releases/download/fid_weights/"
    "pt_inception-2015-12-05-6726825d.pth",
    digest="6726825d",
)
_SIZE = (299, 299)


class Inception(ImageNetwork):
    """The 2,048 pooled features of pytorch-fid's InceptionV3, and its 1,008 classes.

    Images are resized to 299 px bilinearly without antialiasing, as pytorch-fid does. Of the
    package only the parts of the network are used, neither its download nor its distance.

    Args:
        context: `dataset`, `device` and `cache` are read.

    Raises:
        UserError: pytorch-fid or the file of the weights is missing, or that file is damaged; the
            samples are no images of 1 or 3 channels.
    """

    def __init__(self, context: FeatureContext) -> None:
        super().__init__(NAME, context)
        network = fid_network()
        path = find_weights(FILE, NAME, context.cache)
        _load(network, path)
        assert isinstance(network.fc, nn.Linear)
        self._weight = network.fc.weight.detach().to(context.device)
        network.fc = nn.Identity()
        self._network = network.to(context.device).eval().requires_grad_(False)
        self.identity = f"{NAME} 1 {sha256_of(path)}"

    def _extract(self, levels: Tensor) -> Features:
        images = nn.functional.interpolate(
            levels / 255.0, size=_SIZE, mode="bilinear", align_corners=False
        )
        features = self._network(2.0 * images - 1.0)
        return Features(features, unbiased_probabilities(features, self._weight))


def fid_network() -> nn.Module:
    """Builds the network with arbitrary weights; its forward pass gives 1,008 logits.

    `pytorch_fid.inception.fid_inception_v3` builds the same, but fetches the weights itself and
    reads them with pickle.

    Raises:
        UserError: pytorch-fid is not installed.
    """
    try:
        from pytorch_fid.inception import (
            FIDInceptionA,
            FIDInceptionC,
            FIDInceptionE_1,
            FIDInceptionE_2,
        )
        from torchvision.models import inception_v3
    except ImportError as error:
        raise UserError(
            f"The features {NAME!r} need pytorch-fid: pip install 'diagan-plugin[metrics]'."
        ) from error
    with seeded_weights(0):
        network: nn.Module = inception_v3(
            weights=None, num_classes=1008, aux_logits=False, init_weights=False
        )
        network.Mixed_5b = FIDInceptionA(192, pool_features=32)
        network.Mixed_5c = FIDInceptionA(256, pool_features=64)
        network.Mixed_5d = FIDInceptionA(288, pool_features=64)
        network.Mixed_6b = FIDInceptionC(768, channels_7x7=128)
        network.Mixed_6c = FIDInceptionC(768, channels_7x7=160)
        network.Mixed_6d = FIDInceptionC(768, channels_7x7=160)
        network.Mixed_6e = FIDInceptionC(768, channels_7x7=192)
        network.Mixed_7b = FIDInceptionE_1(1280)
        network.Mixed_7c = FIDInceptionE_2(2048)
    return network


def _load(network: nn.Module, path: Path) -> None:
    try:
        network.load_state_dict(torch.load(path, map_location="cpu", weights_only=True))
    except Exception as error:  # a damaged file can raise anything
        raise UserError(
            f"{path} does not hold the weights of the FID network ({type(error).__name__}); delete "
            f"it and get it anew from {FILE.url}."
        ) from error
