"""The per-sample terms of a loss, and the gradient of their weighted mean."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Protocol, TypeAlias

import torch
from torch import Tensor

from diagan_plugin.auxiliary.batches import Parts
from gan_registry.datasets.fetching import to_device
from gan_registry.records import Fake, Real

__all__ = ["PerSampleTerms", "accumulate_gradient", "accumulate_regularised"]

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
        share, _ = _share_of_mean(forward, on_device(batch, device), total, terms_of)
        torch.autograd.backward(share)
        mean += share.detach()
    return mean


def accumulate_regularised(
    forward: Callable[[Tensor, Tensor | None], Any],
    pairs: Iterable[tuple[Parts, Parts]],
    totals: tuple[int, int],
    loss: PerSampleTerms,
    added: Callable[[Real, Fake, Any, Any, int], Tensor | None],
    device: torch.device,
) -> tuple[Tensor, Tensor, list[Real]]:
    """Does the same for a loss to which something is added that sees real and generated samples.

    Args:
        forward: `(x, y) -> the network's raw output`.
        pairs: Micro-batches of training and of generated samples.
        totals: The number of samples in all of either kind.
        loss: Gives the terms.
        added: `(real, fake, real_out, fake_out, piece) -> what is added, a scalar or None`.
        device: Where the network is.

    Returns:
        The mean terms of both kinds, detached scalars on the device, and the training samples.

    Raises:
        ValueError: The loss does not give one term for each sample.
    """
    (num_reals, num_fakes), reals = totals, []
    means = torch.zeros(2, device=device)
    for piece, parts in enumerate(pairs):
        of_real, of_fake = (on_device(part, device) for part in parts)
        real_share, real_out = _share_of_mean(forward, of_real, num_reals, loss.real_terms)
        fake_share, fake_out = _share_of_mean(forward, of_fake, num_fakes, loss.fake_terms)
        real, fake = _real(of_real), _fake(of_fake)
        term = added(real, fake, real_out, fake_out, piece)
        whole = real_share + fake_share
        if term is not None:
            whole = whole + term * (len(of_fake.x) / num_fakes)
        torch.autograd.backward(whole)
        means += torch.stack([real_share, fake_share]).detach()
        reals.append(real)
    return means[0], means[1], reals


def on_device(batch: Parts, device: torch.device) -> Parts:
    """Returns a batch on a device, without the graph of its samples."""
    return batch._replace(
        x=to_device(batch.x.detach(), device),
        y=None if batch.y is None else to_device(batch.y, device),
        weights=None if batch.weights is None else to_device(batch.weights, device),
    )


def _share_of_mean(
    forward: Callable[[Tensor, Tensor | None], Any], batch: Parts, total: int, terms_of: Terms
) -> tuple[Tensor, Any]:
    """Returns the sum of a batch's (weighted) terms over `total`, and the network's output."""
    out = forward(batch.x, batch.y)
    terms = terms_of(out, batch.y).float()
    if terms.shape != (len(batch.x),):
        raise ValueError(
            f"Argument `loss` must give one term for each of {len(batch.x)} samples, "
            f"but got the shape {tuple(terms.shape)}."
        )
    if batch.weights is not None:
        terms = terms * batch.weights
    return terms.sum() / total, out


def _real(batch: Parts) -> Real:
    indices = getattr(batch.source, "indices", None)
    if not isinstance(indices, Tensor):  # of samples that a function has read
        indices = torch.empty(0, dtype=torch.int64)
    return Real(indices, batch.x, batch.y)


def _fake(batch: Parts) -> Fake:
    z = getattr(batch.source, "z", None)
    return Fake(batch.x, batch.x.new_empty(len(batch.x), 0) if z is None else z, batch.y)
