"""Feature matching (Salimans et al., 2016, section 3.1), by the distance of mean features."""

from __future__ import annotations

from torch import Tensor

from gan_registry.regularizers.full_precision import at_least_float32

REDUCTIONS = ("mean", "sum")


def feature_matching(real: Tensor, fake: Tensor, reduction: str = "mean") -> Tensor:
    """Computes the L1 distance between the mean features of real and generated samples, for G.

    The batch enters through its mean: the distance of a batch isn't the mean of its micro-batches'.

    Args:
        real: D's penultimate activations of training samples, [B, F] (or [B, ...]); no gradient
            flows into them.
        fake: Those of generated samples, [B', F]; B' may differ from B.
        reduction: Over the features. "mean" is StudioGAN's (`LOSS.apply_fm`); "sum" is the norm
            ‖E[f(fake)] - E[f(real)]‖₁ itself, F times as large: λ is not the same number for both.

    Returns:
        A scalar, in float32 at least.

    Raises:
        ValueError: The features differ in shape, a batch is empty, or `reduction` is unknown.
    """
    if reduction not in REDUCTIONS:
        raise ValueError(
            f"Argument `reduction` must be one of {REDUCTIONS}, but got {reduction!r}."
        )
    if real.shape[1:] != fake.shape[1:]:
        raise ValueError(
            f"Argument `fake` must hold features of the shape {tuple(real.shape[1:])} as `real` "
            f"does, but got {tuple(fake.shape[1:])}."
        )
    if not (len(real) and len(fake)):
        raise ValueError("Arguments `real` and `fake` must hold at least one sample each.")
    distance = (at_least_float32(fake).mean(0) - at_least_float32(real.detach()).mean(0)).abs()
    return distance.mean() if reduction == "mean" else distance.sum()
