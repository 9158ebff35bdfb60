"""Augmentation as a function of the seed and the place in the stream, not of a generator's state.

What happens to a sample depends on (seed, position) alone, where position is its global place in
the stream of training samples; epoch and place in the epoch follow from it. So it is the same for
any batch size, number of processes and of loader workers, and after resuming.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from gan_registry.datasets.fetching import to_device

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)


def hash_bits(seed: int, positions: npt.ArrayLike) -> npt.NDArray[np.uint64]:
    """Hashes positions, integers ≥ 0 of any shape, into 64 independent fair bits each.

    It is SplitMix64 (Steele et al., 2014): the generator's output at a state is a hash of it. The
    seed, itself hashed, selects where the sequence starts.

    Returns:
        uint64 of the same shape.
    """
    start = np.random.SeedSequence(seed).generate_state(1, np.uint64)[0]
    z = np.asarray(positions).astype(np.uint64)
    with np.errstate(over="ignore"):  # arithmetic modulo 2^64 is meant
        z = start + (z + np.uint64(1)) * _GOLDEN
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    result: npt.NDArray[np.uint64] = z ^ (z >> np.uint64(31))
    return result


def flipped(seed: int, positions: npt.ArrayLike) -> npt.NDArray[np.bool_]:
    """Tells which global stream positions [B] are flipped, bool [B]: by a fair coin each."""
    bits: npt.NDArray[np.bool_] = (hash_bits(seed, positions) >> np.uint64(63)).astype(np.bool_)
    return bits


def flip(x: Tensor, seed: int, positions: npt.ArrayLike) -> Tensor:
    """Mirrors some images [B, C, H, W] of a batch left to right (StudioGAN's `PRE.apply_rflip`).

    Which ones, by the run's seed and the global stream positions [B]: see :func:`flipped`.

    Returns:
        A new tensor of the shape, type and device of `x`.

    Raises:
        ValueError: `x` is no batch of images, or has another length than `positions`.
    """
    chosen = flipped(seed, positions)
    if x.dim() != 4 or chosen.shape != (len(x),):
        raise ValueError(f"Argument `x` must be [{chosen.size}, C, H, W], but got {list(x.shape)}.")
    mask = to_device(torch.from_numpy(chosen), x.device)
    return torch.where(mask[:, None, None, None], x.flip(-1), x)
