"""Follows a GAN's training from outside, by what passes through its two networks."""

from __future__ import annotations

import logging
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from diagan_plugin.hosts.kit.networks import SigmoidInputs, Spy, gaussian, is_probability
from diagan_plugin.hosts.kit.session import Session
from gan_registry.errors import UserError
from gan_registry.records import Fake, Real

_LOG = logging.getLogger(__name__)


class Seen(NamedTuple):
    """D's answer on a batch: as it was given, and before a sigmoid at D's end."""

    out: Any
    logits: Any
    scale: _Scale | None


class _Scale:
    """Weights on the gradient of D's output, which may be told until the backward pass."""

    def __init__(self, out: Any, weights: Tensor | None = None) -> None:
        self.weights = weights
        self.passed = False  # backward has come by
        tensor = out["adv_output"] if isinstance(out, dict) else out
        while isinstance(tensor, (tuple, list)):
            tensor = tensor[0]
        if tensor.requires_grad:
            tensor.register_hook(self)

    def __call__(self, gradient: Tensor) -> Tensor:
        self.passed = True
        if self.weights is None:
            return gradient
        shape = (-1, *(1,) * (gradient.dim() - 1))
        return gradient * self.weights.to(gradient.dtype).reshape(shape)


class Watch:
    """Tells real from generated batches in D's calls, and D's updates from G's.

    A batch is generated if it is what G returned last, detached or not. It is real if it is the
    step's batch, or otherwise of the same size and without gradients, as where the module scales
    its images itself. With gradients to G it belongs to an update of G, without to one of D.

    Args:
        session: The training.
        generator: G.
        discriminator: D.

    Attributes:
        is_following: Whether the training has begun.
    """

    def __init__(self, session: Session, generator: nn.Module, discriminator: nn.Module) -> None:
        self.session = session
        self.is_following = False
        self._fake: Fake | None = None
        self._z_dim: int | None = None
        self._real: Real | None = None
        self._seen: dict[str, tuple[Any, Seen]] = {}
        self._saw = {"real": False, "fake": False, "update": False}
        self._sigmoids: SigmoidInputs | None = None
        self._discriminator = discriminator
        self._handles: list[Any] = [
            Spy(generator, self._generated),
            Spy(discriminator, self._judged, self._judging),
        ]

    def latent(
        self, n: int, generator: torch.Generator | None = None, device: Any = None
    ) -> Tensor:
        """Draws standard Gaussian latents of the width that G was seen to take.

        Raises:
            UserError: G has not been called yet.
        """
        if self._z_dim is None:
            raise UserError(
                "A plugin generates before G was called: say how its latents are drawn, "
                "DiaCallback(latent=…)."
            )
        return gaussian(self._z_dim)(n, generator, device)

    def follow(self, optimizer: torch.optim.Optimizer) -> None:
        """Begins; D's updates are the steps of `optimizer`."""
        self.is_following = True

        def stepped(called: Any, *_: Any) -> None:
            # Of this optimiser, not of a copy.
            if called is optimizer and self._real is not None:
                self._saw["update"] = True
                self.session.updates.stepped()

        self._handles.append(optimizer.register_step_post_hook(stepped))

    def begin(self, batch: Any, indices: Tensor) -> None:
        """A step begins: notes its batch and which samples it holds."""
        parts = list(batch) if isinstance(batch, (tuple, list)) else [batch]
        if not isinstance(parts[0], Tensor):
            raise UserError("DiaCallback expects batches `x` or `(x, y, …)` of tensors.")
        y = parts[1] if len(parts) > 1 and isinstance(parts[1], Tensor) else None
        self._real = Real(indices, parts[0], y)
        self._seen = {}

    def end(self, module: str) -> None:
        """A step is done.

        Raises:
            UserError: Something that plugins need never passed by.
        """
        self._real = self._fake = None  # and with them the graphs
        self._seen = {}
        if self._saw["real"] and self._saw["fake"] and self._saw["update"]:
            return
        wanting = next(name for name, saw in self._saw.items() if not saw)
        what = {
            "real": "called its discriminator on the batch alone",
            "fake": "called its discriminator on what its generator returned",
            "update": "stepped its discriminator's optimiser",
        }[wanting]
        raise UserError(
            f"{module}.training_step has not {what}, by which DiaCallback follows a GAN; "
            "use diagan_plugin.Dia in the step instead."
        )

    def close(self) -> None:
        """Leaves the networks as they were."""
        for handle in self._handles:
            handle.remove()
        self._handles = []
        self.is_following = False

    # ------------------------------------------------------------------ what passes by

    def _generated(self, args: tuple[Any, ...], output: Any) -> None:
        if isinstance(output, Tensor) and args and isinstance(args[0], Tensor):
            y = args[1] if len(args) > 1 and isinstance(args[1], Tensor) else None
            self._fake = Fake(output, args[0].detach(), y)
            self._z_dim = args[0].shape[1]

    def _judging(self) -> None:
        if self._real is not None:
            self._sigmoids = SigmoidInputs(self._discriminator)
            self._sigmoids.__enter__()

    def _judged(self, args: tuple[Any, ...], output: Any) -> None:
        sigmoids, self._sigmoids = self._sigmoids, None
        if sigmoids is None:
            return
        sigmoids.__exit__()
        if not torch.is_grad_enabled() or self._real is None or not args:
            return
        x = args[0]
        fake = self._fake
        if fake is not None and _is_same(x, fake.x):
            if x.requires_grad:
                self._train_generator(fake, output, sigmoids(output))
            else:
                self._note("fake", fake, output, sigmoids(output))
        elif _is_same(x, self._real.x) or (
            x.shape == self._real.x.shape and not x.requires_grad and "real" not in self._seen
        ):
            self._note("real", self._real, output, sigmoids(output))

    def _note(self, kind: str, batch: Real | Fake, out: Any, logits: Any) -> None:
        """Notes one of the two calls that make up an update of D; fires the hooks at the second."""
        if not self._saw[kind]:
            _check_logits(logits, self.session)
        self._saw[kind] = True
        updates = self.session.updates
        scale = _Scale(out) if updates.weighs_discriminator else None
        self._seen[kind] = batch, Seen(out, logits, scale)
        if len(self._seen) < 2:
            return
        (real, real_seen), (fake, fake_seen) = self._seen["real"], self._seen["fake"]
        self._seen = {}
        weights = updates.discriminator(real, fake, real_seen.logits, fake_seen.logits)
        for seen, of in ((real_seen, weights.real), (fake_seen, weights.fake)):
            if of is None or seen.scale is None:
                continue
            if seen.scale.passed:
                raise UserError(
                    "A plugin weights D's terms by the logits of both batches, but the loss of "
                    "one was backpropagated before D saw the other; call D on both first."
                )
            seen.scale.weights = of

    def _train_generator(self, fake: Fake, out: Any, logits: Any) -> None:
        updates = self.session.updates
        if not updates.weighs_generator:
            return
        weights = updates.generator(fake, logits)
        if weights is not None:
            _Scale(out, weights)


def _is_same(x: Tensor, other: Tensor) -> bool:
    """Whether two tensors are the same values in the same memory, e.g. one is detached."""
    return x is other or (x.data_ptr() == other.data_ptr() and x.shape == other.shape)


def _check_logits(logits: Any, session: Session) -> None:
    """Warns, once, of probabilities that are taken for logits."""
    if is_probability(session.run.backbone.realness(logits)):
        _LOG.warning(
            "D ends in a call of torch.sigmoid, and its probabilities are taken for logits: return "
            "the logits (or end D in an nn.Sigmoid module, which is seen)."
        )
