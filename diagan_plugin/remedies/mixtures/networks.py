"""Several generators as one generator, several discriminators as one discriminator.

Each is a module like any other, so that a host trains, averages and saves it as its own G or D.
Which network takes a sample:

* In training, the place of the sample in the batch: sample r goes to generator r mod n_G, and D's
  share of each generator is the same for all discriminators. No size depends on what is in a batch.
* In evaluation, a generator follows from the latent alone, so that G(z) is a function of z
  whatever else is in the batch, and samples are drawn from the mixture independently.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor, nn

__all__ = [
    "MixtureGenerator",
    "RoutedDiscriminator",
    "WeightedDiscriminator",
    "class_owners",
    "deal_latents",
    "row_weights",
]

COMPONENTS = "components"
"""Key of the discriminators' own outputs in that of a :class:`WeightedDiscriminator`."""

SHARES = "shares"
"""Key of their weights."""

_EDGE = 2.0**-24  # keeps uniform numbers inside (0, 1), where normal quantiles are finite


class MixtureGenerator(nn.Module):
    """Generators that make a share of the samples each.

    Args:
        components: The generators, `(z, y) -> x`.
        prior: "gaussian" or "uniform", that of the latents.
        learned: Whether the shares are softmax(logits) of a parameter; otherwise they are equal.
        owners: For each class the generators that make it, from :func:`class_owners`; None lets all
            make everything.
    """

    _of_class: Tensor

    def __init__(
        self,
        components: Iterable[nn.Module],
        *,
        prior: str = "gaussian",
        learned: bool = False,
        owners: Sequence[Sequence[int]] | None = None,
    ) -> None:
        super().__init__()
        self.components = nn.ModuleList(components)
        count = len(self.components)
        self.logits = nn.Parameter(torch.zeros(count)) if learned else None
        self.owners = owners
        self._prior = prior
        table = torch.zeros(0, count)
        if owners is not None:
            table = torch.zeros(len(owners), count)
            for label, makers in enumerate(owners):
                table[label, list(makers)] = 1 / len(makers)
        self.register_buffer("_of_class", table, persistent=False)

    @property
    def shares(self) -> Tensor:
        """Share of each generator, float32 [n_G]; where classes are divided, within any class."""
        if self.logits is not None:
            return self.logits.float().softmax(0)
        count = len(self.components)
        return torch.full((count,), 1 / count, dtype=torch.float32, device=self._of_class.device)

    def forward(self, z: Tensor, y: Tensor | None = None) -> Tensor:
        """Returns samples [B, ...] of latents z [B, z_dim] and labels y [B] or None."""
        if self.training and self.owners is None:
            rows, back = _turns(len(z), 1, len(self.components), z.device)
            return torch.cat([self._made(i, z, y, part) for i, part in rows])[back]
        component, z = self.route(z, y)
        order = component.argsort(stable=True)
        # Waits for the device; with classes divided there is no other way to know the sizes.
        sizes = component.bincount(minlength=len(self.components)).tolist()
        parts = enumerate(torch.split(order, sizes))
        made = torch.cat([self._made(i, z, y, part) for i, part in parts if len(part)])
        idle = [p for i, n in enumerate(sizes) if not n for p in self.components[i].parameters()]
        if self.training and idle:
            # Gradients of 0 rather than none: all ranks have to average the same ones.
            made = made + 0.0 * torch.stack([p.sum() for p in idle]).sum()
        return made[order.argsort()]

    def route(self, z: Tensor, y: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Returns each sample's generator, int64 [B], and the latent it gets, [B, z_dim]."""
        if self.owners is None:
            return deal_latents(z, self.shares.detach()[None], self._prior)
        if y is None:
            raise ValueError("Argument `y` must be labels where classes are divided, but got None.")
        return deal_latents(z, self._of_class[y], self._prior)

    def _made(self, i: int, z: Tensor, y: Tensor | None, rows: Tensor) -> Tensor:
        samples: Tensor = self.components[i](z[rows], None if y is None else y[rows])
        return samples


class RoutedDiscriminator(nn.Module):
    """Discriminators that see a share of each batch in training, and average in evaluation.

    The cheap form of MIX-GAN (Tang, 2020, §V): with B samples, of which each generator made B/n_G,
    each discriminator sees B/n_D, equally many of each generator. In evaluation the output is the
    mean of all discriminators' (eq. 5 with equal weights).

    Args:
        components: The discriminators, `(x, y) -> output`.
        num_generators: n_G.
    """

    def __init__(self, components: Iterable[nn.Module], num_generators: int) -> None:
        super().__init__()
        self.components = nn.ModuleList(components)
        self._num_generators = num_generators

    def forward(self, x: Tensor, y: Tensor | None = None) -> Any:
        """Returns what one discriminator returns for x [B, ...] and y [B] or None."""
        if not self.training:
            return _merge([network(x, y) for network in self.components], _mean)
        rows, back = _turns(len(x), self._num_generators, len(self.components), x.device)
        outputs = [self.components[j](x[part], None if y is None else y[part]) for j, part in rows]
        return _merge(outputs, lambda parts: torch.cat(list(parts))[back])

    def features(self, x: Tensor) -> Tensor:
        """Returns the penultimate activations of all side by side, [B, n_D · F]."""
        return _all_features(self.components, x)


class WeightedDiscriminator(nn.Module):
    """Discriminators that all see everything, with learned weights (MIX+GAN).

    Args:
        components: The discriminators, `(x, y) -> output`.
    """

    def __init__(self, components: Iterable[nn.Module]) -> None:
        super().__init__()
        self.components = nn.ModuleList(components)
        self.logits = nn.Parameter(torch.zeros(len(self.components)))

    @property
    def shares(self) -> Tensor:
        """Weight of each discriminator, v = softmax(logits), float32 [n_D]."""
        return self.logits.float().softmax(0)

    def forward(self, x: Tensor, y: Tensor | None = None) -> Any:
        """Returns the weighted mean of the outputs (eq. 5); no gradient reaches the weights by it.

        In training it is a mapping, "adv_output" and what else the outputs have, with two more
        keys: `COMPONENTS`, the outputs themselves, and `SHARES`, the weights with their graph.
        """
        outputs = [network(x, y) for network in self.components]
        shares = self.shares
        mixed = _merge(outputs, lambda parts: _weighted(parts, shares.detach()))
        if not self.training:
            return mixed
        fields = mixed if isinstance(mixed, Mapping) else {"adv_output": mixed}
        return {**fields, COMPONENTS: outputs, SHARES: shares}

    def features(self, x: Tensor) -> Tensor:
        """Returns the penultimate activations of all side by side, [B, n_D · F]."""
        return _all_features(self.components, x)


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
    """Divides classes among generators, max(num_classes/count, 1) for each (Tang, 2020, §V).

    Args:
        num_classes: At least 1.
        count: Generators, at least 1.

    Returns:
        For each class the generators that make it: one, or several if there are more of them.
    """
    if count <= num_classes:
        return [(label * count // num_classes,) for label in range(num_classes)]
    return [tuple(range(label, count, num_classes)) for label in range(num_classes)]


def row_weights(shares: Tensor, size: int) -> Tensor:
    """Returns weights by which the mean over a training batch is the mixture's expectation.

    Args:
        shares: Shares w of the generators, [n]; row r of the batch is of generator r mod n.
        size: Rows B, at least n.

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
def _turns(
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


def _merge(outputs: Sequence[Any], merge: Callable[[Sequence[Tensor]], Tensor]) -> Any:
    """Merges outputs of equal form: tensor by tensor, in tuples, lists and mappings."""
    first = outputs[0]
    if isinstance(first, Tensor):
        return merge(outputs)
    if isinstance(first, Mapping):
        return {key: _merge([output[key] for output in outputs], merge) for key in first}
    if isinstance(first, (tuple, list)):
        return type(first)(_merge(parts, merge) for parts in zip(*outputs, strict=True))
    return first


def _mean(parts: Sequence[Tensor]) -> Tensor:
    return torch.stack(list(parts)).mean(0)


def _weighted(parts: Sequence[Tensor], shares: Tensor) -> Tensor:
    return torch.stack([share * part for share, part in zip(shares, parts, strict=True)]).sum(0)


def _all_features(components: Iterable[nn.Module], x: Tensor) -> Tensor:
    found = []
    for network in components:
        method = getattr(network, "features", None)
        if not callable(method):
            raise NotImplementedError(f"{type(network).__name__} has no method `features(x)`.")
        found.append(method(x))
    return torch.cat(found, 1)
