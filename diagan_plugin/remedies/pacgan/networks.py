"""A discriminator of packs, which can also answer for single samples."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from torch import Tensor, nn

from gan_registry.errors import PluginError, UserError
from gan_registry.training.objectives import Objective

__all__ = ["PackedDiscriminator", "PackingObjective", "packed_of"]


class PackedDiscriminator(nn.Module):
    """Packs a batch, `size` = m at a time, for `packed`, a D of m·C channels.

    With a second network, `unpacked`, of single samples, that one answers wherever :meth:`packing`
    is not on: in sweeps, in evaluation, and in copies of this module. Labels are not used.
    """

    def __init__(self, packed: nn.Module, size: int, unpacked: nn.Module | None = None) -> None:
        super().__init__()
        self.packed = packed
        self.size = size
        self.unpacked = unpacked
        self._packing = False

    @contextmanager
    def packing(self) -> Iterator[None]:
        """Answers for packs inside."""
        before, self._packing = self._packing, True
        try:
            yield
        finally:
            self._packing = before

    def forward(self, x: Tensor, y: Tensor | None = None) -> Any:
        """Returns D's output on packs, [B/m, ...], or on single samples, [B, ...].

        Raises:
            UserError: The samples cannot be cut into packs, and no network takes them one by one.
        """
        network, x = self._chosen(x)
        return network(x, None)

    def features(self, x: Tensor) -> Tensor:
        """Returns the penultimate activations of packs, [B/m, F], or of samples, [B, F].

        Raises:
            NotImplementedError: The network has no method `features`.
            UserError: As for `forward`.
        """
        network, x = self._chosen(x)
        method = getattr(network, "features", None)
        if not callable(method):
            raise NotImplementedError(f"{type(network).__name__} has no method `features(x)`.")
        activations: Tensor = method(x)
        return activations

    def _chosen(self, x: Tensor) -> tuple[nn.Module, Tensor]:
        if self.unpacked is not None and not self._packing:
            return self.unpacked, x
        if len(x) % self.size:
            raise UserError(
                f"The discriminator judges packs of {self.size} samples and got {len(x)}: train "
                "with --pacgan-unpacked, or use --post-judge fresh, drs_fresh or mh_fresh."
            )
        return self.packed, pack(x, self.size)


class PackingObjective:
    """A run's own objective, for which its D judges packs."""

    def __init__(self, objective: Objective, discriminator: PackedDiscriminator) -> None:
        self._objective = objective
        self._discriminator = discriminator

    def update_discriminator(self, number: int) -> None:
        """Trains D once, on packs."""
        with self._discriminator.packing():
            self._objective.update_discriminator(number)

    def update_generator(self, number: int) -> None:
        """Trains G once, through packs."""
        with self._discriminator.packing():
            self._objective.update_generator(number)


def packed_of(discriminator: nn.Module) -> PackedDiscriminator:
    """Returns a run's discriminator, which must be one of packs.

    Raises:
        PluginError: Another plugin has replaced it.
    """
    if not isinstance(discriminator, PackedDiscriminator):
        raise PluginError(
            "Plugin 'pacgan' packs the discriminator's input, but another plugin has replaced it "
            f"by a {type(discriminator).__name__}; use one of the two."
        )
    return discriminator


def pack(x: Tensor, m: int) -> Tensor:
    """Joins each m neighbours of a batch along their channels.

    Args:
        x: Samples [B, C, ...].
        m: Samples of a pack, at least 1.

    Returns:
        Packs [B/m, m·C, ...]: pack p holds the samples p·m to p·m + m − 1, in that order.

    Raises:
        ValueError: `m` is below 1 or does not divide B, or samples have no channels.
    """
    if x.ndim < 2:
        raise ValueError(f"Argument `x` must be [B, C, ...], but got {list(x.shape)}.")
    if m < 1 or len(x) % m:
        raise ValueError(f"Argument `m` must divide the {len(x)} samples of `x`, but got {m}.")
    return x.reshape(len(x) // m, m * x.shape[1], *x.shape[2:])
