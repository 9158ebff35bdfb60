"""A generator's latents with their distribution reshaped: to be drawn from, saved and loaded."""

from __future__ import annotations

import importlib
import json
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor

from gan_registry.errors import UserError
from gan_registry.files import atomic_write
from gan_registry.integrity import DamagedError, parse_json, read_tensors
from gan_registry.seeding import generator_for
from gan_registry.state_files import write_named

Prior = Literal["gaussian", "uniform"]
PRIORS: tuple[Prior, ...] = ("gaussian", "uniform")
VERSION = 1
BLOCK = 1000
_METHODS = {
    "hull": "diagan_plugin.blackbox.calibrate_hull:HullLatents",
    "mixture": "diagan_plugin.blackbox.calibrate_mixture:MixtureLatents",
}


def draw_prior(n: int, z_dim: int, prior: Prior, rng: torch.Generator) -> Tensor:
    """Draws latents as the generator expects them, float32 [n, z_dim] on the device of `rng`.

    They are standard normal ("gaussian"), or between −1 and 1 ("uniform").
    """
    if prior == "gaussian":
        return torch.randn(n, z_dim, generator=rng, device=rng.device)
    return torch.rand(n, z_dim, generator=rng, device=rng.device) * 2.0 - 1.0


class CalibratedLatents(ABC):
    """Latents of a calibrated distribution.

    Args:
        z_dim: Their length.
        prior: The distribution that was reshaped.
        about: What else to write into the file, plain values: the generator, the scores.

    Attributes:
        method: "mixture" or "hull".

    Example:
        >>> latents = CalibratedLatents.load("sampler.safetensors")  # doctest: +SKIP
        >>> images = generator(latents.sample(64, seed=1))  # doctest: +SKIP
    """

    method: ClassVar[str]

    def __init__(
        self, z_dim: int, prior: Prior = "gaussian", about: Mapping[str, Any] | None = None
    ) -> None:
        if prior not in PRIORS:
            raise ValueError(f"Argument `prior` must be one of {PRIORS}, but got {prior!r}.")
        self.z_dim = z_dim
        self.prior: Prior = prior
        self.about = dict(about or {})

    def sample(self, n: int, seed: int = 0) -> Tensor:
        """Draws n latents, a pure function of `seed`: the first m of n are the same for every n.

        Returns:
            float32 [n, z_dim] on the CPU.

        Raises:
            ValueError: `n` is negative.
            UserError: Next to nothing is accepted (method "hull").
        """
        if n < 0:
            raise ValueError(f"Argument `n` must not be negative, but got {n}.")
        return torch.cat([torch.empty(0, self.z_dim), *self.batches(n, seed)])

    def batches(self, n: int, seed: int = 0) -> Iterator[Tensor]:
        """Yields the same in batches [b, z_dim] of at most 1,000, in bounded memory."""
        number = 0
        while n > 0:
            batch = self._block(generator_for(seed, "calibrated latents", number))
            number += 1
            self._watch(number, len(batch))
            batch = batch[:n]
            n -= len(batch)
            if len(batch):
                yield batch

    @abstractmethod
    def _block(self, rng: torch.Generator) -> Tensor:
        """Draws up to :data:`BLOCK` latents, float32 [b, z_dim]."""

    def _watch(self, blocks: int, drawn: int) -> None:  # noqa: B027  (a source need not watch)
        """Is told after each block how much came of it."""

    @abstractmethod
    def tensors(self) -> dict[str, Tensor]:
        """Returns what the file holds."""

    @classmethod
    @abstractmethod
    def from_tensors(
        cls, tensors: dict[str, Tensor], z_dim: int, prior: Prior, about: Mapping[str, Any]
    ) -> CalibratedLatents:
        """Makes one of what :meth:`tensors` returned.

        Raises:
            KeyError: Something is missing.
            ValueError: Something does not fit.
        """

    def save(self, path: str | Path) -> None:
        """Writes a safetensors file, whole or not at all.

        Raises:
            UserError: It cannot be written.
        """
        metadata = {
            "format": f"calibrated latents {VERSION}",
            "method": self.method,
            "z_dim": str(self.z_dim),
            "prior": self.prior,
            "about": json.dumps(self.about, allow_nan=False),
        }
        with atomic_write(path) as temporary:
            write_named(temporary, self.tensors(), metadata)

    @staticmethod
    def load(path: str | Path) -> CalibratedLatents:
        """Reads what :meth:`save` wrote. Nothing in the file is run.

        Raises:
            UserError: There is no such file, or it is none of these.
        """
        path = Path(path).expanduser()
        try:
            tensors, metadata = read_tensors(path, "pt")
            if metadata.get("format") != f"calibrated latents {VERSION}":
                raise UserError(
                    f"{path} is no calibrated sampler of this version "
                    f"(it says: {metadata.get('format', 'nothing')!r})."
                )
            module, name = _METHODS[metadata["method"]].split(":")
            kind: type[CalibratedLatents] = getattr(importlib.import_module(module), name)
            prior: Any = metadata["prior"]
            about = parse_json(metadata["about"])
            return kind.from_tensors(tensors, int(metadata["z_dim"]), prior, about)
        except UserError:
            raise
        except FileNotFoundError:
            raise UserError(
                f"There is no file {path}; `diagan calibrate --out` writes one."
            ) from None
        except Exception as error:  # whoever wrote it may have written anything
            reason = " ".join(str(error).split())[:300]
            raise UserError(
                f"{path} cannot be read as a calibrated sampler: "
                f"{'it' if isinstance(error, DamagedError) else type(error).__name__} {reason}; "
                "write it anew with `diagan calibrate`."
            ) from error
