"""Self-attention over the positions of a feature map (SAGAN; Zhang et al., 2019)."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class SelfAttention(nn.Module):
    """Adds to each position what it gathers from all others: `x + sigma * attention(x)`.

    As in BigGAN: queries and keys have an eighth of the channels, values a half, keys and values
    are max-pooled 2×2, and `sigma` starts at 0, so that the layer starts as the identity.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        narrow, half = max(channels // 8, 1), max(channels // 2, 1)
        self.query = nn.Conv2d(channels, narrow, 1, bias=False)
        self.key = nn.Conv2d(channels, narrow, 1, bias=False)
        self.value = nn.Conv2d(channels, half, 1, bias=False)
        self.output = nn.Conv2d(half, channels, 1, bias=False)
        self.sigma = nn.Parameter(torch.zeros(1))

    def forward(self, x: Tensor, condition: Tensor | None = None) -> Tensor:
        """Maps [B, C, H, W] to the same shape; H and W are even, `condition` is not used."""
        query = self.query(x).flatten(2).transpose(1, 2)  # [B, HW, C/8]
        key = F.max_pool2d(self.key(x), 2).flatten(2)  # [B, C/8, HW/4]
        value = F.max_pool2d(self.value(x), 2).flatten(2).transpose(1, 2)  # [B, HW/4, C/2]
        # Written out, as the fused kernels of scaled_dot_product_attention have no second
        # derivative, which gradient penalties need. The scores are not divided by a root of the
        # dimension and may be large: the softmax is taken in float32 at least.
        scores = torch.bmm(query, key)
        half = scores.dtype in (torch.float16, torch.bfloat16)
        weights = torch.softmax(scores, -1, dtype=torch.float32 if half else None)
        gathered = torch.bmm(weights.to(value.dtype), value)  # [B, HW, C/2]
        gathered = gathered.transpose(1, 2).reshape(len(x), -1, *x.shape[2:])
        attended: Tensor = x + self.sigma * self.output(gathered)
        return attended


def attention_places(apply_attn: bool, places: list[int] | None, blocks: int) -> tuple[int, ...]:
    """Returns the blocks (counted from 1) that self-attention follows.

    `places` are `MODEL.attn_g_loc` or `MODEL.attn_d_loc`; one beyond the last block is without
    effect, as in StudioGAN.
    """
    return tuple(i for i in sorted(set(places or ())) if 1 <= i <= blocks) if apply_attn else ()
