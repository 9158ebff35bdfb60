"""StudioGAN's adversarial losses, with the hooks around them.

D's loss receives the logits of real and of generated samples once a micro-batch (multi-hinge: one
after the other), and all its other calls of D, for regularisers and consistency terms, pass it by.
Where no plugin gives a weight, StudioGAN's own loss is computed, to the last digit. Otherwise it is
put together again from per-sample terms of the loss of the same name: mean of weight × term.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from diagan_plugin.hosts.kit.updates import weighted_mean
from diagan_plugin.hosts.studiogan.updates import Updates


class LossSeam:
    """Replaces `LOSS.d_loss` and `LOSS.g_loss` of StudioGAN's configuration.

    Args:
        updates: What the logits belong to.
    """

    def __init__(self, updates: Updates) -> None:
        self.updates = updates
        self.run = updates.run
        self._real_scores: tuple[Tensor, Callable[[], Tensor]] | None = None
        hooks = self.run.hooks
        self._shows = hooks.implements("gan_real_logits")
        self._weighs_d = hooks.implements("gan_discriminator_weights")
        self._penalizes_d = hooks.implements("gan_discriminator_penalty")
        self._weighs_g = hooks.implements("gan_generator_weights")
        self._penalizes_g = hooks.implements("gan_generator_penalty")

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
        run, updates = self.run, self.updates
        real, fake = updates.real(), updates.fake
        assert fake is not None
        out, fake_dict = updates.outputs(real_out, fake_out)
        if self._shows or self._weighs_d:
            with torch.no_grad():
                real_logits = run.loss.log_density_ratio(out, real.y).detach().float()
                fake_logits = run.loss.log_density_ratio(fake_dict, fake.y).detach().float()
        if self._shows:
            shown, shown_logits = updates.shown(real, real_logits)
            if len(shown_logits):
                run.hooks.real_logits(run, shown, shown_logits)
        of_real = of_fake = None
        if self._weighs_d:
            of_real, of_fake = run.hooks.discriminator_weights(
                run, real, fake, real_logits, fake_logits, out, fake_dict
            )
        if of_real is None and of_fake is None:
            loss = own()
        else:
            loss = weighted_mean(run.loss.real_terms(out, real.y), of_real)
            loss = loss + weighted_mean(run.loss.fake_terms(fake_dict, fake.y), of_fake)
        if self._penalizes_d:
            penalty = run.hooks.discriminator_penalty(run, real, fake, out, fake_dict)
            loss = loss if penalty is None else loss + penalty
        updates.passed(real, fake, out, fake_dict)
        return loss

    def _generator(self, own: Callable[..., Tensor], *args: Any, **kwargs: Any) -> Tensor:
        run, fake = self.run, self.updates.fake
        out = args[0] if args else kwargs["adv_output"]
        # StudioGAN's own top-k hands over the logits of some samples; which, it does not say.
        if fake is None or (len(out) if out.dim() else 1) != len(fake.x):
            return own(*args, **kwargs)
        (fake_dict,) = self.updates.outputs(out)
        weights = None
        if self._weighs_g:
            with torch.no_grad():
                logits = run.loss.log_density_ratio(fake_dict, fake.y).detach().float()
            weights = run.hooks.generator_weights(run, fake, logits, fake_dict)
        if weights is None:
            loss = own(*args, **kwargs)
        else:
            loss = weighted_mean(run.loss.generator_terms(fake_dict, fake.y), weights)
        if self._penalizes_g:
            penalty = run.hooks.generator_penalty(run, fake, fake_dict)
            loss = loss if penalty is None else loss + penalty
        return loss
