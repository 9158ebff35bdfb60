"""What corrects samples, as sources of samples for the host, a factory each.

A factory takes the run, trained, and a seed that distinguishes several draws from one run.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from diagan_plugin.postprocessing.budgeted import BudgetedRejectionSampler
from diagan_plugin.postprocessing.calibrated import calibrate
from diagan_plugin.postprocessing.interpolation import random_interpolation
from diagan_plugin.postprocessing.judges import choose_judge
from diagan_plugin.postprocessing.metropolis_hastings import MetropolisHastingsSampler
from diagan_plugin.postprocessing.options import BATCH as EACH_BATCH
from diagan_plugin.postprocessing.options import EXACT, PostOptions
from diagan_plugin.postprocessing.rejection import RejectionSampler
from diagan_plugin.postprocessing.streaming import Proposal, SampleStream
from diagan_plugin.postprocessing.threshold import ThresholdSampler
from gan_registry.errors import UserError
from gan_registry.evaluation.sources import PlainSource, Proposals
from gan_registry.records import Fake
from gan_registry.seeding import generator_for

if TYPE_CHECKING:
    from gan_registry.live_run import LiveRun


class StreamSource:
    """What the host's catalog `postprocessors` builds, around a stream.

    Args:
        stream: The stream; its proposals have latents.
    """

    def __init__(self, stream: SampleStream) -> None:
        self.stream = stream

    def batches(self, n: int) -> Iterator[Tensor]:
        """Yields exactly n accepted samples."""
        return (batch.x for batch in self.stream.sample(n))

    def labelled_batches(self, n: int) -> Iterator[Fake]:
        """Yields the same with the latents and the class labels that they were made from."""
        for batch in self.stream.sample(n):
            assert batch.z is not None
            yield Fake(batch.x, batch.z, batch.y)

    def statistics(self) -> dict[str, float]:
        """Returns the share of the proposals that were accepted."""
        return {"acceptance_rate": self.stream.acceptance_rate}


class RejectionSource(StreamSource):
    """Discriminator rejection sampling (post-processor `drs`).

    Uses the auxiliary discriminator where the run has one, as its ratio is unbiased by the weighted
    sampling (paper, §4.3), else the run's own. `options` are the run's by default.
    """

    def __init__(self, run: LiveRun, seed: int = 0, options: PostOptions | None = None) -> None:
        options = options or PostOptions.of(run)
        gamma = options.drs_gamma
        how: dict[str, Any] = {"gamma": 0.0}
        if gamma != EXACT:
            per_batch = options.drs_gamma_over == EACH_BATCH
            how = {"percentile": float(gamma), "per_batch": per_batch}
        super().__init__(
            RejectionSampler(
                choose_judge(run, options).proposer(seed),
                rng=generator_for(run.seed, "rejection", seed),
                **how,
                burn_in=options.burn_in,
                floor=options.floor,
            )
        )


def exact_rejection(run: LiveRun, seed: int = 0) -> RejectionSource:
    """Builds `drs_exact`: with γ = 0."""
    return RejectionSource(run, seed, dataclasses.replace(PostOptions.of(run), drs_gamma=EXACT))


def fresh_rejection(run: LiveRun, seed: int = 0) -> RejectionSource:
    """Builds `drs_fresh`: with a discriminator trained after the fact."""
    return RejectionSource(run, seed, dataclasses.replace(PostOptions.of(run), judge="fresh"))


class BudgetedRejectionSource(StreamSource):
    """Optimal budgeted rejection sampling (post-processor `obrs`), judged as `drs` is."""

    def __init__(self, run: LiveRun, seed: int = 0) -> None:
        options = PostOptions.of(run)
        super().__init__(
            BudgetedRejectionSampler(
                choose_judge(run, options).proposer(seed),
                rng=generator_for(run.seed, "budgeted rejection", seed),
                budget=options.obrs_budget,
                burn_in=options.burn_in,
                floor=options.floor,
            )
        )


class MetropolisHastingsSource(StreamSource):
    """Metropolis–Hastings GAN (post-processor `mh`).

    Chains begin at the calibrated scores of the real samples that calibration used. `options` are
    the run's by default, and `name` is the post-processor's, for messages and the report.
    """

    stream: MetropolisHastingsSampler

    def __init__(
        self, run: LiveRun, seed: int = 0, options: PostOptions | None = None, name: str = "mh"
    ) -> None:
        options = options or PostOptions.of(run)
        judge = choose_judge(run, options, needs_ratio=options.mh_calibration == "none")
        calibrated = calibrate(run, judge, options, name)
        propose = judge.proposer(seed)
        rng = generator_for(run.seed, "metropolis-hastings", seed, device=run.device)

        def calibrated_proposals(n: int) -> Proposal:
            batch = Proposal(*propose(n))
            return batch._replace(logits=calibrated.calibration(batch.logits))

        def initial(n: int) -> Tensor:
            real = calibrated.real
            return real[torch.randint(len(real), (n,), generator=rng, device=rng.device)]

        super().__init__(
            MetropolisHastingsSampler(
                calibrated_proposals,
                rng=rng,
                initial=initial,
                steps=options.mh_steps,
                floor=options.floor,
            )
        )
        self._z = calibrated.z

    def statistics(self) -> dict[str, float]:
        """Returns the shares of proposals moved to and of chains begun anew, and Z."""
        chains = self.stream.chains
        return {
            **super().statistics(),
            "restarted": self.stream.restarted / chains if chains else math.nan,
            "calibration_z": self._z,
        }


def fresh_metropolis_hastings(run: LiveRun, seed: int = 0) -> MetropolisHastingsSource:
    """Builds `mh_fresh`: with a discriminator trained after the fact."""
    options = dataclasses.replace(PostOptions.of(run), judge="fresh")
    return MetropolisHastingsSource(run, seed, options, "mh_fresh")


def without_level(run: LiveRun, score: float) -> UserError:
    """Words that a fixed score asks for a level that the discriminator's output has not."""
    return UserError(
        f"--threshold-score {score:g}: under the loss {run.config.LOSS.adv_loss!r} a constant "
        "added to all that D says changes nothing, so that no fixed score means anything: use "
        "--threshold-percentile, or --post-judge fresh."
    )


class ThresholdSource(StreamSource):
    """Threshold rejection (post-processor `threshold`)."""

    def __init__(self, run: LiveRun, seed: int = 0) -> None:
        options = PostOptions.of(run)
        score = options.threshold_score
        judge = choose_judge(run, options, needs_ratio=score is not None)
        if score is not None and not judge.has_level:
            raise without_level(run, score)
        super().__init__(
            ThresholdSampler(
                judge.proposer(seed),
                threshold=None if score is None else math.log(score) - math.log1p(-score),
                percentile=options.threshold_percentile,
                burn_in=options.burn_in,
                floor=options.floor,
            )
        )


class InterpolatedProposals(Proposals):
    """Endless samples from between two latents, both of one class: there is none in between."""

    purpose = "interpolation"

    def latents(self, n: int) -> Tensor:
        """Draws the latents of the next n samples."""
        first = super().latents(n)
        return random_interpolation(first, super().latents(n), self._rng)


class InterpolationSource(PlainSource):
    """Samples from between two latents (post-processor `interpolation`); none is rejected."""

    def __init__(self, run: LiveRun, seed: int = 0) -> None:
        self._proposals = InterpolatedProposals(run, seed)

    def statistics(self) -> dict[str, float]:
        """Returns an acceptance rate of 1: every sample is taken."""
        return {"acceptance_rate": 1.0}
