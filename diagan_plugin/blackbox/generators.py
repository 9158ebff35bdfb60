"""Generators as black boxes: a function from latents to samples, and nothing else is asked of it.

From a TorchScript file, or from a run folder of gan_registry's. No pickle is ever loaded.
"""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

import torch
from torch import Tensor

from diagan_plugin.blackbox.latent_sampler import PRIORS, Prior, draw_prior
from gan_registry.datasets.base import Dataset, Indices
from gan_registry.errors import UserError
from gan_registry.features.torchscript import last_line, read_script
from gan_registry.features.weights import sha256_of
from gan_registry.seeding import (
    derive_seed,
    generator_for,
    kept_random_state,
    seed_global_generators,
)

BATCH = 250
TRIAL = 16
_CHANNELS = (1, 3)
_FAR = 1.5  # images may leave [-1, 1] by this factor and are clipped: many networks end linearly


class Generator(Protocol):
    """What is asked of a generator.

    Attributes:
        name: What to call it in messages.
        z_dim: Length of a latent.
        prior: The distribution of its latents.
        identity: Text that differs for another generator.
    """

    name: str
    z_dim: int
    prior: Prior
    identity: str

    def __call__(self, z: Tensor) -> Tensor:
        """Makes samples [n, ...] from latents float32 [n, z_dim] on the CPU, without gradients."""
        ...


class ScriptGenerator:
    """A generator in a file that `torch.jit.save` wrote: latents [n, z_dim] → samples [n, ...].

    By default `z_dim`, the length of a latent, is the network's own attribute of that name.

    Raises:
        UserError: The file is missing, no TorchScript, or `z_dim` is not known.
    """

    def __init__(
        self,
        path: Path,
        z_dim: int | None = None,
        prior: Prior = "gaussian",
        device: torch.device | None = None,
    ) -> None:
        if prior not in PRIORS:
            raise ValueError(f"Argument `prior` must be one of {PRIORS}, but got {prior!r}.")
        if not path.is_file():
            raise UserError(f"There is no generator {path}; check the path.")
        self._device = device or torch.device("cpu")
        self._network = read_script(path, self._device, "--generator takes a file")
        own = getattr(self._network, "z_dim", None)
        if z_dim is None and not isinstance(own, int):
            raise UserError(
                f"{path} does not say how many numbers a latent has; add --z-dim N (or save the "
                "network with an attribute z_dim)."
            )
        self.z_dim = int(own) if z_dim is None else z_dim  # type: ignore[arg-type]
        if self.z_dim < 1:
            raise UserError(f"--z-dim is {self.z_dim}, but must be at least 1.")
        self.name = str(path)
        self.prior: Prior = prior
        self.identity = f"torchscript {sha256_of(path)}"

    @torch.no_grad()
    def __call__(self, z: Tensor) -> Tensor:
        """Makes samples [n, ...], on the device."""
        try:
            # A network that draws noise of its own uses torch's global generators.
            with kept_random_state(self._device):
                seed_global_generators(derive_seed(0, "generator's noise"), self._device)
                output = self._network(z.to(self._device))
        except RuntimeError as error:  # also what the network itself raises
            if isinstance(error, torch.cuda.OutOfMemoryError):
                raise
            raise UserError(
                f"The generator {self.name} fails on latents {list(z.shape)}: {last_line(error)} "
                f"(is --z-dim {z.shape[1]} right?)."
            ) from error
        if not isinstance(output, Tensor) or output.dim() < 2 or len(output) != len(z):
            got = f"shape {list(output.shape)}" if isinstance(output, Tensor) else type(output)
            raise UserError(
                f"The generator {self.name} returns {got} for {len(z)} latents; it must return "
                "samples [n, ...]."
            )
        return output


class RunGenerator:
    """The generator of a run folder, as it samples (with its averaged weights, if it has any).

    With `trust` the folder may name code to run (`MODEL.module`).

    Raises:
        UserError: It is no run folder, or its generator needs class labels.
    """

    def __init__(self, folder: Path, device: str = "auto", trust: bool = False) -> None:
        from gan_registry.training.trainer import open_run

        run = open_run(folder, device=device, trust=trust)
        if run.labels(1, "black box") is not None:
            raise UserError(
                f"The generator of {folder} makes samples of given classes; save it for one class "
                "as TorchScript."
            )
        self._run = run
        self.name = str(folder)
        self.z_dim = int(run.backbone.z_dim)
        some = run.backbone.latent(64, generator_for(0, "prior"), "cpu")
        self.prior: Prior = "uniform" if float(some.abs().max()) <= 1.0 else "gaussian"
        self.identity = f"run {folder.name} step {run.step}"

    def __call__(self, z: Tensor) -> Tensor:
        """Makes samples [n, ...], on the run's device."""
        from gan_registry.training.samples import generate_batches

        return generate_batches(self._run.sampling_generator, z.to(self._run.device))


