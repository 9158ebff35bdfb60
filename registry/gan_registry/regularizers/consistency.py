"""Consistency of D under augmentation (CR, bCR) and under small moves of the latent (zCR)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import mse_loss, pad

from gan_registry.datasets.fetching import to_device
from gan_registry.regularizers.full_precision import at_least_float32

COMPARED = ("adv_output", "cls_output", "embed")


def consistency(out: Any, other: Any) -> Tensor:
    """Computes how far two outputs of D for the same batch are apart, as a mean of squares.

    - CR (Zhang et al., 2020): `cr_lambda * consistency(D(x), D(T(x)))` on real samples, T being
      :func:`flip_and_shift`.
    - bCR (Zhao et al., 2021): with `real_lambda` on real and `fake_lambda` on generated samples.
    - zCR (Zhao et al., 2021), in D's loss: `d_lambda * consistency(D(G(z)), D(G(z + ε)))`.

    Gradients flow through both outputs, as in StudioGAN.

    Args:
        out: D's raw output: a tensor, a tuple or list that starts with one, or a mapping.
        other: Its output for the changed batch, of the same form. Of mappings "adv_output",
            "cls_output" and "embed" are compared and their mean squares added, where present.

    Returns:
        A scalar, in float32 at least; 0 for an empty batch.

    Raises:
        ValueError: There is nothing to compare, or shapes differ.
    """
    first, second = _parts(out), _parts(other)
    if not first or first.keys() != second.keys():
        raise ValueError(
            "Arguments `out` and `other` must be discriminator outputs with the same parts, but "
            f"got {sorted(first)} and {sorted(second)}."
        )
    return torch.stack([_mean_square(first[key], second[key]) for key in first]).sum()


def latent_diversity(fake: Tensor, neighbour: Tensor) -> Tensor:
    """Computes zCR's term of G's loss, -mean (G(z) - G(z + ε))² (Zhao et al., 2021).

    Times `LOSS.g_lambda`, it makes G answer to small moves of the latent. It is a scalar ≤ 0, in
    float32 at least, of samples [B, ...] and as many neighbours.

    Raises:
        ValueError: Shapes differ.
    """
    return -_mean_square(fake, neighbour)


def neighbouring_latent(
    z: Tensor,
    radius: float,
    z_prior: str = "gaussian",
    generator: torch.Generator | None = None,
) -> Tensor:
    """Moves latents a little: z + radius · ε, with ε drawn from the prior.

    Args:
        z: Latents [B, z_dim].
        radius: `LOSS.radius`, 0.05 in StudioGAN's configs.
        z_prior: "gaussian", ε ~ N(0, 1), or "uniform", ε ~ U(-1, 1).
        generator: Draws ε; None falls back to torch's global generator.

    Returns:
        Latents of the shape, dtype and device of `z`.

    Raises:
        ValueError: `z_prior` is unknown.
    """
    device = torch.device("cpu") if generator is None else generator.device
    if z_prior == "gaussian":
        noise = torch.randn(z.shape, generator=generator, device=device)
    elif z_prior == "uniform":
        noise = 2.0 * torch.rand(z.shape, generator=generator, device=device) - 1.0
    else:
        raise ValueError(f"Argument `z_prior` must be gaussian or uniform, but got {z_prior!r}.")
    return z + radius * to_device(noise, z.device).to(z.dtype)


def flip_and_shift(
    x: Tensor, generator: torch.Generator | None = None, *, shift: float = 1 / 8
) -> Tensor:
    """Augments images as CR and bCR do: a horizontal flip at random, then a small translation.

    Each image flips with probability 1/2 and moves by a whole number of pixels in both directions,
    uniform in ±⌊shift · size⌋, with its border reflected (StudioGAN's `cr_aug_type: cr` and
    `bcr_aug_type: bcr`).

    Args:
        x: Images [B, C, H, W].
        generator: Draws flips, then vertical, then horizontal moves; None falls back to torch's
            global generator.
        shift: The largest move as a share of height and width, within [0, 1).

    Returns:
        Images of the same shape, differentiable with respect to `x`.

    Raises:
        ValueError: `x` isn't a batch of images or `shift` is out of range.
    """
    if x.dim() != 4:
        raise ValueError(f"Argument `x` must be images [B, C, H, W], but got {tuple(x.shape)}.")
    if not 0.0 <= shift < 1.0:
        raise ValueError(f"Argument `shift` must be within [0, 1), but got {shift}.")
    count, _, height, width = x.shape
    up, left = int(height * shift), int(width * shift)
    device = torch.device("cpu") if generator is None else generator.device

    def draw(low: int, high: int) -> Tensor:
        drawn = torch.randint(low, high + 1, (count, 1, 1), generator=generator, device=device)
        return to_device(drawn, x.device)

    flips, down, right = draw(0, 1), draw(-up, up), draw(-left, left)
    rows = torch.arange(height, device=x.device)[:, None] + down + up
    columns = torch.arange(width, device=x.device)[None, :] + right + left
    # Flipping the padded image is padding the flipped one, so that one gather does both.
    columns = torch.where(flips == 1, width + 2 * left - 1 - columns, columns)
    padded = pad(x, (left, left, up, up), mode="reflect") if up or left else x
    images = torch.arange(count, device=x.device)[:, None, None]
    return padded.permute(0, 2, 3, 1)[images, rows, columns].permute(0, 3, 1, 2)


def _parts(out: Any) -> dict[str, Tensor]:
    if isinstance(out, Mapping):
        return {key: out[key] for key in COMPARED if isinstance(out.get(key), Tensor)}
    if isinstance(out, Sequence) and out:
        return _parts(out[0])
    return {"adv_output": out} if isinstance(out, Tensor) else {}


def _mean_square(first: Tensor, second: Tensor) -> Tensor:
    if first.shape != second.shape:  # mse_loss would broadcast, with a warning
        raise ValueError(
            f"Arguments must have the same shape, but got {tuple(first.shape)} and "
            f"{tuple(second.shape)}."
        )
    first, second = at_least_float32(first), at_least_float32(second)
    return mse_loss(first, second) if first.numel() else (first - second).sum()
