"""The multi-class hinge loss (Kavalerov et al., 2021, "A multi-class hinge loss for cGANs")."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.nn.functional import relu

from gan_registry.losses.base import Loss
from gan_registry.regularizers.full_precision import at_least_float32


class MultiHinge(Loss):
    """D scores num_classes + 1 classes, the last of them "generated", each by a margin of 1.

    A term is Crammer and Singer's max(0, 1 - s[target] + max over the others of s). Targets are
    the label for real samples, the last class for generated ones in D's loss, and the label it was
    made for in G's. The order of classes and `mh_lambda` are StudioGAN's (Kang et al., 2023),
    where G's loss is mh_lambda · this + fm_lambda · feature matching, with 0.05 and 1; papers that
    number the generated class 0 mean the same loss. Others weight feature matching instead: then
    `mh_lambda` is 1 and `fm_lambda` carries the 0.05. Feature matching is
    :func:`gan_registry.regularizers.feature_matching.feature_matching`.

    There is no density ratio in the scores; D's margin for the class over "generated" stands in for
    it. With one class the loss is `hinge` on that margin (for D).

    Args:
        realness: Not used: scores and margins are read from the raw output by :func:`class_scores`.
        mh_lambda: Weight of G's terms.
    """

    is_density_ratio: ClassVar[bool] = False
    options: ClassVar[tuple[str, ...]] = ("mh_lambda",)

    def __init__(self, realness: Callable[[Any], Tensor], mh_lambda: float = 1.0) -> None:
        super().__init__(realness)
        self._mh_lambda = mh_lambda

    def real_terms(self, out: Any, y: Tensor | None = None) -> Tensor:
        """Returns max(0, 1 - s[y] + max of the other scores), [B]."""
        return _crammer_singer(at_least_float32(class_scores(out)), _required(y))

    def fake_terms(self, out: Any, y: Tensor | None = None) -> Tensor:
        """Returns max(0, 1 - s[generated] + max of the other scores), [B]; `y` is not used."""
        scores = at_least_float32(class_scores(out))
        generated = torch.full(
            scores.shape[:1], scores.shape[1] - 1, dtype=torch.int64, device=scores.device
        )
        return _crammer_singer(scores, generated)

    def generator_terms(self, out: Any, y: Tensor | None = None) -> Tensor:
        """Returns mh_lambda · max(0, 1 - s[y] + max of the other scores), [B]."""
        return self._mh_lambda * _crammer_singer(at_least_float32(class_scores(out)), _required(y))

    def log_density_ratio(self, out: Any, y: Tensor | None = None) -> Tensor:
        """Returns s[y] - s[generated], a surrogate, [B]; without labels the best class's margin."""
        return class_margin(out, y)

    def logits(self, out: Any) -> Tensor:
        """Returns the best class's margin over "generated", [B]."""
        return class_margin(out)


def class_scores(out: Any) -> Tensor:
    """Reads the scores of num_classes + 1 classes from a discriminator's output.

    Args:
        out: A tensor [B, num_classes + 1], or a tuple, list or mapping that holds one first or
            under "adv_output".

    Returns:
        Scores [B, num_classes + 1], in the dtype they came in.

    Raises:
        ValueError: `out` is none of these.
    """
    if isinstance(out, Mapping) and "adv_output" in out:
        return class_scores(out["adv_output"])
    if isinstance(out, (tuple, list)) and out:
        return class_scores(out[0])
    if isinstance(out, Tensor) and out.dim() == 2 and out.shape[1] >= 2:
        return out
    got = f"a tensor of shape {tuple(out.shape)}" if isinstance(out, Tensor) else type(out).__name__
    raise ValueError(
        "Argument `out` must be scores [B, num_classes + 1] of a discriminator with "
        f"d_cond_mtd: MH, but got {got}."
    )


def class_margin(out: Any, y: Tensor | None = None) -> Tensor:
    """Computes how far a class's score lies above that of the class "generated".

    Args:
        out: As in :func:`class_scores`.
        y: The classes, int64 [B] in [0, num_classes), or None for each sample's best.

    Returns:
        Margins [B], in float32 at least.
    """
    scores = at_least_float32(class_scores(out))
    classes, generated = scores[:, :-1], scores[:, -1]
    if y is None:
        return classes.amax(1) - generated
    return classes.gather(1, y.unsqueeze(1)).squeeze(1) - generated


def _crammer_singer(scores: Tensor, target: Tensor) -> Tensor:
    index = target.unsqueeze(1)
    others = scores.scatter(1, index, float("-inf")).amax(1)
    return relu(1.0 + others - scores.gather(1, index).squeeze(1))


def _required(y: Tensor | None) -> Tensor:
    if y is None:
        raise ValueError("Argument `y` must be class labels for the loss MH, but got None.")
    return y
