"""Penalties on the gradient of D's output with respect to its input.

All of them call D themselves and run in float32 whatever the precision of the training, with a
graph, so that the penalty can be differentiated once more with respect to D's parameters. Gradients
are taken of the *sum* of D's outputs: that is every sample's own gradient as long as D treats
samples independently. With batch norm or a minibatch-statistics layer it doesn't, and the penalty
then means something else; prefer layer norm, or none, in such a D. A call is one more forward pass:
it updates the running statistics of batch norm and spectral norm's vectors.

Random points come from an explicit `generator`; None falls back to torch's global one. A penalty is
a scalar, 0 for an empty batch.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from gan_registry.backbones.base import realness as read_realness
from gan_registry.datasets.fetching import to_device
from gan_registry.regularizers.full_precision import at_least_float32, full_precision

Discriminator = Callable[[Tensor, "Tensor | None"], Any]
Realness = Callable[[Any], Tensor]


def gradient_penalty(
    discriminator: Discriminator,
    real: Tensor,
    fake: Tensor,
    y: Tensor | None = None,
    *,
    generator: torch.Generator | None = None,
    realness: Realness = read_realness,
) -> Tensor:
    """Computes WGAN-GP's penalty, mean (‖∇D(x̂)‖₂ - 1)² (Gulrajani et al., 2017, eq. 3).

    x̂ = α · real + (1 - α) · fake with α ~ U(0, 1) for each pair.

    Args:
        discriminator: D, `(x, y) -> output`.
        real: Training samples [B, ...].
        fake: Generated samples, of the same shape.
        y: Labels of the real samples, int64 [B], or None.
        generator: Draws α.
        realness: Reads one logit per sample, [B], from D's output.

    Returns:
        A scalar; 0 for an empty batch.

    Raises:
        ValueError: `real` and `fake` differ in shape.
    """
    points = _between(real, fake, generator)
    return _mean((_gradient_norms(discriminator, points, y, realness) - 1.0).square())


def dragan_penalty(
    discriminator: Discriminator,
    real: Tensor,
    y: Tensor | None = None,
    *,
    generator: torch.Generator | None = None,
    realness: Realness = read_realness,
) -> Tensor:
    """Computes DRAGAN's penalty, mean (‖∇D(x̂)‖₂ - 1)² around the data (Kodali et al., 2017).

    x̂ = real + α · δ with α ~ U(0, 1) for each sample and δ ~ U(0, s/2) for each of its elements,
    s the standard deviation of all elements of the batch: so in the authors' code and StudioGAN,
    where the paper writes a Gaussian. `generator` draws α, then δ; the other arguments are those of
    :func:`gradient_penalty`.
    """
    real = at_least_float32(real.detach())
    if len(real) == 0:
        return real.sum()
    # One element has no deviation to speak of; torch's would be NaN.
    deviation = real.std() if real.numel() > 1 else real.new_zeros(())
    alpha = _uniform(_one_a_sample(real), real, generator)
    noise = _uniform(real.shape, real, generator)
    points = real + alpha * 0.5 * deviation * noise
    return _mean((_gradient_norms(discriminator, points, y, realness) - 1.0).square())


def max_gradient_penalty(
    discriminator: Discriminator,
    real: Tensor,
    fake: Tensor,
    y: Tensor | None = None,
    *,
    generator: torch.Generator | None = None,
    realness: Realness = read_realness,
) -> Tensor:
    """Computes Lipschitz GAN's penalty, max ‖∇D(x̂)‖₂² (Zhou et al., 2019).

    The maximum is over the batch, so that the penalty grows with the batch and isn't the mean of
    its micro-batches'. The points x̂, the arguments and the error are those of
    :func:`gradient_penalty`.
    """
    points = _between(real, fake, generator)
    if len(points) == 0:
        return points.sum()
    gradients = _gradients(discriminator, points, y, realness)
    return gradients.square().sum(1).amax()


def r1_penalty(
    discriminator: Discriminator,
    real: Tensor,
    y: Tensor | None = None,
    *,
    realness: Realness = read_realness,
) -> Tensor:
    """Computes R1, mean ‖∇D(x)‖₂² / 2 on real samples, with a forward pass of its own.

    Mescheder et al. (2018), eq. 9 without γ. This is StudioGAN's `r1_place: outside_loop`, and what
    a lazy regulariser needs: taken every k-th step, multiplied by k. Arguments are those of
    :func:`gradient_penalty`.
    """
    real = at_least_float32(real.detach())
    return _mean(0.5 * _gradients(discriminator, real, y, realness).square().sum(1))


def _between(real: Tensor, fake: Tensor, generator: torch.Generator | None) -> Tensor:
    if real.shape != fake.shape:
        raise ValueError(
            f"Argument `fake` must have the shape of `real`, {tuple(real.shape)}, but got "
            f"{tuple(fake.shape)}."
        )
    real, fake = at_least_float32(real.detach()), at_least_float32(fake.detach())
    alpha = _uniform(_one_a_sample(real), real, generator)
    return alpha * real + (1.0 - alpha) * fake


def _gradient_norms(
    discriminator: Discriminator, points: Tensor, y: Tensor | None, realness: Realness
) -> Tensor:
    gradients = _gradients(discriminator, points, y, realness)
    # Not a square root of a sum: its derivative at 0 would be NaN.
    norms: Tensor = torch.linalg.vector_norm(gradients, dim=1)
    return norms


def _gradients(
    discriminator: Discriminator, points: Tensor, y: Tensor | None, realness: Realness
) -> Tensor:
    """Returns each sample's gradient, [B, D], differentiable; the points are leaves."""
    if len(points) == 0:  # batch norm, for one, refuses an empty batch
        return points.flatten(1)
    points = points.detach().requires_grad_()
    with full_precision(points):
        logits = at_least_float32(realness(discriminator(points, y)))
        gradients: Tensor
        (gradients,) = torch.autograd.grad(logits.sum(), points, create_graph=True)
        return at_least_float32(gradients).flatten(1)


def _mean(terms: Tensor) -> Tensor:
    return terms.mean() if len(terms) else terms.sum()


def _one_a_sample(x: Tensor) -> tuple[int, ...]:
    return (len(x),) + (1,) * (x.dim() - 1)


def _uniform(shape: tuple[int, ...], like: Tensor, generator: torch.Generator | None) -> Tensor:
    device = torch.device("cpu") if generator is None else generator.device
    drawn = torch.rand(shape, generator=generator, device=device)
    return to_device(drawn, like.device).to(like.dtype)
