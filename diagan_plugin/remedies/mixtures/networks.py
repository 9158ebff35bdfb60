"""Several generators as one generator, several discriminators as one discriminator.

Each is a module like any other, so that a host trains, averages and saves it as its own G or D.
Which network takes a sample is in :mod:`diagan_plugin.remedies.mixtures.dealing`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from diagan_plugin.remedies.mixtures.dealing import deal_latents, deal_rows

__all__ = ["MixtureGenerator", "RoutedDiscriminator", "WeightedDiscriminator"]

COMPONENTS = "components"
"""Key of the discriminators' own outputs in that of a :class:`WeightedDiscriminator`."""

SHARES = "shares"
"""Key of their weights."""


class MixtureGenerator(nn.Module):
    """Generators that make a share of the samples each.

    Args:
        components: The generators, `(z, y) -> x`.
        prior: "gaussian" or "uniform", that of the latents.
        learned: Whether the shares are softmax(logits) of a parameter; otherwise they are equal.
        owners: For each class the generators that make it, from `class_owners`; None lets all make
            everything.
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
            rows, back = deal_rows(len(z), 1, len(self.components), z.device)
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
    """Discriminators `(x, y) -> output` that share a batch in training, and average in evaluation.

    The cheap form of MIX-GAN (Tang, 2020, §V): with B samples, of which each of n_G generators made
    B/n_G, each discriminator sees B/n_D, equally many of each generator. In evaluation the output
    is the mean of all discriminators' (eq. 5 with equal weights).
    """

    def __init__(self, components: Iterable[nn.Module], num_generators: int) -> None:
        super().__init__()
        self.components = nn.ModuleList(components)
        self._num_generators = num_generators

    def forward(self, x: Tensor, y: Tensor | None = None) -> Any:
        """Returns what one discriminator returns for x [B, ...] and y [B] or None."""
        if not self.training:
            return _merge([network(x, y) for network in self.components], _mean)
        rows, back = deal_rows(len(x), self._num_generators, len(self.components), x.device)
        outputs = [self.components[j](x[part], None if y is None else y[part]) for j, part in rows]
        return _merge(outputs, lambda parts: torch.cat(list(parts))[back])

    def features(self, x: Tensor) -> Tensor:
        """Returns the penultimate activations of all side by side, [B, n_D · F]."""
        return _all_features(self.components, x)


class WeightedDiscriminator(nn.Module):
    """Discriminators `(x, y) -> output` that all see everything, with learned weights (MIX+GAN)."""

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
