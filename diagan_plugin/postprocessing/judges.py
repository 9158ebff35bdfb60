"""The discriminator that rates the samples of a run: its own, the auxiliary one, or a fresh one."""

from __future__ import annotations

import logging
import weakref
from collections.abc import Callable
from itertools import count
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from diagan_plugin.dia.auxiliary import is_logistic
from diagan_plugin.dia.drivers import weighting_schedule
from diagan_plugin.dia.options import AUXILIARY
from diagan_plugin.postprocessing.after_the_fact import train_after_the_fact
from diagan_plugin.postprocessing.options import PostOptions
from diagan_plugin.postprocessing.streaming import Proposal, Propose
from diagan_plugin.recording.logit_modes import logit_mode
from gan_registry.datasets.fetching import fetch_to, read_ahead
from gan_registry.errors import UserError
from gan_registry.evaluation.sources import Proposals
from gan_registry.losses.logistic import Logistic
from gan_registry.records import Fake
from gan_registry.seeding import derive_seed
from gan_registry.training.samples import BATCH, generate_batches

if TYPE_CHECKING:
    from gan_registry.live_run import LiveRun

HELD_OUT = 0.1
"""Share of the training data that a fresh discriminator does not see (as in Turner et al. 2019)."""

_CHECKED = 1000
"""Of these, how many decide which of its states is kept, at most."""

_TRAINED: weakref.WeakKeyDictionary[LiveRun, dict[tuple[int, int], Judge]] = (
    weakref.WeakKeyDictionary()
)
_LOG = logging.getLogger(__name__)


class Judge:
    """A discriminator, and how its log-density ratios are read.

    Args:
        run: The run whose samples it rates.
        network: The discriminator.
        logistic: Whether it was trained by the logistic loss, whatever the run's own is.
        unseen: Indices of training samples that it has not seen, int64 [n]; None if it has seen
            all of them.

    Attributes:
        is_density_ratio: Whether its logits are ratios, be it up to a constant, or a surrogate of
            which only the order and the spread mean anything.
        has_level: Whether a constant added to all logits would change what they mean.
    """

    def __init__(
        self,
        run: LiveRun,
        network: nn.Module,
        *,
        logistic: bool = False,
        unseen: NDArray[np.int64] | None = None,
    ) -> None:
        self._run = run
        self.network = network
        self.unseen = unseen
        self._loss = Logistic(run.loss.realness) if logistic else run.loss
        self.is_density_ratio = self._loss.is_density_ratio or self._loss.is_ratio_up_to_constant
        self.has_level = not self._loss.is_shift_invariant

    @torch.no_grad()
    def logits(self, x: Tensor, y: Tensor | None = None) -> Tensor:
        """Returns log-density ratios, float32 [B], in evaluation mode; the network is left alone.

        Raises:
            UserError: The discriminator does not rate samples one by one.
        """
        with logit_mode(self.network, "eval"):
            logits = self._loss.log_density_ratio(self.network(x, y), y).float()
        if len(logits) != len(x):
            raise UserError(
                f"The discriminator gives {len(logits)} answers for {len(x)} samples, as it judges "
                "several at once: use --post-judge fresh, or the post-processors drs_fresh and "
                "mh_fresh."
            )
        return logits

    def logits_of(self, dataset: object, indices: NDArray[np.int64]) -> Tensor:
        """Returns the log-density ratios of samples of a dataset, float32 [n] on the device."""
        parts = [indices[start : start + BATCH] for start in range(0, len(indices), BATCH)]
        read = read_ahead(dataset, parts, self._run.device)
        return torch.cat([self.logits(*batch) for batch in read])

    def proposer(self, seed: int) -> Propose:
        """Returns an endless supply of samples with their logits; `seed` tells draws apart."""
        proposals = Proposals(self._run, seed)

        def propose(n: int) -> Proposal:
            made = proposals(n)
            return Proposal(made.x, self.logits(made.x, made.y), made.y, made.z)

        return propose


