"""Notices a discriminator that is low on real samples: Dia would turn everything around."""

from __future__ import annotations

import weakref
from collections import deque
from typing import Any

import torch
from torch import Tensor, nn

CHECKS, AGREEING = 8, 6
"""Of so many comparisons in a row so many have to be clear, and none may point the other way:
while G overshoots, a few do."""

CLEARLY = 2.0
"""Standard errors from zero from which on a comparison counts."""

COMPARED = 64
"""Samples of each kind in a comparison."""

_MAX_NODES = 10_000

INVERTED = (
    "D is lower on real than on generated samples, so Dia reads it the wrong way around and would "
    "draw what the GAN misses less often. If that is how D is trained (as by relu(1 + D(real)) + "
    "relu(1 - D(fake))), say Dia(…, sign=-1); if not, D is far behind G: train it more. Nothing is "
    "weighted until D is clearly higher on real samples."
)


class SignCheck:
    """Compares D on real and on generated samples, time and again.

    Attributes:
        is_inverted: Whether D was clearly lower on real samples so many times, and not higher as
            often since. A GAN in balance says neither.
    """

    def __init__(self) -> None:
        self.is_inverted = False
        self._found: deque[float] = deque(maxlen=CHECKS)

    def due(self, step: int, every: int) -> bool:
        """Whether to compare after a step: often at first, later with the records."""
        return step % (5 if step <= 100 else max(every, 10)) == 0

    def compare(self, real: Tensor, fake: Tensor) -> None:
        """Notes D's logits on real and on generated samples, [n] and [m]."""
        real, fake = (part.detach().cpu().double() for part in (real, fake))
        if len(real) < 2 or len(fake) < 2:
            return
        error = (real.var() / len(real) + fake.var() / len(fake)).sqrt()
        self._found.append(float((real.mean() - fake.mean()) / error.clamp(min=1e-12)))
        if len(self._found) == CHECKS:
            lower = sum(found < -CLEARLY for found in self._found)
            higher = sum(found > CLEARLY for found in self._found)
            if lower >= AGREEING and max(self._found) < 0:
                self.is_inverted = True
            elif higher >= AGREEING and min(self._found) > 0:
                self.is_inverted = False


class GeneratedInputs:
    """Keeps a batch that the loop itself passed through D and that a network in training made.

    The loop shows no generator; but in G's update D is called on something whose graph reaches the
    parameters of G, which real samples never do, also where they are augmented.
    """

    def __init__(self) -> None:
        self.latest: tuple[Tensor, Tensor | None] | None = None
        self.wanted = True
        self._handle: Any = None
        self._network: weakref.ref[nn.Module] | None = None

    def watch(self, network: nn.Module) -> None:
        """Watches the calls of a discriminator, and no longer those of another."""
        if self._network is not None and self._network() is network:
            return
        if self._handle is not None:
            self._handle.remove()
        self._network = weakref.ref(network)
        self._handle = network.register_forward_pre_hook(_Watcher(self, network))

    def note(self, x: Tensor, y: Tensor | None = None) -> None:
        """Keeps generated samples [B, ...] and their labels [B]."""
        labels = None if y is None else y[:COMPARED].detach()
        self.latest = x[:COMPARED].detach().clone(), labels
        self.wanted = False


class _Watcher:
    """A hook on one module. Copies of it, with a copied or saved module, do nothing."""

    def __init__(self, inputs: GeneratedInputs | None = None, network: Any = None) -> None:
        self._inputs = inputs
        self._network = None if network is None else weakref.ref(network)

    def __reduce__(self) -> tuple[Any, ...]:
        return _Watcher, ()

    def __call__(self, module: nn.Module, arguments: tuple[Any, ...]) -> None:
        inputs = self._inputs
        if inputs is None or not inputs.wanted or torch.compiler.is_compiling():
            return
        tensors = [a for a in arguments if isinstance(a, Tensor)]
        made = [a for a in tensors if a.is_floating_point() and _is_made_by_a_network(a)]
        if made:
            others = [a for a in tensors if a is not made[0] and len(a) == len(made[0])]
            inputs.note(made[0], others[0] if others else None)


def _is_made_by_a_network(x: Tensor) -> bool:
    """Whether the graph of a tensor reaches a parameter."""
    seen: set[Any] = set()
    todo = [x.grad_fn]
    while todo and len(seen) < _MAX_NODES:
        node = todo.pop()
        if node is None or node in seen:
            continue
        if isinstance(getattr(node, "variable", None), nn.Parameter):
            return True
        seen.add(node)
        todo += [following for following, _ in node.next_functions]
    return False
