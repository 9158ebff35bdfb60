"""The micro-batches of a step, put together from what passes the seams."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from diagan_plugin.hosts.kit.updates import Updates as CommonUpdates
from diagan_plugin.hosts.studiogan.run import StudioRun
from gan_registry.arriving import Arriving
from gan_registry.datasets.fetching import to_device
from gan_registry.errors import PluginError
from gan_registry.records import Fake, Real


class Updates(CommonUpdates):
    """Follows D's and G's updates within a step.

    StudioGAN's losses receive logits alone. What they belong to was seen just before: the basket
    of real samples when it was read, the generated samples when they were made.

    Args:
        run: The run.

    Attributes:
        phase: "discriminator" or "generator" while one of them is trained, else "".
        fake: The samples generated last.
        latents: The latents drawn last.
    """

    run: StudioRun

    def __init__(self, run: StudioRun) -> None:
        super().__init__(run)
        self.phase = ""
        self.fake: Fake | None = None
        self.latents: Tensor | None = None
        self._basket: tuple[Sequence[Tensor], Sequence[Tensor], Sequence[Tensor]] | None = None
        self._kept: Arriving | None = None  # real samples that are not replaced by generated ones
        self._outputs: list[dict[str, Any]] = []

    def watch(self, discriminator: nn.Module) -> None:
        """Notes what D returns, of which its loss is handed a part only."""

        # A closure, and not a method: a plugin that copies D copies its hooks, and this object with
        # a method's.
        def note(module: nn.Module, _: Any, output: Any) -> None:
            if module is discriminator and self.phase:
                self._outputs = [*self._outputs[-1:], output]

        discriminator.register_forward_hook(note)

    def outputs(self, *logits: Tensor) -> list[dict[str, Any]]:
        """Returns D's latest outputs, one for each tensor of logits that its loss was handed.

        Where D is spread over several devices within one process, they hold the logits alone.
        """
        latest = self._outputs[-len(logits) :]
        if len(latest) < len(logits) or any(
            not isinstance(output, dict) or output["adv_output"].shape != part.shape
            for output, part in zip(latest, logits, strict=True)
        ):
            return [{"adv_output": part} for part in logits]
        return [{**output, "adv_output": part} for output, part in zip(latest, logits, strict=True)]

    def begin(self, phase: str) -> None:
        """Notes which network is being trained."""
        self.phase, self._outputs = phase, []
        if phase == "discriminator":
            self._basket, self.run.used, self._pending = None, 0, []

    def end(self) -> None:
        """Notes that its updates are done.

        Raises:
            PluginError: D has not seen the whole basket: StudioGAN works otherwise than expected.
        """
        phase, self.phase = self.phase, ""
        if phase != "discriminator" or self._basket is None:
            return
        expected = len(self._basket[0])
        if self.run.used != expected:
            raise PluginError(
                f"The seam LOSS.d_loss was passed {self.run.used} times in a step of {expected} "
                "micro-batches; this StudioGAN is another than the adapter was made for."
            )
        self._basket, self.fake = None, None

    def abandon(self) -> None:
        """Forgets a step that an exception ended."""
        super().abandon()
        self.phase, self._outputs = "", []

    def basket_read(self, images: Sequence[Tensor], labels: Sequence[Tensor], size: int) -> None:
        """Notes a basket, cut into micro-batches of `size`; others than D's are passed over."""
        if self.phase == "discriminator" and self._basket is None:
            indices = torch.split(self.run.feed.indices, size)
            self._basket = images, labels, indices

    def generated(self, x: Tensor, y: Tensor) -> None:
        """Notes generated samples and their labels."""
        z = self.latents
        if self.phase:
            assert z is not None
            self.fake = Fake(x, z, y)

    def replaced(self, before: Tensor, after: Tensor) -> None:
        """Notes which real samples adaptive pseudo augmentation has replaced by generated ones."""
        if self.phase == "discriminator":
            same = after is before
            self._kept = None if same else Arriving((after == before).flatten(1).all(1))

    def real(self) -> Real:
        """Returns the real samples of D's current micro-batch, on the device."""
        assert self._basket is not None
        images, labels, indices = (part[self.run.used] for part in self._basket)
        device = self.run.device
        return Real(indices, to_device(images.detach(), device), to_device(labels, device))

    def show(self, real: Real, logits: Tensor) -> None:
        """Shows plugins D's logits, except where D saw a replacement of the sample."""
        kept, self._kept = self._kept, None
        if kept is not None:
            rows = kept.read().nonzero().flatten()  # known before D has begun
            there = to_device(rows, logits.device)
            y = None if real.y is None else real.y[there]
            real, logits = Real(real.indices[rows], real.x[there], y), logits[there]
        if len(logits):
            super().show(real, logits)

    def discriminator_loss(
        self, own: Callable[[], Tensor], real: Real, fake: Fake, real_out: Any, fake_out: Any
    ) -> Tensor:
        """Returns D's loss on the current micro-batch, and goes on to the next."""
        if self.run.used % int(self.run.config.OPTIMIZATION.acml_steps) == 0:
            self._pending = []  # of an update that mixed precision skipped
        loss = super().discriminator_loss(own, real, fake, real_out, fake_out)
        self.run.used += 1
        return loss

    def stepped(self) -> None:
        """D's optimiser has stepped: fires `gan_discriminator_updated`, once an update."""
        batches, self._pending = self._pending, []
        # Regularisation outside of the loop steps the optimiser once more, with no batches.
        if batches and self.phase == "discriminator":
            self.run.hooks.discriminator_updated(self.run, batches)
