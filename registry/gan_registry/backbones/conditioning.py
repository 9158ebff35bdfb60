"""How networks take class labels: batch norm in G; projection, classifier or multi-hinge in D.

Named as in StudioGAN. `MODEL.g_cond_mtd`: "W/O" (none) or "cBN". `MODEL.d_cond_mtd`: "W/O", "PD",
"AC" or "MH".
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from gan_registry.backbones.base import Backbone
from gan_registry.errors import UserError
from gan_registry.losses.conditional import AuxiliaryClassifier
from gan_registry.records import Fake, Real

if TYPE_CHECKING:
    from gan_registry.config.schema import Config

GENERATOR_METHODS = ("W/O", "cBN")
DISCRIMINATOR_METHODS = ("W/O", "PD", "AC", "MH")


class ConditionalBatchNorm2d(nn.Module):
    """Batch norm whose scale and shift are linear in a condition (de Vries et al., 2017).

    `normalised(x) * (1 + gain(c)) + bias(c)`, with eps 1e-4 as in StudioGAN; c is, for one, the
    one-hot label.
    """

    def __init__(self, condition_dim: int, channels: int) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(channels, eps=1e-4, affine=False)
        self.gain = nn.Linear(condition_dim, channels, bias=False)
        self.bias = nn.Linear(condition_dim, channels, bias=False)

    def forward(self, x: Tensor, condition: Tensor) -> Tensor:
        """Maps [B, C, H, W] and a condition [B, condition_dim] to [B, C, H, W]."""
        gain = 1.0 + self.gain(condition)[:, :, None, None]
        scaled: Tensor = self.norm(x) * gain + self.bias(condition)[:, :, None, None]
        return scaled


class ConditionalHead(nn.Module):
    """The last layers of a discriminator, which read its features and the labels.

    | method | output |
    | --- | --- |
    | "W/O" | logits [B, out_features] |
    | "PD" | the same plus the inner product of features and the label's embedding (Miyato and Koyama, 2018) |
    | "AC" | {"adv_output": logits [B], "cls_output": class logits [B, num_classes]} (Odena et al., 2017) |
    | "MH" | scores [B, num_classes + 1], of which the last is the class of fakes (Kavalerov et al., 2021) |

    Args:
        in_features: Dimension of the features.
        method: One of `DISCRIMINATOR_METHODS`.
        num_classes: Number of classes; not used by "W/O".
        normalize: Whether the classifier of "AC" reads features of length 1.
        out_features: Number of adversarial logits.

    Raises:
        ValueError: `method` is unknown, or "MH" or "AC" is asked for more than one logit.
    """  # noqa: E501

    def __init__(
        self,
        in_features: int,
        method: str = "W/O",
        num_classes: int = 0,
        normalize: bool = False,
        out_features: int = 1,
    ) -> None:
        super().__init__()
        if method not in DISCRIMINATOR_METHODS:
            raise ValueError(
                f"Argument `method` must be one of {DISCRIMINATOR_METHODS}, but got {method!r}."
            )
        if method in ("AC", "MH") and out_features != 1:
            raise ValueError(
                f"Argument `out_features` must be 1 with method {method!r}, but got {out_features}."
            )
        self.method = method
        self.normalize = normalize
        self.adversarial = nn.Linear(
            in_features, num_classes + 1 if method == "MH" else out_features
        )
        if method == "PD":
            self.embedding = nn.Embedding(num_classes, in_features)
        elif method == "AC":
            self.classifier = nn.Linear(in_features, num_classes, bias=False)

    def forward(self, h: Tensor, y: Tensor | None = None) -> Tensor | dict[str, Tensor]:
        """Reads features [B, F] and labels (int64 [B]; needed by "PD" only)."""
        logits: Tensor = self.adversarial(h)
        if self.method == "PD":
            projected: Tensor = self.embedding(labels(y, "discriminator")) * h
            return logits + projected.sum(1, keepdim=True)
        if self.method == "AC":
            classified = self.classifier(F.normalize(h, dim=1) if self.normalize else h)
            return {"adv_output": logits.squeeze(1), "cls_output": classified}
        return logits


class ConditionalDiscriminator(nn.Module):
    """A discriminator of a `body`, x -> features [B, F], and a `head`, (features, y) -> output.

    Args:
        in_channels: Channels of an image; of m images stacked for a D that packs them.
        width: Base width (`d_conv_dim`), of which the channels of all layers are multiples.
        method: How labels are taken: "W/O", "PD", "AC" or "MH".
        num_classes: Number of classes.
        normalize: See `ConditionalHead`.
        attention: Blocks (from 1) that self-attention follows.
        act: See `gan_registry.backbones.residual.activation`.
        spectral: Spectral norm on each layer; without it, batch norm.
        init: See `gan_registry.backbones.init.initialise`.
        out_features: Number of adversarial logits.
    """

    body: nn.Module
    head: ConditionalHead

    def features(self, x: Tensor) -> Tensor:
        """Returns the penultimate activations, [B, F]."""
        activations: Tensor = self.body(x)
        return activations

    def forward(self, x: Tensor, y: Tensor | None = None) -> Any:
        """Returns what the head makes of the features and the labels (int64 [B])."""
        return self.head(self.features(x), y)


class ConditionalBackbone(Backbone):
    """A backbone that knows how its discriminator takes labels.

    With "AC" it adds, as StudioGAN does, `cond_lambda` × the cross-entropy of the classes: of real
    samples to D's loss, of generated samples to G's. With "MH" a sample's realness is the score of
    its best real class minus that of the class of fakes.

    Args:
        generator: As for `Backbone`.
        discriminator: As for `Backbone`; its output is that of a `ConditionalHead`.
        g_cond: One of `GENERATOR_METHODS`.
        d_cond: One of `DISCRIMINATOR_METHODS`.
        cond_lambda: Weight of the classifier's cross-entropy.
        **keys: The other arguments of `Backbone`.
    """

    def __init__(
        self,
        generator: partial[Any],
        discriminator: partial[Any],
        *,
        g_cond: str = "W/O",
        d_cond: str = "W/O",
        cond_lambda: float = 1.0,
        **keys: Any,
    ) -> None:
        super().__init__(generator, discriminator, conditional=g_cond != "W/O", **keys)
        self._d_cond = d_cond
        self._classifier = AuxiliaryClassifier(cond_lambda) if d_cond == "AC" else None

    def realness(self, output: Any) -> Tensor:
        """Returns one realness logit per sample, [B]; the margin over fakes for "MH"."""
        if (
            self._d_cond == "MH"
            and isinstance(output, Tensor)
            and output.shape[1:] == (self.num_classes + 1,)
        ):
            return output[:, :-1].amax(1) - output[:, -1]
        return super().realness(output)

    def discriminator_terms(
        self, real: Real, fake: Fake, real_out: Any, fake_out: Any
    ) -> Tensor | None:
        """Returns the classifier's loss on real samples, or None."""
        if self._classifier is None:
            return None
        return self._classifier.real_terms(real_out, labels(real.y, "classifier")).mean()

    def generator_terms(self, fake: Fake, fake_out: Any) -> Tensor | None:
        """Returns the classifier's loss on generated samples, or None."""
        if self._classifier is None:
            return None
        return self._classifier.generator_terms(fake_out, labels(fake.y, "classifier")).mean()


