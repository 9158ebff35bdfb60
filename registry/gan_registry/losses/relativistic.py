"""The relativistic loss of pairs (Jolicoeur-Martineau, 2018; with R1 and R2: Huang et al., 2024).

D tells which of two samples is the real one: σ(D(x) - D(G(z))) is its probability that x is. The
best that can be said is p(x) q(x') / (p(x) q(x') + q(x) p(x')) with p of the data and q of G, which
is that of D = log(p/q) + c for any c: D is a log density ratio up to a constant that nothing in the
loss determines, and that may wander in training.
"""

from __future__ import annotations

from typing import Any, ClassVar

from torch import Tensor
from torch.nn.functional import softplus

from gan_registry.losses.logistic import Logistic


class Relativistic(Logistic):
    """Cross-entropy on the difference of a pair's logits, for D and, the other way round, for G.

    Beside a partner whose logit is 0, a single sample has the terms of `logistic`.
    """

    is_density_ratio: ClassVar[bool] = False
    is_ratio_up_to_constant: ClassVar[bool] = True
    is_shift_invariant: ClassVar[bool] = True
    is_pairwise: ClassVar[bool] = True

    def pair_terms(self, out: Any, other: Any) -> Tensor:
        """Returns log(1 + exp(v' - v)) for the logits v of `out` and v' of `other`, [B]."""
        return softplus(self.logits(other) - self.logits(out))
