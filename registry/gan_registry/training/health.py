"""Recognises sick training from numbers: what is found, from which size on, and what to try.

Nothing here knows a run. :mod:`gan_registry.training.health_watch` takes the numbers off D's
updates; plugins may find more, such as overfitting, and tell it by
:meth:`gan_registry.live_run.LiveRun.find`.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from gan_registry.losses.base import Loss
from gan_registry.records import MicroBatch

DISCRIMINATOR_DEAD = "discriminator_dead"
GENERATOR_DEAD = "generator_dead"
DISCRIMINATOR_WINS = "discriminator_wins"
DATA_RANGE = "data_range"
OVERFIT = "overfit"

STOPS: Mapping[str, tuple[str, ...]] = {
    "collapse": (DISCRIMINATOR_DEAD, GENERATOR_DEAD),
    "nan": (),  # a loss that is no number ends a run in any case
    "overfit": (OVERFIT,),
}
"""What a run may be asked to stop on (`RUN.stop_on`): word → names of findings."""

SATURATED = 10.0
"""A logit beyond this says that a sample is e^10 = 22,026 times as frequent on one side; where the
logit is no density ratio the loss pulls it to within ±1 or so. No batch of real and generated
samples is so by all of its samples, unless D is broken."""

EQUAL = 1e-6
"""Outputs that differ by less than this part of their size are equal: 8 units in the last place of
float32, which rounding makes of one number."""

MIN_SPREAD = 0.002
"""Generated samples that vary by less than this part of the data's own variation are equal. A
generator that makes one mode of many varies by more, and so does one that was never trained: by
0.02 at least in the packaged configurations."""

RANGE_TOLERANCE = 0.01
"""How far beyond their range, as a part of its width, data may lie: rounding, no more."""

LARGE = 100.0
"""Data without a range are expected below this: networks are made for numbers of the order of 1."""

_IMAGE_RANGE = (-1.0, 1.0)


@dataclass(frozen=True)
class Finding:
    """A sign that a training is sick.

    Attributes:
        name: What was found, such as "generator_dead".
        step: Steps that were done when it was found first.
        evidence: What was seen, in numbers: a sentence.
        advice: What to try: a sentence.
    """

    name: str
    step: int
    evidence: str
    advice: str


@dataclass(frozen=True)
class Look:
    """What a look at one update of D saw, over all of its samples.

    Attributes:
        real: Smallest and largest logit of the training samples.
        fake: The same of the generated samples.
        variance: Mean variance over the batch, of generated and of training samples.
        data: Smallest and largest value in the training samples.
    """

    real: tuple[float, float]
    fake: tuple[float, float]
    variance: tuple[float, float]
    data: tuple[float, float]

    @classmethod
    def of(cls, numbers: Sequence[float]) -> Look:
        """Reads what :func:`measure` returned."""
        a, b, c, d, e, f, g, h = numbers
        return cls((a, b), (c, d), (e, f), (g, h))

    @property
    def numbers(self) -> tuple[float, ...]:
        """All numbers, in the order of :func:`measure`."""
        return (*self.real, *self.fake, *self.variance, *self.data)

    @property
    def spread(self) -> float:
        """How much generated samples vary, as a part of how much the data do; inf if they don't."""
        made, true = self.variance
        return math.sqrt(made / true) if true > 0.0 else math.inf

    @property
    def low(self) -> float:
        """The smallest logit of any sample."""
        return min(self.real[0], self.fake[0])

    @property
    def high(self) -> float:
        """The largest logit of any sample."""
        return max(self.real[1], self.fake[1])

    @property
    def is_flat(self) -> bool:
        """Whether D gave all samples the same."""
        return self.high - self.low <= EQUAL * max(abs(self.high), abs(self.low))


NUMBERS = 8
"""Of a look."""


