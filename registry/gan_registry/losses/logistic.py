"""The losses of the original GAN (Goodfellow et al., 2014): cross-entropy on D's logit.

With D(x) = σ(v), D is optimal where σ(v) = p_data / (p_data + p_g) (Goodfellow et al., 2014,
proposition 1), that is v = log(p_data / p_g): the logit itself is the log density ratio. It is
never computed as log(D / (1 - D)), which is infinite from v ≈ 17 on in float32.
"""

from __future__ import annotations

from typing import Any, ClassVar

from torch import Tensor
from torch.nn.functional import softplus

from gan_registry.losses.base import LogitLoss


class Logistic(LogitLoss):
    """Cross-entropy for D and the non-saturating loss -log D(G(z)) for G."""

    is_density_ratio: ClassVar[bool] = True

    def real_terms(self, out: Any, y: Tensor | None = None) -> Tensor:
        """Returns -log D(x), [B]."""
        return softplus(-self.logits(out))

    def fake_terms(self, out: Any, y: Tensor | None = None) -> Tensor:
        """Returns -log(1 - D(x)), [B]."""
        return softplus(self.logits(out))


class Vanilla(Logistic):
    """`logistic` under the name that StudioGAN's configs also use for it.

    There, `vanilla` is binary cross-entropy with a non-saturating G and `logistic` the same in
    softplus form: equal in value. The saturating form of G's loss is `minimax`.
    """


class Minimax(Logistic):
    """Cross-entropy for D and the saturating loss log(1 - D(G(z))) for G."""

    def generator_terms(self, out: Any, y: Tensor | None = None) -> Tensor:
        """Returns log(1 - D(x)), [B]."""
        return -softplus(self.logits(out))
