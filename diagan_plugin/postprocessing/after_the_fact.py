"""A discriminator for a finished generator: trained after the fact, with the generator fixed.

Rejection sampling and Metropolis–Hastings need log p_data/p_g. A generator may come without a
discriminator, or with one whose output is no such ratio: trained by a hinge or Wasserstein loss,
on weighted draws, or on packs of samples. Logistic regression of real against generated samples
gives it anew (Azadi et al. 2019, §3, remark that what matters is that D be near its optimum for the
*final* generator; Self-Diagnosing GAN, §4.3).
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from diagan_plugin.arguments import as_kind, as_real, as_whole, as_work
from diagan_plugin.auxiliary.batches import Batch, Parts, Provider, parts_of
from diagan_plugin.auxiliary.discriminator import AuxiliaryDiscriminator
from diagan_plugin.recording.logit_modes import logit_mode
from gan_registry.losses.logistic import Logistic

__all__ = ["train_after_the_fact"]

_CHECKS = 20
"""How often the held-out loss is measured."""

_CHUNK = 500  # held-out samples that pass through D at once


def train_after_the_fact(
    discriminator: nn.Module,
    reals: Provider,
    num_samples: int,
    generate: Callable[[int], Batch],
    *,
    realness: Callable[[Any], Tensor],
    seed: int,
    steps: int = 1000,
    batch_size: int = 64,
    lr: float = 2e-4,
    betas: tuple[float, float] = (0.5, 0.999),
    held_out: tuple[Batch, Batch] | None = None,
    forward: Callable[[nn.Module, Tensor, Tensor | None], Any] | None = None,
) -> nn.Module:
    """Trains a copy of a discriminator by the logistic loss, on uniform draws of the data.

    Its logit then estimates log p_data/p_g of the generator as it is. Samples it was trained on
    are soon known by heart, so that of the states reached the one with the least loss on held-out
    samples is returned, if there are any.

    Args:
        discriminator: The network to begin with: fresh, or trained otherwise. It is not changed.
        reals: `indices [B] -> (x [B, ...], y [B] or None)`: reads training samples.
        num_samples: The number of training samples; indices are drawn from 0 to that.
        generate: `n -> n generated samples`: `x`, `(x, y)` or an object with `.x` and `.y`.
        realness: Reads one logit per sample, [B], from the network's raw output.
        seed: Determines the draws, not negative.
        steps: The number of updates.
        batch_size: Real, and as many generated, samples an update.
        lr: Adam's learning rate.
        betas: Adam's two decay rates.
        held_out: Real and generated samples that are not trained on.
        forward: `(network, x, y) -> raw output`; by default `network(x)`, or `network(x, y)` where
            there are labels.

    Returns:
        The trained network, in evaluation mode.

    Raises:
        ValueError: `steps` or another number is below 1.
    """
    steps, batch_size = as_whole("steps", steps), as_whole("batch_size", batch_size)
    lr = as_real("lr", lr)
    if not 0.0 <= lr < math.inf:
        raise ValueError(f"Argument `lr` must be finite and at least 0, but got {lr}.")
    as_kind("discriminator", discriminator, nn.Module)
    for name, work in (("reals", reals), ("generate", generate), ("realness", realness)):
        as_work(name, work)
    if steps < 1 or batch_size < 1:
        raise ValueError(
            "Arguments `steps` and `batch_size` must be at least 1, "
            f"but got {steps} and {batch_size}."
        )
    loss = Logistic(realness)
    auxiliary = AuxiliaryDiscriminator(
        discriminator,
        torch.optim.Adam(discriminator.parameters(), lr=lr, betas=betas),
        loss,
        num_samples,
        seed=seed,
        forward=forward,
    )
    network = auxiliary.discriminator
    best, least = None, torch.inf
    every = max(steps // _CHECKS, 1)
    for step in range(1, steps + 1):
        with torch.no_grad():
            fakes = generate(batch_size)
        auxiliary.step(reals, fakes)
        if held_out is not None and (step % every == 0 or step == steps):
            reached = _held_out_loss(network, auxiliary.forward, loss, *map(parts_of, held_out))
            if reached < least:
                best, least = copy.deepcopy(network.state_dict()), reached
    if best is not None:
        network.load_state_dict(best)
    return network.eval()


def _held_out_loss(
    network: nn.Module,
    call: Callable[[nn.Module, Tensor, Tensor | None], Any],
    loss: Logistic,
    real: Parts,
    fake: Parts,
) -> float:
    """Returns mean real term + mean fake term, with the network's modes kept."""
    total = 0.0
    with torch.no_grad(), logit_mode(network, "eval"):
        for part, terms_of in ((real, loss.real_terms), (fake, loss.fake_terms)):
            chunks = []
            for start in range(0, len(part.x), _CHUNK):
                x = part.x[start : start + _CHUNK]
                y = None if part.y is None else part.y[start : start + _CHUNK]
                chunks.append(terms_of(call(network, x, y), y))
            total += float(torch.cat(chunks).mean())
    return total
