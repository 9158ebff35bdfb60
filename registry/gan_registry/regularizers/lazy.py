"""Lazy regularisation (Karras et al., 2020, appendix B): a regulariser of its own steps."""

from __future__ import annotations


def lazy_adam(
    lr: float, betas: tuple[float, float], interval: int
) -> tuple[float, tuple[float, float]]:
    """Computes Adam's settings for a network that is also regularised every k-th step.

    Its loss and its regulariser then step apart, so that k steps of the loss come with k + 1 of the
    optimiser. With c = k / (k + 1), the learning rate c · lr and the decays β^c leave both what
    they would be over k steps of the optimiser: (k + 1) c = k.

    Args:
        lr: The learning rate without a regulariser.
        betas: The decays of the two moments, likewise.
        interval: k. With 1 nothing changes, as in StudioGAN: the regulariser is then taken to be
            part of the loss, or absent.

    Returns:
        The learning rate and the decays to give to Adam.

    Raises:
        ValueError: `interval` is less than 1.

    Example:
        >>> lazy_adam(0.0025, (0.0, 0.99), interval=4)
        (0.002, (0.0, 0.9919919678228657))
    """
    if interval < 1:
        raise ValueError(f"Argument `interval` must be at least 1, but got {interval}.")
    if interval == 1:
        return lr, betas
    ratio = interval / (interval + 1)
    return lr * ratio, (betas[0] ** ratio, betas[1] ** ratio)


def is_regularised(count: int, interval: int) -> bool:
    """Tells whether the update number `count`, from 0, is followed by a regularising step.

    StudioGAN counts D's updates, or G's, over the whole run: `updates_per_step * step + number`.
    """
    return count % interval == 0
