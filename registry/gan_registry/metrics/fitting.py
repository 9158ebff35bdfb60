"""What the metrics that train a network share: checks, batches, a perceptron, two halves."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

import torch
from torch import Tensor, nn

from gan_registry.backbones.base import seeded_weights
from gan_registry.errors import UserError
from gan_registry.seeding import derive_seed, generator_for


class Halves(NamedTuple):
    """Real and generated samples in equal number, shared out between training and testing.

    Attributes:
        train: [2, n, D], real samples first.
        test: [2, m, D], likewise; none of them is in `train`.
    """

    train: Tensor
    test: Tensor


@contextmanager
def gradients() -> Iterator[None]:
    """Lets a network learn, also inside `torch.no_grad` and `torch.inference_mode`."""
    with torch.inference_mode(False), torch.enable_grad():
        yield


def minibatches(
    num_samples: int, batch_size: int, steps: int, generator: torch.Generator
) -> Iterator[Tensor]:
    """Yields the indices of `steps` batches, out of one shuffled pass after another.

    Yields:
        int64 [min(batch_size, n)] on the CPU, for n samples. Within a pass no index occurs twice.
    """
    size = min(batch_size, num_samples)
    order = torch.empty(0, dtype=torch.int64)
    for _ in range(steps):
        if len(order) < size:
            order = torch.randperm(num_samples, generator=generator)
        yield order[:size]
        order = order[size:]


def seeded_perceptron(features: int, width: int, hidden: int, seed: int) -> nn.Sequential:
    """Makes a network [B, D] -> [B, 1] with LeakyReLU(0.2), as in Tang (2020, section IV-B).

    It has `hidden` layers of `width` units; the weights follow from the seed, and the global random
    state is neither read nor changed.
    """
    modules: list[nn.Module] = []
    with seeded_weights(derive_seed(seed, "weights")):
        for i in range(hidden):
            modules += [nn.Linear(features if i == 0 else width, width), nn.LeakyReLU(0.2)]
        modules.append(nn.Linear(width if hidden else features, 1))
    return nn.Sequential(*modules)


def split(real: Tensor, fake: Tensor, seed: int) -> Halves:
    """Draws equally many real and generated samples and halves each kind.

    Args:
        real: [n, ...].
        fake: [m, ...].
        seed: Seed of the choice.

    Returns:
        Float32 halves on the CPU, flattened; the test half is the smaller of the two if
        min(n, m) is odd.
    """
    count = min(len(real), len(fake))
    train, test = [], []
    for kind, samples in (("real", real), ("fake", fake)):
        order = torch.randperm(len(samples), generator=generator_for(seed, "halves", kind))[:count]
        chosen = samples.detach().flatten(1).cpu().index_select(0, order).float()
        train.append(chosen[: (count + 1) // 2])
        test.append(chosen[(count + 1) // 2 :])
    return Halves(torch.stack(train), torch.stack(test))


def check_pair(real: Tensor, fake: Tensor) -> None:
    """Checks that real and generated samples are alike.

    Raises:
        ValueError: They are no batches of samples of the same shape.
    """
    if real.dim() < 2 or real.shape[1:] != fake.shape[1:]:
        raise ValueError(
            "Arguments `real` and `fake` must be [n, …] and [m, …] of equal sample shape, but got "
            f"{list(real.shape)} and {list(fake.shape)}."
        )


def check_samples(metric: str, real: Tensor, fake: Tensor, least: int) -> None:
    """Raises a UserError if there are fewer than `least` real or generated samples, or bad ones.

    Bad are those that hold NaN or infinity.
    """
    for kind, samples in (("real", real), ("generated", fake)):
        check_count(metric, kind, len(samples), least)
        check_finite(metric, kind, count_bad(samples), len(samples))


def check_count(metric: str, kind: str, got: int, least: int) -> None:
    """Raises a UserError if a metric got too few samples of a kind, "real" or "generated"."""
    if got < least:
        raise UserError(
            f"The metric {metric} needs at least {least} {kind} samples, but got {got}."
        )


def count_bad(samples: Tensor) -> int:
    """Returns how many samples [n, ...] hold NaN or infinity."""
    if len(samples) == 0 or not samples.is_floating_point():
        return 0
    return int((~torch.isfinite(samples.reshape(len(samples), -1)).all(dim=1)).sum())


def check_finite(metric: str, kind: str, bad: int, total: int) -> None:
    """Raises a UserError if `bad` samples of a kind, out of `total`, hold NaN or infinity."""
    if bad:
        raise UserError(
            f"The metric {metric} got NaN or infinity in {bad:,} of {total:,} {kind} samples; "
            + (
                "remove those images."
                if kind == "real"
                else "the generator has diverged: evaluate an earlier checkpoint."
            )
        )