def choose_judge(run: LiveRun, options: PostOptions, *, needs_ratio: bool = True) -> Judge:
    """Returns the discriminator that the options name.

    By default that is the auxiliary one where the run has one, as its ratio is unbiased by weighted
    sampling (Self-Diagnosing GAN, §4.3), else the run's own.

    Args:
        run: The run, trained.
        options: Its options.
        needs_ratio: Whether more than the order of the logits counts; what stands in the way is
            then warned of.

    Raises:
        UserError: The run has no auxiliary discriminator, though it is asked for.
    """
    if options.judge == "fresh":
        return fresh_judge(run, options.fresh_steps)
    auxiliary = run.additions.get(AUXILIARY)
    if isinstance(auxiliary, nn.Module) and options.judge != "own":
        judge = Judge(run, auxiliary, logistic=is_logistic(run))
    elif options.judge == "auxiliary":
        raise UserError(
            "--post-judge auxiliary: this run has no auxiliary discriminator, as it did not get to "
            "weighted sampling or ran without; use --post-judge fresh."
        )
    else:
        judge = Judge(run, run.discriminator)
        if needs_ratio and (seen := _seen_instead(run)):
            _LOG.warning(
                "The discriminator saw %s, and its ratios are of those; drs_fresh and mh_fresh "
                "train one on the data as they are.",
                seen,
            )
    if needs_ratio and not judge.is_density_ratio:
        _LOG.warning(
            "The loss %r has no density ratio. D's raw output stands in for it, so that what is "
            "accepted need not follow the data; drs_fresh and mh_fresh train a discriminator that "
            "has one.",
            run.config.LOSS.adv_loss,
        )
    return judge


def _seen_instead(run: LiveRun) -> str:
    """Says what a run's discriminator saw that does not follow the data; nothing if it did."""
    if run.config.RUN.sampler != "uniform":
        return f"draws of the sampler {run.config.RUN.sampler!r}"
    return "" if weighting_schedule(run) is None else "samples weighted by their score"


def fresh_judge(run: LiveRun, steps: int) -> Judge:
    """Trains a discriminator for a run's generator as it is, once for as long as the run is open.

    It has the form of the run's own with new weights. It is trained by the logistic loss for so
    many steps, with the run's batch size and D's learning rate, on all but the share
    :data:`HELD_OUT` of the data. It follows from (the run's seed, its state, `steps`) alone, so
    that several draws share it.

    Raises:
        UserError: The dataset is too small.
    """
    trained = _TRAINED.setdefault(run, {})
    if (run.step, steps) not in trained:
        trained[run.step, steps] = _train(run, steps)
    return trained[run.step, steps]


def generated_by(run: LiveRun, *purpose: int | str) -> Callable[[int], Fake]:
    """Returns `n -> n samples` of the run's generator, a function of (the run's seed, purpose)."""
    calls = count()

    def generate(n: int) -> Fake:
        call = next(calls)
        z, y = run.latents(n, *purpose, call), run.labels(n, *purpose, call)
        return Fake(generate_batches(run.sampling_generator, z, y), z, y)

    return generate


def _train(run: LiveRun, steps: int) -> Judge:
    settings, size = run.config.OPTIMIZATION, len(run.dataset)
    rng = np.random.Generator(np.random.PCG64(derive_seed(run.seed, "held out")))
    unseen, seen = np.split(rng.permutation(size), [max(round(HELD_OUT * size), 1)])
    if not seen.size:
        raise UserError(f"A fresh discriminator takes at least 2 training samples, not {size}.")
    _LOG.info("Training a discriminator after the fact, for %d steps", steps)
    network = run.backbone.build("discriminator", seed=derive_seed(run.seed, "fresh judge"))
    generate, checked = generated_by(run, "fresh judge"), unseen[:_CHECKED]
    trained = train_after_the_fact(
        network.to(run.device),
        lambda indices: fetch_to(run.dataset, seen[indices], run.device),
        len(seen),
        generate,
        realness=run.backbone.realness,
        seed=derive_seed(run.seed, "fresh judge", "draws"),
        steps=steps,
        batch_size=settings.batch_size,
        lr=settings.d_lr,
        betas=(settings.beta1, settings.beta2),
        held_out=(fetch_to(run.dataset, checked, run.device), generate(len(checked))),
        forward=lambda net, x, y: net(x, y),
    )
    return Judge(run, trained, logistic=True, unseen=unseen)
