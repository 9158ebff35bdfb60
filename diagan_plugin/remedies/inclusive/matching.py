"""Which latent makes the sample nearest to each training sample, found again from time to time."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from diagan_plugin.recording.logit_modes import logit_mode
from diagan_plugin.remedies.inclusive.nearest import NearestSearch
from diagan_plugin.remedies.timing import epoch_of
from gan_registry.datasets.fetching import fetch_to, to_device
from gan_registry.samplers.uniform import UniformSampler
from gan_registry.seeding import derive_seed, generator_for, seeded_rng
from gan_registry.state_checks import tensor, whole
from gan_registry.training.samples import generate_batches

if TYPE_CHECKING:
    from gan_registry.live_run import LiveRun

__all__ = ["LatentMatching", "nearby_latents"]

_STATE_VERSION = 1
_QUERIES = 2**27  # features of training samples held at a time (float32: 512 MB)
_CANDIDATES = 2**24  # features of generated samples held at a time
_BATCH = 500


def nearby_latents(z: Tensor, noise: float, prior: str, rng: torch.Generator) -> Tensor:
    """Returns latents near others, again of the prior.

    Args:
        z: Latents [B, z_dim].
        noise: How far, from 0 (those themselves) to 1 (unrelated ones).
        prior: "gaussian": √(1 − noise²) z + noise ε with ε ~ N(0, 1); "uniform":
            (1 − noise) z + noise ε with ε ~ U(−1, 1).
        rng: Draws ε, on its own device.
    """
    if prior == "gaussian":
        drawn = to_device(torch.randn(z.shape, generator=rng, device=rng.device), z.device).to(z)
        return math.sqrt(1 - noise**2) * z + noise * drawn
    drawn = torch.rand(z.shape, generator=rng, device=rng.device) * 2 - 1
    drawn = to_device(drawn, z.device).to(z)
    return (1 - noise) * z + noise * drawn


class LatentMatching:
    """The latents that belong to the training samples, and when to look for new ones.

    Memory: one latent for each training sample, float32 [N, z_dim] on the CPU; features of training
    samples and of candidates only in pieces of bounded size.

    Args:
        run: The run, with its networks.
        refresh: Epochs to the second search.
        growth: Factor of that number after each search.
        candidates: Candidates of a search, in multiples of the dataset's size.
        noise: See :func:`nearby_latents`.
        features: "raw", the samples themselves, or "discriminator", D's penultimate activations.
        search: The backend of :class:`~diagan_plugin.remedies.inclusive.nearest.NearestSearch`.

    Attributes:
        latents: float32 [N, z_dim] on the CPU.
        distance: Mean squared distance at the last search; NaN before it.
        searches: How many there were.
    """

    def __init__(
        self,
        run: LiveRun,
        *,
        refresh: int = 10,
        growth: float = 2.0,
        candidates: int = 2,
        noise: float = 0.1,
        features: str = "raw",
        search: str = "auto",
    ) -> None:
        size = len(run.dataset)
        self._refresh = refresh
        self._growth = growth
        self._num_candidates = candidates * size
        self._noise = noise
        self._features = features
        self._search = search
        self._stream = UniformSampler(size, derive_seed(run.seed, "inclusive data"))
        self.latents = run.latents(size, "inclusive", "start").cpu()
        self.distance = float("nan")
        self.searches = 0
        self.next_epoch = 0

    def step_end(self, run: LiveRun) -> None:
        """Searches if it is time."""
        if epoch_of(run) >= self.next_epoch:
            self.search(run)

    def search(self, run: LiveRun) -> None:
        """Finds the nearest of newly generated samples for each training sample.

        A training sample keeps its latent where no candidate is finite.
        """
        size, dimension = len(run.dataset), self.probe(run)
        step = max(1, _QUERIES // dimension)
        total = torch.zeros((), dtype=torch.float64)
        for start in range(0, size, step):
            indices = np.arange(start, min(start + step, size))
            queries = [self._read(run, part) for part in _pieces(indices)]
            search = NearestSearch(torch.cat(queries), self._search)
            for z, candidates in self._candidates(run, dimension):
                queries_nearer, which = search.add(candidates)
                chosen = z[which.to(z.device)].cpu()
                self.latents[start + queries_nearer.cpu()] = chosen
            total += search.squared.sum().cpu()
        self.distance = float(total / size)
        self.next_epoch = epoch_of(run) + max(round(self._refresh * self._growth**self.searches), 1)
        self.searches += 1

    def batch(self, run: LiveRun, number: int) -> tuple[Tensor, Tensor]:
        """Returns training samples and their latents for G's micro-batch `number`, from 0 on.

        Every sample comes once an epoch of a stream of its own, whatever the run's sampler draws.

        Returns:
            x [B, ...] and latents near theirs [B, z_dim], this rank's share, on the run's device.
        """
        start = number * run.batch_size
        indices = self._stream.draw(start, start + run.batch_size)[run.rank :: run.world_size]
        x, _ = fetch_to(run.dataset, indices, run.device)
        z = self.latents[torch.from_numpy(indices)]
        rng = generator_for(run.seed, "inclusive noise", run.rank, number)
        z = nearby_latents(z, self._noise, run.config.MODEL.z_prior, rng)
        return x, to_device(z, run.device)

    def features(self, run: LiveRun, x: Tensor) -> Tensor:
        """Returns the features [B, F] in which samples are compared, float32 with their graph."""
        found = run.backbone.features(x) if self._features == "discriminator" else x
        return found.flatten(1).float()

    def targets(self, run: LiveRun, x: Tensor) -> Tensor:
        """Returns the features of training samples, without gradients."""
        with torch.no_grad():
            return self.features(run, x)

    def probe(self, run: LiveRun) -> int:
        """Returns the number of features F.

        Raises:
            NotImplementedError: D has no features.
        """
        return self._read(run, np.arange(1)).shape[1]

    def state(self) -> dict[str, Any]:
        """Returns the plugin's part of a checkpoint."""
        return {
            "version": _STATE_VERSION,
            "latents": self.latents,
            "distance": self.distance,
            "searches": self.searches,
            "next_epoch": self.next_epoch,
        }

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Restores what :meth:`state` returned."""
        own = self.latents
        self.latents = tensor(state, "latents", own.dtype, tuple(own.shape)).clone()
        self.distance = float(state["distance"])
        self.searches = whole(state, "searches")
        self.next_epoch = whole(state, "next_epoch")

    def _read(self, run: LiveRun, indices: NDArray[np.int64]) -> Tensor:
        x, _ = fetch_to(run.dataset, indices, run.device)
        with self._quietly(run):
            return self.features(run, x)

    def _candidates(self, run: LiveRun, dimension: int) -> Iterator[tuple[Tensor, Tensor]]:
        """Yields latents and features of generated samples: the same ones in each pass."""
        step = max(1, min(_CANDIDATES // dimension, self._num_candidates))
        for number, start in enumerate(range(0, self._num_candidates, step)):
            count = min(step, self._num_candidates - start)
            z = run.latents(count, "inclusive", self.searches, number)
            with self._quietly(run, number):
                parts = [
                    self.features(run, generate_batches(run.generator, piece))
                    for piece in torch.split(z, _BATCH)
                ]
            yield z, torch.cat(parts)

    @contextmanager
    def _quietly(self, run: LiveRun, *purpose: int) -> Iterator[None]:
        """Puts D in evaluation mode inside; no gradients, no trace in a network or random state."""
        with (
            torch.no_grad(),
            logit_mode(run.discriminator, "eval"),
            seeded_rng(run.device, run.seed, "inclusive modules", self.searches, *purpose),
        ):
            yield


def _pieces(indices: NDArray[np.int64]) -> Iterator[NDArray[np.int64]]:
    return (indices[start : start + _BATCH] for start in range(0, len(indices), _BATCH))


def imle_term(generated: Tensor, targets: Tensor) -> Tensor:
    """Computes the mean squared difference between features of samples and of their targets.

    Args:
        generated: Features of G at the matched latents, [B, F], with their graph.
        targets: Features of the training samples, [B, F]; detached here.

    Returns:
        A scalar, in float32 at least.

    Raises:
        ValueError: There are no samples, or shapes differ.
    """
    if generated.shape != targets.shape or not generated.numel():
        raise ValueError(
            "Arguments `generated` and `targets` must be of equal shapes and hold at least one "
            f"sample, but got {list(generated.shape)} and {list(targets.shape)}."
        )
    # Subtracted in float32 at least: in half precision the difference of near values is noise.
    return (generated.float() - targets.detach().float()).square().mean()