def conditions(backbone: str, config: Config, num_classes: int) -> tuple[str, str]:
    """Returns (`MODEL.g_cond_mtd`, `MODEL.d_cond_mtd`) after checking that they can be built.

    Raises:
        UserError: A method is unknown here, G is unconditional while D is not, or there are no
            labels.
    """
    g_cond, d_cond = config.MODEL.g_cond_mtd, config.MODEL.d_cond_mtd
    for key, method, known in (
        ("g_cond_mtd", g_cond, GENERATOR_METHODS),
        ("d_cond_mtd", d_cond, DISCRIMINATOR_METHODS),
    ):
        if method not in known:
            raise UserError(
                f"MODEL.{key}={method} is not supported by MODEL.backbone {backbone}; use one of "
                f"{', '.join(known)}."
            )
    if d_cond != "W/O" and g_cond == "W/O":
        raise UserError(
            f"MODEL.d_cond_mtd={d_cond} needs a generator that takes labels: set "
            "MODEL.g_cond_mtd=cBN, or MODEL.d_cond_mtd=W/O."
        )
    if g_cond != "W/O" and num_classes < 1:
        raise UserError(
            f"MODEL.g_cond_mtd={g_cond} needs labelled data, but this dataset has no classes; set "
            "MODEL.g_cond_mtd=W/O and MODEL.d_cond_mtd=W/O."
        )
    return g_cond, d_cond


def require_unconditional(backbone: str, config: Config) -> None:
    """Raises a UserError if the configuration asks for labels, which `backbone` does not take."""
    for key in ("g_cond_mtd", "d_cond_mtd"):
        method = getattr(config.MODEL, key)
        if method != "W/O":
            raise UserError(
                f"MODEL.backbone {backbone} is unconditional, but MODEL.{key}={method}; set it to "
                "W/O, or use MODEL.backbone=resnet."
            )


def labels(y: Tensor | None, network: str) -> Tensor:
    """Returns `y`, or raises a ValueError if there are no labels for a conditional network."""
    if y is None:
        raise ValueError(
            f"Argument `y` must be labels, int64 [B], as the {network} is class-conditional, "
            "but got None."
        )
    return y


def one_hot(y: Tensor | None, num_classes: int, like: Tensor) -> Tensor:
    """Returns labels as [B, num_classes] of zeros and ones in the dtype of `like`."""
    return F.one_hot(labels(y, "generator").to(torch.int64), num_classes).to(like.dtype)