class Samples(Dataset):
    """Samples made from latents, float32 [n, z_dim], when asked for: only the latents are kept.

    Images are brought to [-1, 1]: bytes are scaled, floats are those of [0, 1] if none of the first
    few is negative, and what leaves the range a little is clipped.

    Raises:
        UserError: What it makes is neither images nor points, out of range, or not finite.
    """

    name = "generated"

    def __init__(self, generator: Generator, latents: Tensor) -> None:
        if latents.shape[1:] != (generator.z_dim,):
            raise UserError(
                f"The generator {generator.name} takes latents of {generator.z_dim} numbers, not "
                f"of {latents.shape[1]}."
            )
        self._generator = generator
        self.latents = latents
        # A fixed draw of the prior decides about the range, so that it is the same for any latents.
        rng = generator_for(0, "trial")
        trial = generator(draw_prior(TRIAL, generator.z_dim, generator.prior, rng)).cpu()
        self.sample_shape = tuple(trial.shape[1:])
        self._bytes = trial.dtype == torch.uint8
        self._unit = False
        self.kind = "image" if trial.dim() == 4 and trial.shape[1] in _CHANNELS else "points"
        if self.kind == "points" and trial.dim() != 2:
            raise UserError(
                f"The generator {generator.name} makes samples of shape {list(trial.shape[1:])}, "
                "neither images [1 or 3, H, W] nor points [D]."
            )
        trial = trial.float()
        _check_finite(trial, generator.name)
        if self.kind == "image":
            self.value_range = (-1.0, 1.0)
            low, high = float(trial.min()), float(trial.max())
            self._unit = not self._bytes and low >= 0.0
            if not self._bytes and max(-low, high) > _FAR:
                raise UserError(
                    f"The generator {generator.name} makes images with values from {low:.3g} to "
                    f"{high:.3g}; they must be bytes, or floats in [0, 1] or [-1, 1]."
                )

    def __len__(self) -> int:
        """Returns the number of latents."""
        return len(self.latents)

    def __getitems__(self, indices: Indices) -> tuple[Tensor, Tensor]:
        """Returns samples, float32 [B, *sample_shape], and zeros, int64 [B]."""
        rows = torch.as_tensor(indices, dtype=torch.int64)
        x = self._generator(self.latents[rows])
        if tuple(x.shape[1:]) != self.sample_shape:
            raise UserError(
                f"The generator {self._generator.name} makes samples of shape "
                f"{list(x.shape[1:])} now and {list(self.sample_shape)} before."
            )
        x = x.to("cpu", torch.float32)
        _check_finite(x, self._generator.name)
        if self._bytes:
            x = x / 127.5 - 1.0
        elif self._unit:
            x = x * 2.0 - 1.0
        if self.kind == "image":
            x = x.clamp(-1.0, 1.0)
        return x, torch.zeros(len(x), dtype=torch.int64)


def open_generator(
    path: Path,
    z_dim: int | None = None,
    prior: Prior | None = None,
    device: str = "auto",
    trust: bool = False,
) -> Generator:
    """Opens a generator: a TorchScript file, which is code, or a run folder.

    `trust` says whether the folder may name code to run.

    Raises:
        UserError: There is none, or it cannot be read.
    """
    path = path.expanduser()
    if path.is_dir():
        for flag, value in (("--z-dim", z_dim), ("--prior", prior)):
            if value is not None:
                raise UserError(f"{flag} has no meaning with a run folder, which knows; drop it.")
        return RunGenerator(path, device, trust)
    from gan_registry.training.run import resolve_device

    return ScriptGenerator(path, z_dim, prior or "gaussian", resolve_device(device))


def _check_finite(x: Tensor, name: str) -> None:
    broken = int((~torch.isfinite(x.flatten(1)).all(1)).sum())
    if broken:
        raise UserError(
            f"The generator {name} makes samples that are not finite ({broken} of {len(x)})."
        )
