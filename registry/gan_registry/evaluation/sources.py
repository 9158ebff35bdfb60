"""Sources of samples: the generator itself, or a post-processor that corrects it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, ClassVar, Protocol

import torch
from torch import Tensor, nn

from gan_registry.records import Fake
from gan_registry.seeding import generator_for
from gan_registry.training.samples import BATCH, generate_batches

if TYPE_CHECKING:
    from gan_registry.live_run import LiveRun


class SampleSource(Protocol):
    """What the catalog `postprocessors` builds: a stream of samples."""

    def batches(self, n: int) -> Iterator[Tensor]:
        """Yields exactly n samples in all, as batches [b, ...] on the device."""
        ...

    def statistics(self) -> dict[str, float]:
        """Returns what is worth reporting, e.g. `acceptance_rate`; called after sampling."""
        ...


class Proposals:
    """Endless plain samples of a run's generator, a pure function of (run seed, seed).

    Args:
        run: The run, trained.
        seed: Distinguishes several draws from one run.
        generator: The network; the one that the run is sampled from by default.

    Attributes:
        purpose: Sets the draws apart from those of other kinds of samples.
    """

    purpose: ClassVar[str] = "samples"

    def __init__(self, run: LiveRun, seed: int = 0, generator: nn.Module | None = None) -> None:
        self._run = run
        self._generator = generator
        self._seed = seed
        self._calls = 0
        self._rng = generator_for(run.seed, self.purpose, seed, device=run.device)

    def latents(self, n: int) -> Tensor:
        """Draws the latents of the next n samples, [n, z_dim] on the device."""
        return self._run.backbone.latent(n, self._rng, self._run.device)

    def __call__(self, n: int) -> Fake:
        """Returns the next n samples."""
        run, z = self._run, self.latents(n)
        y = run.labels(n, self.purpose, self._seed, self._calls)
        self._calls += 1
        generator = run.sampling_generator if self._generator is None else self._generator
        return Fake(generate_batches(generator, z, y), z, y)


class PlainSource:
    """Samples of the generator as they come (post-processor `plain`); see :class:`Proposals`."""

    def __init__(self, run: LiveRun, seed: int = 0, generator: nn.Module | None = None) -> None:
        self._proposals = Proposals(run, seed, generator)

    def batches(self, n: int) -> Iterator[Tensor]:
        """Yields n samples in batches."""
        return (batch.x for batch in self.labelled_batches(n))

    def labelled_batches(self, n: int) -> Iterator[Fake]:
        """Yields the same with the class labels that they were made for."""
        for start in range(0, n, BATCH):
            yield self._proposals(min(BATCH, n - start))

    def statistics(self) -> dict[str, float]:
        """Returns nothing: every sample is taken."""
        return {}


def labelled_batches(source: SampleSource, n: int) -> Iterator[tuple[Tensor, Tensor | None]]:
    """Yields n samples in batches, with their class labels where the source knows them.

    A source that does has a method `labelled_batches(n)`, which yields :class:`Fake`.
    """
    labelled: Callable[[int], Iterator[Fake]] | None = getattr(source, "labelled_batches", None)
    if labelled is None:
        for x in source.batches(n):
            yield x, None
    else:
        for batch in labelled(n):
            yield batch.x, batch.y


def collect(source: SampleSource, n: int) -> Tensor:
    """Gathers n samples [n, ...] on the CPU."""
    return torch.cat([batch.cpu() for batch in source.batches(n)])
