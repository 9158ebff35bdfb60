"""f-GAN (Nowozin et al., 2016): a GAN for each f-divergence; KL, reverse KL and Jensen-Shannon.

D's raw output v becomes T = g_f(v), and D maximises E_data[T] - E_g[f*(T)], a lower bound of the
divergence D_f(p_data || p_g) that is tight where T = f'(p_data / p_g). Solved for v, this gives the
log density ratio r = log(p_data / p_g):

    divergence       f(u)                           f'(u)             g_f(v)               r
    KL               u log u                        1 + log u         v                    v - 1
    reverse KL       -log u                         -1 / u            -exp(-v)             v
    Jensen-Shannon   u log u - (u+1) log((u+1)/2)   log(2u / (1+u))   log 2 - log(1+e^-v)  v

Terms are computed from v at once, with f* and g_f taken together: log(-T) or log(2 - exp(T)) would
lose their digits. What is an exponential stays one, exactly: `f_kl`'s term of generated samples and
`f_reverse_kl`'s of real ones are infinite from |v| ≈ 89 on in float32. Samples that D is so sure
of leave the bound without a finite estimate; clipping would hide that.
"""

from __future__ import annotations

import math
from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.nn.functional import softplus

from gan_registry.losses.base import LogitLoss


class KullbackLeibler(LogitLoss):
    """KL(p_data || p_g) for D; G maximises E[T] on its samples, which doesn't saturate.

    That form of G's loss is the authors' advice (section 3.2): -f*(T), the other, vanishes where D
    rejects a sample, as log(1 - D) does. At D's optimum it is E_g[-r] - 1 = KL(p_g || p_data) - 1;
    `f_kl_minimax` descends on KL(p_data || p_g) itself.
    """

    is_density_ratio: ClassVar[bool] = True

    def real_terms(self, out: Any, y: Tensor | None = None) -> Tensor:
        """Returns -T = -v, [B]."""
        return -self.logits(out)

    def fake_terms(self, out: Any, y: Tensor | None = None) -> Tensor:
        """Returns f*(T) = exp(v - 1), [B]."""
        return torch.exp(self.logits(out) - 1.0)

    def log_density_ratio(self, out: Any, y: Tensor | None = None) -> Tensor:
        """Returns v - 1, [B]."""
        return self.logits(out) - 1.0


class KullbackLeiblerMinimax(KullbackLeibler):
    """KL(p_data || p_g) for both networks: G minimises what D maximises."""

    def generator_terms(self, out: Any, y: Tensor | None = None) -> Tensor:
        """Returns -f*(T) = -exp(v - 1), [B]."""
        return -torch.exp(self.logits(out) - 1.0)


class ReverseKullbackLeibler(LogitLoss):
    """KL(p_g || p_data) for both networks.

    G minimises what D maximises. Here that is the form that doesn't saturate, as it is linear in v;
    -T = exp(-v) instead would let the one most rejected sample rule G's gradient.
    """

    is_density_ratio: ClassVar[bool] = True

    def real_terms(self, out: Any, y: Tensor | None = None) -> Tensor:
        """Returns -T = exp(-v), [B]."""
        return torch.exp(-self.logits(out))

    def fake_terms(self, out: Any, y: Tensor | None = None) -> Tensor:
        """Returns f*(T) = -1 - log(-T) = v - 1, [B]."""
        return self.logits(out) - 1.0

    def generator_terms(self, out: Any, y: Tensor | None = None) -> Tensor:
        """Returns -f*(T) = 1 - v, [B]."""
        return 1.0 - self.logits(out)


class JensenShannon(LogitLoss):
    """Twice the Jensen-Shannon divergence for D; G maximises E[T] on its samples.

    It is `logistic` in another guise: with D(x) = σ(v), T = log(2 D) and f*(T) = -log(2 (1 - D)),
    so that each term lies log 2 below that loss's, with equal gradients.
    """

    is_density_ratio: ClassVar[bool] = True

    def real_terms(self, out: Any, y: Tensor | None = None) -> Tensor:
        """Returns -T = log(1 + exp(-v)) - log 2, [B]."""
        return softplus(-self.logits(out)) - math.log(2.0)

    def fake_terms(self, out: Any, y: Tensor | None = None) -> Tensor:
        """Returns f*(T) = -log(2 - exp(T)) = log(1 + exp(v)) - log 2, [B]."""
        return softplus(self.logits(out)) - math.log(2.0)


class JensenShannonMinimax(JensenShannon):
    """Twice the Jensen-Shannon divergence for both networks; G's loss saturates."""

    def generator_terms(self, out: Any, y: Tensor | None = None) -> Tensor:
        """Returns -f*(T) = log 2 - log(1 + exp(v)), [B]."""
        return math.log(2.0) - softplus(self.logits(out))
