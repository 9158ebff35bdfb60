"""StudioGAN's adversarial losses, with the hooks around them.

D's loss receives the logits of real and of generated samples once a micro-batch (multi-hinge: one
after the other), and all its other calls of D, for regularisers and consistency terms, pass it by.
Where no plugin gives a weight, StudioGAN's own loss is computed, to the last digit. Otherwise it is
put together again from per-sample terms of the loss of the same name: mean of weight × term.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import Tensor

from diagan_plugin.hosts.studiogan.updates import Updates


class LossSeam:
    """Replaces `LOSS.d_loss` and `LOSS.g_loss` of StudioGAN's configuration.

    Args:
        updates: What the logits belong to.
    """

    def __init__(self, updates: Updates) -> None:
        self.updates = updates
        self._real_scores: tuple[Tensor, Callable[[], Tensor]] | None = None

    def define_losses(self, original: Callable[..., None], cfgs: Any) -> None:
        """Wraps what StudioGAN's `define_losses` has set."""
        original(cfgs)
        own_d, own_g = cfgs.LOSS.d_loss, cfgs.LOSS.g_loss
        discriminator = self._multi_hinge if cfgs.LOSS.adv_loss == "MH" else self._discriminator

        def d_loss(*args: Any, **kwargs: Any) -> Tensor:
            if self.updates.phase != "discriminator":
                return own_d(*args, **kwargs)  # type: ignore[no-any-return]
            return discriminator(own_d, *args, **kwargs)

        def g_loss(*args: Any, **kwargs: Any) -> Tensor:
            if self.updates.phase != "generator":
                return own_g(*args, **kwargs)  # type: ignore[no-any-return]
            return self._generator(own_g, *args, **kwargs)

        cfgs.LOSS.d_loss, cfgs.LOSS.g_loss = d_loss, g_loss

    def _discriminator(
        self, own: Callable[..., Tensor], real_out: Tensor, fake_out: Tensor, **rest: Any
    ) -> Tensor:
        return self._step(real_out, fake_out, lambda: own(real_out, fake_out, **rest))

    def _multi_hinge(self, own: Callable[..., Tensor], *args: Any, **kwargs: Any) -> Tensor:
        """Keeps the first of two calls, with real scores, until the second, which adds both."""
        if self._real_scores is None:
            scores: Tensor = kwargs["adv_output"] if "adv_output" in kwargs else args[0]
            self._real_scores = scores, lambda: own(*args, **kwargs)
            return scores.sum() * 0.0
        (real_out, of_real), self._real_scores = self._real_scores, None
        return self._step(real_out, args[0], lambda: of_real() + own(*args, **kwargs))

    def _step(self, real_out: Tensor, fake_out: Tensor, own: Callable[[], Tensor]) -> Tensor:
        updates, fake = self.updates, self.updates.fake
        assert fake is not None
        outputs = updates.outputs(real_out, fake_out)
        return updates.discriminator_loss(own, updates.real(), fake, *outputs)

    def _generator(self, own: Callable[..., Tensor], *args: Any, **kwargs: Any) -> Tensor:
        fake = self.updates.fake
        out = args[0] if args else kwargs["adv_output"]
        # StudioGAN's own top-k hands over the logits of some samples; which, it does not say.
        if fake is None or (len(out) if out.dim() else 1) != len(fake.x):
            return own(*args, **kwargs)
        (fake_dict,) = self.updates.outputs(out)
        return self.updates.generator_loss(lambda: own(*args, **kwargs), fake, fake_dict)
