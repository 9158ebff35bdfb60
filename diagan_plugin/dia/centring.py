"""Takes off D's constant: arbitrary where D's output is no density ratio (paper, §5.2).

Under the hinge or the Wasserstein loss D may add any constant to all it says, another one at each
record. Scores are clipped at fixed numbers, so it would decide who is emphasised; and as it wanders
from record to record, it would enter every sample's LDRV alike and drown the differences.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from diagan_plugin.dia.options import DiaOptions

if TYPE_CHECKING:
    from gan_registry.live_run import LiveRun
    from gan_registry.records import MicroBatch


def as_a_ratio(logits: Tensor) -> Tensor:
    """Shifts logits as far as makes them possible log-density ratios.

    The expectation of p_g/p_data over the data is 1, so exp(-log ratio) has to average to 1.

    Args:
        logits: D's output on all samples, or on a random part of them, [N]; what is not finite is
            left out of the average.

    Returns:
        [N] float32.
    """
    # In float64, as a large level would drown the differences; MPS has none.
    exact = (logits.cpu() if logits.device.type == "mps" else logits).double()
    known = torch.isfinite(exact)
    constant = torch.logsumexp((-exact).masked_fill(~known, -math.inf), 0) - known.sum().log()
    return (exact + constant).float().to(logits.device)


class Centring:
    """What a run takes off its records.

    Args:
        options: Dia's options.
        is_ratio: Whether records are log-density ratios, which "auto" leaves as they are.

    Attributes:
        kind: "data", "generated" or "none".
        constant: The mean logit of generated samples in D's last update, when streaming.
    """

    def __init__(self, options: DiaOptions, is_ratio: bool) -> None:
        self.kind = options.centre
        self._streams = options.record == "stream"
        if self.kind == "auto":
            self.kind = "none" if is_ratio else "data"
        if self.kind == "data" and self._streams:
            self.kind = "generated"  # a batch is too small to stand for the data
        self._fakes: Sequence[MicroBatch] = ()  # of D's last update
        self.constant: Tensor | None = None

    @property
    def is_missing(self) -> bool:
        """Whether records depend on D's constant, as no generated samples were shown."""
        return self.kind == "generated" and not self._fakes and self.constant is None

    def note_generated(self, run: LiveRun, batches: Sequence[MicroBatch]) -> None:
        """Keeps the generated samples of D's update, whose mean logit may be taken off."""
        if self.kind != "generated":
            return
        if not self._streams:
            self._fakes = batches
        elif all(batch.fake_out is not None for batch in batches):
            with torch.no_grad():
                logits = [run.loss.log_density_ratio(b.fake_out, b.fake.y).float() for b in batches]
            self.constant = _mean(run, torch.cat(logits))

    def of_batch(self, logits: Tensor) -> Tensor | None:
        """Returns a training batch's logits [B] without the constant; None where it is not known.

        Before the first update nothing is known of generated samples.
        """
        if self.kind == "none":
            return logits
        return None if self.constant is None else logits - self.constant

    def of_sweep(
        self, run: LiveRun, logits: Tensor, context: AbstractContextManager[None]
    ) -> Tensor:
        """Returns a sweep's logits [N] without the constant.

        Args:
            run: The run.
            logits: Those of the data, or of a random part of them.
            context: Puts D into the mode of the sweep.
        """
        if self.kind == "data":
            return as_a_ratio(logits)
        if self.kind == "none" or not self._fakes:
            return logits
        with context:
            generated = [run.logits(batch.fake.x, batch.fake.y) for batch in self._fakes]
        return logits - _mean(run, torch.cat(generated))


def _mean(run: LiveRun, logits: Tensor) -> Tensor:
    """Returns the mean of logits [B] over all ranks, a scalar on the device."""
    return run.group.sum(logits.mean()) / run.world_size
