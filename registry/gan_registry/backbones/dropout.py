"""Dropout that costs a CPU little: masks from random bits instead of a random number each."""

from __future__ import annotations

import functools

import torch
from torch import Tensor, nn

_WORD = 64  # bits of an int64
_PRECISION = 32  # bits for a probability that no few bits express


class Dropout(nn.Dropout):
    """Zeroes elements with probability p and scales the others by 1/(1 − p), as `nn.Dropout`.

    On the CPU torch draws a random number for each element, which there takes longer than the
    convolution before it. A probability that is k/2^b takes b random bits: one for 0.5, eight for
    any k/256. Any other takes 32, so it is met to 2^−32. Bits come from torch's default generator,
    hence follow from `torch.manual_seed`, though masks differ from torch's. On other devices this
    is `nn.Dropout`.
    """

    def forward(self, x: Tensor) -> Tensor:
        """Drops elements of x of any shape, in training mode."""
        if not self.training or x.device.type != "cpu" or not 0.0 < self.p < 1.0:
            dropped: Tensor = super().forward(x)
            return dropped
        return x * _mask(x, self.p)


def _mask(x: Tensor, p: float) -> Tensor:
    """Returns 0 or 1/(1 − p) for each element of x, in its memory order."""
    size = x.numel()
    bits = next((b for b in (1, 2, 4, 8) if float(p * 2**b).is_integer()), _PRECISION)
    words = torch.empty(-(-size * bits // _WORD), dtype=torch.int64)
    words.random_(-(2**63), None)  # all 64 bits of each
    mask: Tensor
    if bits == _PRECISION:
        kept = words.view(torch.int32)[:size] >= round(p * 2**_PRECISION) - 2 ** (_PRECISION - 1)
        mask = kept.to(x.dtype).mul_(1 / (1 - p))
    else:
        # A byte decides on 8/b elements at once.
        table = _table(p, bits, x.dtype)
        mask = table.index_select(0, words.view(torch.uint8).int()).view(-1)[:size]
    if x.is_contiguous() or not x.is_contiguous(memory_format=torch.channels_last):
        return mask.view(x.shape)
    return mask.as_strided(x.shape, x.stride())


@functools.lru_cache(maxsize=16)
def _table(p: float, bits: int, dtype: torch.dtype) -> Tensor:
    """Returns the masks [256, 8/b] that bytes stand for."""
    byte = torch.arange(256).unsqueeze(1)
    parts = (byte >> torch.arange(0, 8, bits)) & (2**bits - 1)
    table: Tensor = (parts >= round(p * 2**bits)).to(dtype).mul_(1 / (1 - p))
    return table
