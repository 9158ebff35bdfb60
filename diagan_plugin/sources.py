"""Discriminator rejection sampling as sources of samples for the host's commands."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

from diagan_plugin.postprocessing.choice import choose_judge
from diagan_plugin.postprocessing.options import EXACT, PostOptions
from diagan_plugin.postprocessing.source import StreamSource
from diagan_plugin.rejection import RejectionSampler
from gan_registry.training.seeding import generator_for

if TYPE_CHECKING:
    from gan_registry.training.run import Run


class RejectionSource(StreamSource):
    """Discriminator rejection sampling (post-processor `drs`).

    Uses the auxiliary discriminator where the run has one, as its ratio is unbiased by the weighted
    sampling (paper, §4.3), else the run's own.

    Args:
        run: The run, trained.
        seed: Distinguishes several draws from one run.
        options: The run's own by default.
    """

    def __init__(self, run: Run, seed: int = 0, options: PostOptions | None = None) -> None:
        options = options or PostOptions.of(run)
        gamma = options.drs_gamma
        super().__init__(
            RejectionSampler(
                choose_judge(run, options).proposer(seed),
                rng=generator_for(run.seed, "rejection", seed),
                gamma=0.0 if gamma == EXACT else None,
                percentile=80.0 if gamma == EXACT else float(gamma),
                burn_in=options.burn_in,
                floor=options.floor,
            )
        )


def exact_rejection(run: Run, seed: int = 0) -> RejectionSource:
    """Builds `drs_exact`: with γ = 0."""
    return RejectionSource(run, seed, dataclasses.replace(PostOptions.of(run), drs_gamma=EXACT))


def fresh_rejection(run: Run, seed: int = 0) -> RejectionSource:
    """Builds `drs_fresh`: with a discriminator trained after the fact."""
    return RejectionSource(run, seed, dataclasses.replace(PostOptions.of(run), judge="fresh"))
