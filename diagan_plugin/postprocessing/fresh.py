"""A discriminator trained after the fact for a run's finished generator."""

from __future__ import annotations

import logging
import weakref
from itertools import count
from typing import TYPE_CHECKING

import numpy as np

from diagan_plugin.postprocessing.after_the_fact import train_after_the_fact
from diagan_plugin.postprocessing.judge import Judge, read
from gan_registry.errors import UserError
from gan_registry.evaluation.sources import generate_batches
from gan_registry.records import Fake
from gan_registry.training.seeding import derive_seed

if TYPE_CHECKING:
    from collections.abc import Callable

    from gan_registry.training.run import Run

HELD_OUT = 0.1
"""Share of the training data that it does not see (as in Turner et al. 2019)."""

_CHECKED = 1000
"""Of these, how many decide which of its states is kept, at most."""

_LOG = logging.getLogger(__name__)
_TRAINED: weakref.WeakKeyDictionary[Run, dict[tuple[int, int], Judge]] = weakref.WeakKeyDictionary()


def fresh_judge(run: Run, steps: int) -> Judge:
    """Trains a discriminator for a run's generator as it is, once for as long as the run is open.

    It has the form of the run's own with new weights. It is trained by the logistic loss, with the
    run's batch size and D's learning rate, on nine tenths of the data. It follows from (the run's
    seed, its state, `steps`) alone, so that several draws share it.

    Args:
        run: The run, trained.
        steps: For how many steps.

    Raises:
        UserError: The dataset is too small.
    """
    trained = _TRAINED.setdefault(run, {})
    if (run.step, steps) not in trained:
        trained[run.step, steps] = _train(run, steps)
    return trained[run.step, steps]


def generated_by(run: Run, *purpose: int | str) -> Callable[[int], Fake]:
    """Returns `n -> n samples` of the run's generator, a function of (the run's seed, purpose)."""
    calls = count()

    def generate(n: int) -> Fake:
        call = next(calls)
        z, y = run.latents(n, *purpose, call), run.labels(n, *purpose, call)
        return Fake(generate_batches(run.sampling_generator, z, y), z, y)

    return generate


def _train(run: Run, steps: int) -> Judge:
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
        lambda indices: read(run, run.dataset, seen[indices]),
        len(seen),
        generate,
        realness=run.backbone.realness,
        seed=derive_seed(run.seed, "fresh judge", "draws"),
        steps=steps,
        batch_size=settings.batch_size,
        lr=settings.d_lr,
        betas=(settings.beta1, settings.beta2),
        held_out=(read(run, run.dataset, checked), generate(len(checked))),
        forward=lambda net, x, y: net(x, y),
    )
    return Judge(run, trained, logistic=True, unseen=unseen)
