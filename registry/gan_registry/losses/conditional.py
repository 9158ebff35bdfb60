"""The losses of ACGAN's class conditioning (Odena et al., 2017) and of its kin, sample by sample.

D returns a mapping with "cls_output", the class logits, next to "adv_output"; StudioGAN's names.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor
from torch.nn.functional import cross_entropy

from gan_registry.regularizers.full_precision import at_least_float32

AUX_CLS_TYPES = ("W/O", "TAC", "ADC")


class AuxiliaryClassifier:
    """What class conditioning by a classifier (`MODEL.d_cond_mtd: AC`) adds to both losses.

    With CE the cross-entropy of "cls_output", the terms are, by `aux_cls_type`:

    - "W/O" (ACGAN as StudioGAN trains it): D learns classes on real samples alone, G is to be
      classified as the label it was asked for.
    - "TAC" (Gong et al., 2019): also a twin classifier, "mi_cls_output", that D trains on generated
      samples and that G is to confuse.
    - "ADC" (Hou et al., 2022): the classifier has 2 · num_classes outputs, 2y for a real and 2y + 1
      for a generated sample of class y; D trains it on both, G wants 2y and avoids 2y + 1.

    Each method returns terms [B], weighted by the λ and in float32 at least, or None for no term.

    Args:
        cond_lambda: Weight of the classifier, in both losses.
        aux_cls_type: "W/O", "TAC" or "ADC".
        tac_dis_lambda: Weight of the twin in D's loss; "TAC" only.
        tac_gen_lambda: Weight of the twin in G's loss; "TAC" only.

    Raises:
        ValueError: `aux_cls_type` is unknown.

    Example:
        >>> classifier = AuxiliaryClassifier(cond_lambda=0.5)
        >>> out = {"adv_output": torch.zeros(2), "cls_output": torch.zeros(2, 4)}
        >>> classifier.real_terms(out, torch.tensor([0, 3]))
        tensor([0.6931, 0.6931])
    """

    def __init__(
        self,
        cond_lambda: float,
        aux_cls_type: str = "W/O",
        *,
        tac_dis_lambda: float = 1.0,
        tac_gen_lambda: float = 1.0,
    ) -> None:
        if aux_cls_type not in AUX_CLS_TYPES:
            raise ValueError(
                f"Argument `aux_cls_type` must be one of {AUX_CLS_TYPES}, but got {aux_cls_type!r}."
            )
        self._cond_lambda = cond_lambda
        self._type = aux_cls_type
        self._tac_dis_lambda = tac_dis_lambda
        self._tac_gen_lambda = tac_gen_lambda

    def real_terms(self, out: Any, y: Tensor) -> Tensor:
        """Returns cond_lambda · CE on real samples, [B]."""
        return self._cond_lambda * classification_terms(out, 2 * y if self._type == "ADC" else y)

    def fake_terms(self, out: Any, y: Tensor) -> Tensor | None:
        """Returns D's terms of generated samples, [B], or None ("W/O")."""
        if self._type == "TAC":
            return self._tac_dis_lambda * classification_terms(out, y, "mi_cls_output")
        if self._type == "ADC":
            return self._cond_lambda * classification_terms(out, 2 * y + 1)
        return None

    def generator_terms(self, out: Any, y: Tensor) -> Tensor:
        """Returns G's terms, [B]."""
        if self._type == "ADC":
            wanted = classification_terms(out, 2 * y)
            return self._cond_lambda * (wanted - classification_terms(out, 2 * y + 1))
        terms = self._cond_lambda * classification_terms(out, y)
        if self._type == "TAC":
            return terms - self._tac_gen_lambda * classification_terms(out, y, "mi_cls_output")
        return terms


def classification_terms(out: Any, y: Tensor, key: str = "cls_output") -> Tensor:
    """Computes the cross-entropy of a classifier's logits for each sample.

    Args:
        out: D's raw output, a mapping whose `key` holds logits [B, C].
        y: Labels, int64 [B] in [0, C).
        key: Which classifier.

    Returns:
        -log softmax(logits)[y], [B], in float32 at least.

    Raises:
        ValueError: `out` holds no such logits.
    """
    logits = out.get(key) if isinstance(out, Mapping) else None
    if not isinstance(logits, Tensor) or logits.dim() != 2:
        raise ValueError(
            f"Argument `out` must be a mapping with class logits [B, C] under {key!r}, but got "
            + (
                f"one with the keys {sorted(k for k, v in out.items() if v is not None)}."
                if isinstance(out, Mapping)
                else f"{type(out).__name__}."
            )
        )
    return cross_entropy(at_least_float32(logits), y, reduction="none")
