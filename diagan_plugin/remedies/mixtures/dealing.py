"""Which of several networks takes a sample of a batch, and how much it counts.

* In training the place of the sample in the batch decides: sample r goes to generator r mod n_G,
  and D's share of each generator is the same for all discriminators. No size depends on what is in
  a batch.
* In evaluation a generator follows from the latent alone, so that G(z) is a function of z whatever
  else is in the batch, and samples are drawn from the mixture independently.
"""

from __future__ import annotations

from functools import lru_cache

import torch
from torch import Tensor

__all__ = ["class_owners", "deal_latents", "deal_rows", "row_weights"]

_EDGE = 2.0**-24  # keeps uniform numbers inside (0, 1), where normal quantiles are finite


def deal_latents(z: Tensor, shares: Tensor, prior: str = "gaussian") -> tuple[Tensor, Tensor]:
    """Reads from each latent which generator takes it, and leaves a latent of the same prior.

    The first coordinate becomes a uniform number by its distribution function. The interval it
    falls in, of lengths `shares`, names the generator; where in the interval it lies is again
    uniform, and becomes the first coordinate of what the generator gets. So generators are drawn by
    their shares, independently of their latents, and no further randomness is needed.

    Args:
        z: Latents [B, z_dim].
        shares: Probabilities [1, n] or, different for each sample, [B, n], of sum 1.
        prior: "gaussian", N(0, 1), or "uniform", U(-1, 1).

    Returns:
        The generators, int64 [B], and their latents, [B, z_dim]. With one generator, z itself.
    """
    count = shares.shape[1]
    if count == 1:
        return torch.zeros(len(z), dtype=torch.int64, device=z.device), z
    first = z[:, 0].float()
    u = torch.special.ndtr(first) if prior == "gaussian" else (first + 1) / 2
    u = u.clamp(0.0, 1.0 - _EDGE)[:, None]
    upper = shares.float().cumsum(1)
    upper = torch.where(upper > 1.0 - 1e-6, 1.0, upper)  # rounding must not favour a share of 0
    component = (u >= upper[:, :-1]).sum(1)
    upper, shares = upper.expand(len(z), -1), shares.float().expand(len(z), -1)
    share = shares.gather(1, component[:, None])
    low = upper.gather(1, component[:, None]) - share
    inner = ((u - low) / share).clamp(_EDGE, 1.0 - _EDGE)
    renewed = torch.special.ndtri(inner) if prior == "gaussian" else inner * 2 - 1
    return component, torch.cat([renewed.to(z.dtype), z[:, 1:]], 1)


def class_owners(num_classes: int, count: int) -> list[tuple[int, ...]]:
    """Divides classes among `count` generators, max(num_classes/count, 1) each (Tang, 2020, §V).

    Returns:
        For each class the generators that make it: one, or several if there are more of them.
    """
    if count <= num_classes:
        return [(label * count // num_classes,) for label in range(num_classes)]
    return [tuple(range(label, count, num_classes)) for label in range(num_classes)]


def row_weights(shares: Tensor, size: int) -> Tensor:
    """Returns weights by which the mean over a training batch is the mixture's expectation.

    Row r of the `size` rows B is of generator r mod n, whose shares w are [n].

    Returns:
        w_i · B / (rows of generator i) for each row, [B]; of mean 1.

    Raises:
        ValueError: A generator has no row.
    """
    count = len(shares)
    if size < count:
        raise ValueError(f"Argument `size` must be at least {count}, but got {size}.")
    row = torch.arange(size, device=shares.device)
    of = row % count
    rows = (size - of + count - 1) // count
    return shares[of] * size / rows


@lru_cache(maxsize=64)
def deal_rows(
    size: int, period: int, count: int, device: torch.device
) -> tuple[tuple[tuple[int, Tensor], ...], Tensor]:
    """Deals rows out, `period` at a time in turn: row r goes to (r // period) mod count.

    Returns:
        Each one's number and rows, left out where there are none; and where the rows are when
        those parts are joined.
    """
    with torch.inference_mode(False):  # such tensors could not be used in training later
        taker = torch.arange(size) // period % count
        rows = tuple((i, (taker == i).nonzero()[:, 0]) for i in range(count))
        rows = tuple((i, part.to(device)) for i, part in rows if len(part))
        return rows, taker.argsort(stable=True).argsort().to(device)
