"""SSGAN: a GAN whose discriminator also learns by how much an image was rotated.

The networks and the loss are those of mimicry (Lee and Town, 2020), with which the paper of
Self-Diagnosing GAN (Lee et al., 2021) trained its "SSGAN". They are the method of Chen et al.
(2019): D classifies rotations by 0°, 90°, 180° and 270°, learns this on real images only, and G is
rewarded where D recognises the rotation of its images. That paper cites Tran et al. (2019)
instead, whose classifier has a fifth class for rotated *generated* images, which D learns to tell
apart and G to avoid (a multi-class minimax game), so that a collapsed G can't satisfy it; that is
not what the published code runs, nor this module.

Each image is rotated once (the first quarter of a batch by 0°, the next by 90°, …), rather than
four times. Keys read: those of `gan_registry.backbones.sngan`. The weights of the loss are
mimicry's, which are those of Chen et al.: 1 in D's loss and 0.2 in G's.
"""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from gan_registry.backbones.base import Backbone, finish
from gan_registry.backbones.resnet import ResNetDiscriminator
from gan_registry.backbones.sngan import mimicry_backbone
from gan_registry.records import Fake, Real

if TYPE_CHECKING:
    from gan_registry.config.schema import Config

ROTATIONS = 4
DISCRIMINATOR_SCALE = 1.0
GENERATOR_SCALE = 0.2


class SSGANDiscriminator(ResNetDiscriminator):
    """A `ResNetDiscriminator` with a second head that classifies rotations."""

    def __init__(self, **keys: Any) -> None:
        super().__init__(**keys)
        self.rotation = nn.Linear(self.head.adversarial.in_features, ROTATIONS)
        finish(self.rotation, keys["init"], keys["spectral"], keys["eps"])

    def forward(self, x: Tensor, y: Tensor | None = None) -> dict[str, Tensor]:
        """Returns {"adv_output": [B, 1], "rotation_output": [B, 4]}; `y` is not used."""
        h = self.features(x)
        return {"adv_output": self.head(h), "rotation_output": self.rotation(h)}


class SSGANBackbone(Backbone):
    """A backbone whose D returns "rotation_output" beside "adv_output"."""

    def discriminator_terms(
        self, real: Real, fake: Fake, real_out: Any, fake_out: Any
    ) -> Tensor | None:
        """Returns the cross-entropy of the rotations of real images."""
        return DISCRIMINATOR_SCALE * self.rotation_loss(real.x)

    def generator_terms(self, fake: Fake, fake_out: Any) -> Tensor | None:
        """Returns 0.2 × the cross-entropy of the rotations of generated images."""
        return GENERATOR_SCALE * self.rotation_loss(fake.x)

    def rotation_loss(self, x: Tensor) -> Tensor:
        """Returns the mean cross-entropy of D's classes of images [B, C, H, H], rotated; a scalar.

        Raises:
            ValueError: The current discriminator does not classify rotations, one an image.
        """
        rotated, degrees = rotate_quarters(x)
        output = self.discriminator(rotated)
        logits = output.get("rotation_output") if isinstance(output, dict) else None
        if logits is None or logits.shape != (len(x), ROTATIONS):
            raise ValueError(
                "The discriminator of ssgan must return 'rotation_output' of shape "
                f"[B, {ROTATIONS}]; it can't be replaced by one that returns something else or "
                "packs several images."
            )
        return F.cross_entropy(logits.float(), degrees)


def rotate_quarters(x: Tensor) -> tuple[Tensor, Tensor]:
    """Rotates the first quarter of a batch by 0°, the second by 90°, then 180° and 270°.

    Args:
        x: Images [B, C, H, H]. Where 4 does not divide B, image i is in quarter ⌊4i/B⌋.

    Returns:
        The rotated images [B, C, H, H] (counterclockwise), and the quarters, int64 [B].
    """
    size = len(x)
    bounds = [-(-turns * size // ROTATIONS) for turns in range(ROTATIONS + 1)]
    parts = [
        torch.rot90(x[first:last], turns, (2, 3))
        for turns, (first, last) in enumerate(pairwise(bounds))
    ]
    quarters = torch.arange(size, device=x.device) * ROTATIONS // max(size, 1)
    return torch.cat(parts), quarters


def build_ssgan(
    config: Config, sample_shape: tuple[int, ...], num_classes: int, seed: int
) -> SSGANBackbone:
    """Builds the backbone `ssgan`; arguments and errors are those of `mimicry_backbone`."""
    return mimicry_backbone(
        "ssgan", config, sample_shape, num_classes, seed, SSGANBackbone, SSGANDiscriminator
    )
