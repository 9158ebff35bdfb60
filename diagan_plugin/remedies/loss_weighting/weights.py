"""The weights that loss weighting puts on the real terms of D's loss."""

from __future__ import annotations

from torch import Tensor

from gan_registry.datasets.fetching import to_device


def loss_weights(probabilities: Tensor, indices: Tensor) -> Tensor:
    """Returns the weights N · P(i) of a batch drawn uniformly.

    Args:
        probabilities: Sampling probabilities P of the whole dataset, [N], with sum 1, e.g. from
            :func:`diagan_plugin.sampling_probabilities`.
        indices: Dataset indices of the batch, int64 [B].

    Returns:
        Weights [B], float32 on the device of `probabilities`; of mean 1 over the dataset.

    Raises:
        ValueError: `probabilities` or `indices` is not one-dimensional.
    """
    for name, value in (("probabilities", probabilities), ("indices", indices)):
        if value.ndim != 1:
            raise ValueError(
                f"Argument `{name}` must be one-dimensional, but got {list(value.shape)}."
            )
    weights = probabilities[to_device(indices, probabilities.device)] * len(probabilities)
    return weights.float()
