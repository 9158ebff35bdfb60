"""The per-sample terms of a loss, and the gradient of their weighted mean."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Protocol, TypeAlias

import torch
from torch import Tensor

from diagan_plugin.auxiliary.batches import Parts
from gan_registry.datasets.fetching import to_device

__all__ = ["PerSampleTerms", "accumulate_gradient"]

#: `(D's raw output, labels [B] or None) -> terms [B]`
Terms: TypeAlias = Callable[[Any, "Tensor | None"], Tensor]


class PerSampleTerms(Protocol):
    """The part of a loss that is needed here: terms [B] from D's raw output and the labels."""

    def real_terms(self, out: Any, y: Tensor | None, /) -> Tensor:
        """Returns the terms of real samples, [B]."""
        ...

    def fake_terms(self, out: Any, y: Tensor | None, /) -> Tensor:
        """Returns the terms of generated samples, [B]."""
        ...


def accumulate_gradient(
    forward: Callable[[Tensor, Tensor | None], Any],
    batches: Iterable[Parts],
    total: int,
    terms_of: Terms,
    device: torch.device,
) -> Tensor:
    """Adds the gradient of the (weighted) mean term to those of the network's parameters.

    Args:
        forward: `(x, y) -> the network's raw output`.
        batches: Micro-batches, of which one at a time is on the device.
        total: The number of samples in all of them.
        terms_of: The terms of a loss.
        device: Where the network is.

    Returns:
        The mean term, a detached scalar on the device.

    Raises:
        ValueError: The loss does not give one term for each sample.
    """
    mean = torch.zeros((), device=device)
    for batch in batches:
        x = to_device(batch.x.detach(), device)
        y = None if batch.y is None else to_device(batch.y, device)
        terms = terms_of(forward(x, y), y).float()
        if terms.shape != (len(x),):
            raise ValueError(
                f"Argument `loss` must give one term for each of {len(x)} samples, "
                f"but got the shape {tuple(terms.shape)}."
            )
        if batch.weights is not None:
            terms = terms * to_device(batch.weights, device)
        partial = terms.sum() / total
        torch.autograd.backward(partial)
        mean += partial.detach()
    return mean
