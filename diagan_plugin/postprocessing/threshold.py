"""Threshold rejection: only what the discriminator rates high enough is kept.

The simplest of all corrections, as in the replication of f-GANs on MNIST (§5.1 there): of each
generated batch the samples with a discriminator score above a threshold are kept. It raises
precision at the expense of recall. Nothing is corrected towards the data: what the generator makes
too often *and* well stays too frequent, and what D rates low is lost altogether.
"""

from __future__ import annotations

import math

import numpy as np

from diagan_plugin.arguments import as_real, as_whole
from diagan_plugin.postprocessing.streaming import (
    Proposal,
    Propose,
    SampleStream,
    no_finite_logit,
    rows,
)

_METHOD = "Threshold rejection"


class ThresholdSampler(SampleStream):
    """An endless source of the samples that D rates at a threshold or above.

    What all samplers have in common, further arguments too, is told at
    :class:`~diagan_plugin.postprocessing.streaming.SampleStream`. Only the order of the logits
    counts, so they need not be a density ratio.

    Args:
        threshold: The smallest logit that is kept; D = σ(logit), so 0 stands for D = 0.5. None
            takes a percentile.
        percentile: With `threshold=None`, this percentile of the logits of the burn-in, in
            [0, 100): the share that is thrown away. Logits of NaN and +inf don't count for it.
        burn_in: The number of proposals (in whole batches) for it; they are not kept.

    Attributes:
        threshold: The threshold; None before the burn-in.

    Example:
        >>> noise = torch.Generator().manual_seed(1)
        >>> def propose(n):
        ...     x = torch.randn(n, generator=noise)
        ...     return x, x
        >>> batch = next(ThresholdSampler(propose, threshold=1.5).sample(10))
        >>> bool((batch.x >= 1.5).all())
        True
    """

    def __init__(
        self,
        propose: Propose,
        *,
        threshold: float | None = None,
        percentile: float = 50.0,
        burn_in: int = 10_000,
        batch_size: int = 256,
        floor: float = 1e-4,
    ) -> None:
        super().__init__(propose, batch_size=batch_size, floor=floor)
        threshold = None if threshold is None else as_real("threshold", threshold)
        percentile, burn_in = as_real("percentile", percentile), as_whole("burn_in", burn_in, 1)
        if threshold is not None and not math.isfinite(threshold):
            raise ValueError(f"Argument `threshold` must be finite or None, but got {threshold}.")
        if not 0 <= percentile < 100:
            raise ValueError(f"Argument `percentile` must lie in [0, 100), but got {percentile}.")
        self.threshold = threshold
        self.percentile = percentile
        self.burn_in = burn_in

    def _accept(self) -> Proposal:
        if self.threshold is None:
            self.threshold = self._run_burn_in()
        while True:
            batch = self._draw()
            kept = (batch.logits >= self.threshold).nonzero().flatten()
            self.proposed += self.batch_size
            self.accepted += len(kept)
            self._check_floor(
                _METHOD,
                f"Lower the threshold (now the logit {self.threshold:.3g}) or take a lower "
                "percentile; or lower the floor to go on at this rate.",
            )
            if len(kept):
                return rows(batch, kept)
            if self.invalid == self.proposed and self.proposed >= self.burn_in:
                raise no_finite_logit(_METHOD, self.proposed)

    def _run_burn_in(self) -> float:
        logits = self._burn_in(self.burn_in)
        usable = logits[~logits.isnan()].numpy()
        if not np.isfinite(usable).any():
            raise no_finite_logit(_METHOD, len(logits))
        # "higher": a value that occurs, so that ties with it are kept rather than lost.
        return float(np.percentile(usable, self.percentile, method="higher"))
