"""The Judge: a classifier that tells real from generated samples, and what its accuracy bounds.

Tang (2020), "Lessons Learned from the Training of GANs on Artificial Datasets", section IV-C 5: an
independent classifier is trained after the GAN; its accuracy is near 0.5 where the generator has
learnt the distribution and nears 1 where the two are easily told apart. With equally many samples
of both kinds, the total variation distance δ(P_r, P_g) is at least 2·E[accuracy] − 1 (proposition
1), whatever the classifier is: a weak Judge makes the bound loose, never wrong. A bound for
features also holds for the samples that they were computed from.

The paper's Judge has 3 hidden layers of 1,024 LeakyReLU units (its "5 layers", section IV-B) and
takes 100,000 steps of Adam on fresh samples (section IV-D). Samples are finite here, and time too:
the default is narrower, takes 1,000 steps at most, keeps the weights that were best on a fifth of
its half, and is tested on the other half. `PublishedJudge` has the published size and length; on
samples that do not renew themselves it, too, keeps the weights that were best.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, NamedTuple

import torch
from torch import Tensor, nn

from gan_registry.metrics.base import Progress, no_progress
from gan_registry.metrics.fitting import (
    check_pair,
    check_samples,
    gradients,
    minibatches,
    seeded_perceptron,
    split,
)
from gan_registry.metrics.reservoir import KeptFeatures
from gan_registry.seeding import generator_for

MIN_SAMPLES = 100
_VALIDATION_SHARE = 5  # one sample in 5 of the training half
_REPORT_EVERY = 50


class Verdict(NamedTuple):
    """What the Judge says.

    Attributes:
        accuracy: Share of held-out samples, half of them real, that it tells right.
        total_variation_bound: 2·accuracy − 1, an estimate of a lower bound on the total variation
            distance; below 0 by chance where the distributions are alike.
        standard_error: Of the accuracy, from the number of held-out samples.
    """

    accuracy: float
    total_variation_bound: float
    standard_error: float


@dataclass(frozen=True)
class JudgeSettings:
    """How large the Judge is and how long it learns.

    Attributes:
        width: Units of a hidden layer; 1,024 in the paper.
        hidden: Number of hidden layers.
        steps: Optimiser steps at most; 100,000 in the paper.
        batch_size: Samples a step, half of them real.
        learning_rate: Adam's.
        weight_decay: AdamW's.
        check_every: Steps between looks at the validation samples.
        patience: Looks without improvement after which it stops.
    """

    width: int = 128
    hidden: int = 3
    steps: int = 1000
    batch_size: int = 256
    learning_rate: float = 1e-3
    weight_decay: float = 1e-2
    check_every: int = 50
    patience: int = 6


#: Tang (2020), sections IV-B and IV-D: Adam without weight decay, 256 samples of each kind a step,
#: the discriminators' learning rate, and no early end. Hours on a CPU.
PUBLISHED = JudgeSettings(
    width=1024, steps=100_000, batch_size=512, learning_rate=1e-4, weight_decay=0.0,
    check_every=1000, patience=100,
)  # fmt: skip


def judge_accuracy(
    real: Tensor,
    fake: Tensor,
    *,
    seed: int = 0,
    device: torch.device | str = "cpu",
    settings: JudgeSettings | None = None,
    progress: Progress = no_progress,
) -> Verdict:
    """Trains a Judge on half of the samples and tests it on the other half.

    Equally many samples of both kinds are used, chosen by the seed. Each dimension is standardised
    by the training half. 10,000 samples of each kind with 3,072 features take about 20 s of one
    core.

    Args:
        real: [n, ...] samples or features, n ≥ 100.
        fake: [m, ...] likewise, m ≥ 100.
        seed: Seed of the halves, the weights and the batches.
        device: Where to compute.
        settings: Size and length; None takes the defaults.
        progress: Told of the steps.

    Raises:
        UserError: There are too few samples, or NaN or infinity among them.
        ValueError: The two have different shapes.
    """
    check_pair(real, fake)
    check_samples("judge", real, fake, MIN_SAMPLES)
    settings = settings or JudgeSettings()
    device = torch.device(device)
    with gradients():
        halves = split(real, fake, seed)
        mean, std = _moments(halves.train)
        network = _train(halves.train, mean, std, seed, device, settings, progress)
        test = ((halves.test - mean) / std).to(device)
        with torch.no_grad():
            accuracy = _accuracy(network, test)
    count = 2 * halves.test.shape[1]
    return Verdict(accuracy, 2.0 * accuracy - 1.0, math.sqrt(accuracy * (1.0 - accuracy) / count))


def _moments(train: Tensor) -> tuple[Tensor, Tensor]:
    """Returns mean and standard deviation of each dimension, [D]; 1 where there is no spread."""
    pooled = train.flatten(0, 1).double()
    std = pooled.std(dim=0)
    return pooled.mean(dim=0).float(), torch.where(std > 0, std, 1.0).float()


def _train(
    train: Tensor,
    mean: Tensor,
    std: Tensor,
    seed: int,
    device: torch.device,
    settings: JudgeSettings,
    progress: Progress,
) -> nn.Sequential:
    """Returns the network as it was when it did best on the validation samples."""
    scaled = ((train - mean) / std).to(device)
    held = max(scaled.shape[1] // _VALIDATION_SHARE, 1)
    valid, learn = scaled[:, :held], scaled[:, held:]
    network = seeded_perceptron(scaled.shape[2], settings.width, settings.hidden, seed).to(device)
    optimizer = torch.optim.AdamW(
        network.parameters(), lr=settings.learning_rate, weight_decay=settings.weight_decay
    )
    order = generator_for(seed, "judge", "batches")
    batches = minibatches(learn.shape[1], settings.batch_size // 2, settings.steps, order)
    best, best_loss, stale = copy.deepcopy(network.state_dict()), math.inf, 0
    for step, rows in enumerate(batches, start=1):
        batch = learn.index_select(1, rows.to(device))
        loss = _loss(network, batch)
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        if step % _REPORT_EVERY == 0:
            progress("Training the Judge", step, settings.steps)
        if step % settings.check_every == 0 or step == settings.steps:
            with torch.no_grad():
                valid_loss = float(_loss(network, valid))
            stale += 1
            if valid_loss < best_loss:
                best, best_loss, stale = copy.deepcopy(network.state_dict()), valid_loss, 0
            if stale >= settings.patience:
                break
    progress("Training the Judge", settings.steps, settings.steps)
    network.load_state_dict(best)
    return network


def _loss(network: nn.Module, pair: Tensor) -> Tensor:
    """Returns the cross-entropy of [2, n, D], real samples first."""
    logits: Tensor = network(pair).squeeze(-1)
    softplus = nn.functional.softplus
    return (softplus(-logits[0]).mean() + softplus(logits[1]).mean()) / 2.0


def _accuracy(network: nn.Module, pair: Tensor) -> float:
    """Returns the share of [2, n, D], real samples first, that is told right."""
    logits = network(pair).squeeze(-1)
    # A logit of exactly 0 counts half, so that a network that says nothing is right half the time.
    right = (logits[0] > 0).sum() + (logits[1] < 0).sum()
    return float(right + 0.5 * (logits == 0).sum()) / int(logits.numel())


class Judge(KeptFeatures):
    """`judge_accuracy` in streaming form, on the features of the chosen extractor.

    With the features `raw` the Judge sees the samples themselves, as in the paper. Keeps up to
    25,600 samples of each kind; computing takes about twice as much memory again.
    """

    name: ClassVar[str] = "judge"
    min_samples: ClassVar[int] = MIN_SAMPLES
    directions: ClassVar[Mapping[str, Literal["up", "down", "none"]]] = {
        "judge_accuracy": "down",
        "total_variation_bound": "down",
    }
    settings: ClassVar[JudgeSettings] = JudgeSettings()

    def compute(self) -> dict[str, Any]:
        """Returns `judge_accuracy` and `total_variation_bound`.

        Raises:
            UserError: There are fewer than 100 samples of a kind, or some are not finite.
        """
        verdict = judge_accuracy(
            *self.kept(),
            seed=self.context.seed,
            device=self.context.device,
            settings=self.settings,
            progress=self.context.progress,
        )
        return {
            "judge_accuracy": verdict.accuracy,
            "total_variation_bound": verdict.total_variation_bound,
        }


class PublishedJudge(Judge):
    """The same with the Judge of the paper: 3 layers of 1,024 units, 100,000 steps."""

    settings: ClassVar[JudgeSettings] = PUBLISHED