@torch.no_grad()
def measure(loss: Loss, batches: Sequence[MicroBatch]) -> Tensor:
    """Measures an update of D on the device, without waiting for it.

    Args:
        loss: Reads the logits off D's outputs: not the density ratio, which may be clamped.
        batches: The micro-batches of the update.

    Returns:
        The numbers of a :class:`Look`, float32 [8].
    """
    rows = []
    for batch in batches:
        numbers = [
            number
            for out in (batch.real_out, batch.fake_out)
            for number in torch.aminmax(loss.logits(out).detach().float())
        ]
        numbers += [_variance(batch.fake.x), _variance(batch.real.x)]
        numbers += torch.aminmax(batch.real.x.detach().float())
        rows.append(torch.stack(numbers))
    if len(rows) == 1:
        return rows[0]
    table = torch.stack(rows)
    low, high, mean = table.amin(0), table.amax(0), table.mean(0)
    parts = [low[0], high[1], low[2], high[3], mean[4], mean[5], low[6], high[7]]
    return torch.stack(parts)


def _variance(x: Tensor) -> Tensor:
    """Returns the variance over the batch, averaged over all dimensions, a scalar."""
    return x.detach().float().var(0, correction=0).mean()


def judge(
    looks: Sequence[Look],
    *,
    step: int,
    has_level: bool,
    value_range: tuple[float, float] | None,
    is_image: bool,
) -> Iterator[Finding]:
    """Judges the looks of one interval between two log lines: a finding needs all of them.

    Args:
        looks: At least one. Where any has a number that is not finite, nothing is found: the losses
            tell that.
        step: Steps done.
        has_level: Whether the size of D's output means anything (:attr:`Loss.is_shift_invariant`).
        value_range: Smallest and largest value that the data should have, if that is known.
        is_image: Whether the samples are images.
    """
    if not all(map(math.isfinite, (number for look in looks for number in look.numbers))):
        return
    low, high = min(look.low for look in looks), max(look.high for look in looks)
    if all(look.is_flat for look in looks):
        yield Finding(
            DISCRIMINATOR_DEAD,
            step,
            f"The discriminator is dead: it gives every sample, real or generated, the same output "
            f"({low:.4g}).",
            "Lower OPTIMIZATION.d_lr, choose another LOSS or LOSS.apply_gp, and start anew.",
        )
    elif has_level and (high < -SATURATED or low > SATURATED):
        side = "below" if high < -SATURATED else "above"
        yield Finding(
            DISCRIMINATOR_DEAD,
            step,
            f"The discriminator is dead: its outputs are {side} {math.copysign(SATURATED, low):g} "
            f"for real and generated samples alike (from {low:.4g} to {high:.4g}).",
            "Lower OPTIMIZATION.d_lr or bound D (MODEL.apply_d_sn, LOSS.apply_gp), and start anew.",
        )
    real, fake = min(look.real[0] for look in looks), max(look.fake[1] for look in looks)
    if has_level and real > SATURATED and fake < -SATURATED:
        yield Finding(
            DISCRIMINATOR_WINS,
            step,
            f"The discriminator wins completely: every real sample is above {real:.4g}, every "
            f"generated one below {fake:.4g}, so the generator learns little from it.",
            "Lower OPTIMIZATION.d_lr or d_updates_per_step, or bound D (MODEL.apply_d_sn, "
            "LOSS.apply_gp).",
        )
    spread = max(look.spread for look in looks)
    if spread < MIN_SPREAD:
        yield Finding(
            GENERATOR_DEAD,
            step,
            f"The generator is dead: the samples of a batch are all alike, they vary by "
            f"{100 * spread:.2g} % of what the data do.",
            "Lower OPTIMIZATION.g_lr, or choose another LOSS, and start anew.",
        )
    seen = min(look.data[0] for look in looks), max(look.data[1] for look in looks)
    yield from _judge_data(seen, step, value_range, is_image)


def _judge_data(
    seen: tuple[float, float], step: int, value_range: tuple[float, float] | None, is_image: bool
) -> Iterator[Finding]:
    expected = _IMAGE_RANGE if value_range is None and is_image else value_range
    if expected is None:
        low, high, what = -LARGE, LARGE, f"numbers of the order of 1, at most {LARGE:g}"
    else:
        margin = RANGE_TOLERANCE * (expected[1] - expected[0])
        low, high = expected[0] - margin, expected[1] + margin
        what = f"the range {expected[0]:g} to {expected[1]:g}"
    if seen[0] < low or seen[1] > high:
        yield Finding(
            DATA_RANGE,
            step,
            f"The data lie far outside of what is expected: from {seen[0]:.4g} to {seen[1]:.4g}, "
            f"where {what} is expected.",
            "Scale the data; the generator cannot, or hardly, reach such values.",
        )
