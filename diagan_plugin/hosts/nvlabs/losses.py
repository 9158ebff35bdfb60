"""The hooks around a trainer's loss: what passes D in its update and in G's.

StyleGAN's loss goes backward through D's generated samples before it looks at the real ones. So
where a plugin gives weights or a penalty, D looks at the real ones once more beforehand, with the
random numbers that their augmentation will take: the same logits. Weights enter as factors on the
gradients of logits, each of which enters the loss once. R3GAN's loss is only watched.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor

from diagan_plugin.hosts.kit.patches import Patches
from diagan_plugin.hosts.kit.updates import Updates, Weights
from diagan_plugin.hosts.nvlabs.data import Batches
from diagan_plugin.hosts.nvlabs.run import NvlabsRun
from gan_registry.errors import PluginError
from gan_registry.records import Fake, Real
from gan_registry.seeding import kept_random_state

D_PHASES, G_PHASES = ("Dmain", "Dboth", "D"), ("Gmain", "Gboth")


class LossWatch:
    """Follows one loss of a trainer's.

    Args:
        loss: The loss; attributes of this object are replaced.
        updates: Fires the hooks.
        batches: What was read.
        is_pairwise: Whether it is R3GAN's.
    """

    def __init__(self, loss: Any, updates: Updates, batches: Batches, is_pairwise: bool) -> None:
        self.updates = updates
        self.run: NvlabsRun = updates.run  # type: ignore[assignment]
        self._batches = batches
        self._given: dict[str, Any] = {}
        self._real: Real | None = None
        self._fake: Fake | None = None
        self._outs: list[Tensor] = []  # D's, of the round, in its order
        self._weights: Weights | None = None  # where they are known before the real samples come
        self._made: Tensor | None = None  # by G
        patches = Patches()
        patches.around(loss, "accumulate_gradients", self.accumulate_gradients)
        if is_pairwise:
            patches.around(loss.trainer, "Generator", self.pair_generator)
            patches.around(loss.trainer, "Discriminator", self.pair_discriminator)
        else:
            patches.around(loss, "run_D", self.run_d)

    def accumulate_gradients(self, original: Callable[..., None], **given: Any) -> None:
        """Computes the gradients of one round of a phase."""
        self._given, self._outs = given, []
        self._real = self._fake = self._made = self._weights = None
        if given["phase"] in D_PHASES:
            self._real = self._round()
            if "gamma" in given:  # follows a schedule
                loss = self.run.config.LOSS
                loss.r1_lambda = loss.r2_lambda = float(given["gamma"])
        try:
            original(**given)
        finally:
            self._given, self._outs = {}, []
            self._fake = self._made = None

    def _round(self) -> Real:
        """Finds out which samples a round holds: a view of the batch that was put on the device."""
        x, c = self._given["real_img"], self._given["real_c"]
        indices, self.run.seen = self._batches.recent[0 if self.run.reads_ahead else -1]
        start = x.storage_offset() // x[0].numel()
        return Real(indices[start : start + len(x)], x, _classes(c))

    # ------------------------------------------------------------------ StyleGAN

    def run_d(self, original: Callable[..., Tensor], img: Tensor, c: Tensor, **more: Any) -> Tensor:
        """Passes samples through D, augmented where the trainer does."""
        phase = self._given.get("phase")
        if phase not in (*D_PHASES, *G_PHASES):
            return original(img, c, **more)
        real = self._real
        is_real = real is not None and img.data_ptr() == real.x.data_ptr()
        out = original(img, c, **more)
        if is_real:
            return self._real_seen(out)
        fake = Fake(img, self._given["gen_z"], _classes(c))
        if phase in G_PHASES:
            weighted = _weighted(out, self.updates.generator(fake, out))
            if not self.updates.penalizes_generator:
                return weighted
            return self._penalised(weighted, self.run.hooks.generator_penalty(self.run, fake, out))
        self._fake, self._outs = fake, [out.detach()]
        if self.updates.weighs_discriminator or self.updates.penalizes_discriminator:
            return self._look_ahead(original, fake, out, more)
        return out

    def _look_ahead(
        self, original: Callable[..., Tensor], fake: Fake, out: Tensor, more: dict[str, Any]
    ) -> Tensor:
        real, updates = self._real, self.updates
        assert real is not None
        more = {name: value for name, value in more.items() if name != "update_emas"}
        if "sync" in more:
            more["sync"] = False
        graph: AbstractContextManager[Any] = (
            nullcontext() if updates.penalizes_discriminator else torch.no_grad()
        )
        with kept_random_state(out.device), graph:
            real_out = original(real.x, self._given["real_c"], **more)
        self._weights = updates.discriminator(real, fake, real_out, out)
        weighted = _weighted(out, self._weights.fake)
        if not updates.penalizes_discriminator:
            return weighted
        penalty = self.run.hooks.discriminator_penalty(self.run, real, fake, real_out, out)
        return self._penalised(weighted, penalty)

    def _real_seen(self, out: Tensor) -> Tensor:
        assert self._real is not None
        assert self._fake is not None
        if self._weights is None:
            self.updates.discriminator(self._real, self._fake, out, self._outs[0])
            return out
        if self._weights.real is not None and self._given["phase"] == "Dboth":
            raise PluginError(
                "Weights of real samples need a trainer that regularises D in steps of its own."
            )
        return _weighted(out, self._weights.real)

    def _penalised(self, out: Tensor, penalty: Tensor | None) -> Tensor:
        if penalty is None:
            return out
        joined: Tensor = _Joined.apply(out, penalty, float(self._given["gain"]))
        return joined

    # ------------------------------------------------------------------ R3GAN

    def pair_generator(self, original: Callable[..., Tensor], *given: Any) -> Tensor:
        """Generates samples, which D is shown augmented."""
        self._made = original(*given)
        return self._made

    def pair_discriminator(self, original: Callable[..., Tensor], *given: Any) -> Tensor:
        """Passes samples through D: in its own update the real ones, then the generated ones."""
        out = original(*given)
        if self._real is None or self._given.get("phase") not in D_PHASES:
            return out
        self._outs.append(out.detach())
        if len(self._outs) == 2:
            assert self._made is not None
            fake = Fake(self._made.detach(), self._given["gen_z"], self._real.y)
            self.updates.discriminator(self._real, fake, *self._outs)
        return out


class _Joined(torch.autograd.Function):
    """Logits as they are; going backward through them goes backward through a penalty, too."""

    @staticmethod
    def forward(ctx: Any, logits: Tensor, penalty: Tensor, gain: float) -> Tensor:
        """Returns the logits."""
        ctx.gain, ctx.kind = gain, penalty
        return logits.view_as(logits)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor, None]:
        """Returns the gradient of the logits, and `gain` for the penalty."""
        return gradients[0], torch.full_like(ctx.kind, ctx.gain), None


def _weighted(out: Tensor, weights: Tensor | None) -> Tensor:
    """Has the gradients of logits [B, 1] multiplied by weights [B]; None stands for ones."""
    if weights is not None and out.requires_grad:
        factor = weights.to(out.dtype).reshape(out.shape)
        out.register_hook(lambda gradient: gradient * factor)  # type: ignore[no-untyped-call]
    return out


def _classes(c: Tensor) -> Tensor | None:
    """Returns the classes [B] of one-hot labels [B, C]; None where there are none."""
    return c.argmax(1) if c.shape[1] else None
