"""The objective `mix_plus`: payoffs of every generator against every discriminator, weighted."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from torch import Tensor

from diagan_plugin.remedies.mixtures.dealing import row_weights
from diagan_plugin.remedies.mixtures.networks import (
    COMPONENTS,
    SHARES,
    MixtureGenerator,
    WeightedDiscriminator,
)
from gan_registry.errors import PluginError
from gan_registry.losses.base import Loss
from gan_registry.training.run import Run
from gan_registry.training.updates import AdversarialObjective

__all__ = ["MixPlusObjective", "MixtureLoss"]


class MixtureLoss(Loss):
    """A loss of single networks, averaged over the pairs of a mixture by their weights.

    With w and v the weights of generators (`generator_shares` returns w, [n_G], with its graph) and
    discriminators, the term of a real sample is Σ_j v_j · term of D_j, and that of a generated one
    w_i · B/B_i · Σ_j v_j · term of D_j, where B_i of the B samples of the batch are of its
    generator i: so the mean over the batch is Σ_i Σ_j w_i v_j (mean term over the samples of i).
    D's terms have a gradient in v, G's in w.
    """

    def __init__(self, loss: Loss, generator_shares: Callable[[], Tensor]) -> None:
        super().__init__(loss.logits)
        self._loss = loss
        self._generator_shares = generator_shares
        self.is_density_ratio = loss.is_density_ratio  # type: ignore[misc]
        self.is_shift_invariant = loss.is_shift_invariant  # type: ignore[misc]

    def real_terms(self, out: Any, y: Tensor | None = None) -> Tensor:
        """Returns Σ_j v_j · real term of D_j, [B]."""
        return _mixed(self._loss.real_terms, out, y)

    def fake_terms(self, out: Any, y: Tensor | None = None) -> Tensor:
        """Returns D's terms of a training batch of the mixture, [B]."""
        terms = _mixed(self._loss.fake_terms, out, y)
        return terms * row_weights(self._generator_shares().detach(), len(terms)).to(terms.dtype)

    def generator_terms(self, out: Any, y: Tensor | None = None) -> Tensor:
        """Returns G's terms of a training batch of the mixture, [B]."""
        terms = _mixed(self._loss.generator_terms, out, y, detached=True)
        return terms * row_weights(self._generator_shares(), len(terms)).to(terms.dtype)

    def log_density_ratio(self, out: Any, y: Tensor | None = None) -> Tensor:
        """Returns the ratio that the weighted output Σ_j v_j D_j (Tang, eq. 5) tells, [B]."""
        return self._loss.log_density_ratio(out, y)

    def logits(self, out: Any) -> Tensor:
        """Returns the realness of the weighted output, [B]."""
        return self._loss.logits(out)


class MixPlusObjective(AdversarialObjective):
    """The updates of the host, played by mixtures with the loss :class:`MixtureLoss`.

    Raises:
        PluginError: Something else than the plugin has replaced the run's networks or loss.
    """

    def __init__(self, run: Run) -> None:
        for network, expected in (
            (run.generator, MixtureGenerator),
            (run.discriminator, WeightedDiscriminator),
            (run.loss, MixtureLoss),
        ):
            if not isinstance(network, expected):
                raise PluginError(
                    f"The objective mix_plus needs a {expected.__name__}, but found a "
                    f"{type(network).__name__}: another plugin has replaced it."
                )
        super().__init__(run)


def _mixed(
    terms_of: Callable[[Any, Tensor | None], Tensor],
    out: Any,
    y: Tensor | None,
    detached: bool = False,
) -> Tensor:
    """Returns Σ_j v_j · terms of D_j, [B]; the terms themselves where `out` is of one network."""
    if not isinstance(out, Mapping) or COMPONENTS not in out:
        return terms_of(out, y)
    shares: Tensor = out[SHARES].detach() if detached else out[SHARES]
    mixed: Tensor = sum(
        share * terms_of(part, y) for share, part in zip(shares, out[COMPONENTS], strict=True)
    )
    return mixed
