"""The Inception Score (Salimans et al., 2016): sure of each sample, and all classes in use.

    IS = exp(mean over samples of KL(p(y|x) ‖ p(y))),    p(y) = mean over samples of p(y|x).

It lies between 1 (all samples alike to the classifier, or it never knows) and the number of classes
(each sample surely of one class, all classes equally frequent). The KL divergence is the difference
of two entropies, so sums over samples are all that needs to be kept.

As published, the score is averaged over 10 splits. There split i holds the i-th tenth of the
samples; here sample j goes to split j mod 10. For samples in random order that makes no difference
but chance, for samples in the order of their classes it is the only sensible way, and a stream
needs no known length.
"""

from __future__ import annotations

from typing import Any, ClassVar, NamedTuple

import torch
from torch import Tensor

from gan_registry.errors import UserError
from gan_registry.metrics.base import Batch, Directions, Metric, MetricContext, Needs
from gan_registry.metrics.feature_moments import Array, as_matrix
from gan_registry.metrics.fitting import check_count, check_finite

SPLITS = 10
_BLOCK_BYTES = 1 << 25  # of probabilities in float64 handled at once
# What rounding leaves of a sum of 1: bfloat16 keeps 8 bits of each summand.
_SUM = 0.02


class InceptionScores(NamedTuple):
    """Inception Scores of one set of samples.

    Attributes:
        mean: Over the splits: the published score.
        std: Standard deviation over the splits (divisor: their number), as published.
        whole: Of all samples as one set. A split's score is too low, more so the smaller it is.
    """

    mean: float
    std: float
    whole: float


class EntropySums:
    """What the score is made of, for each split: sums over samples in float64, splits·C numbers.

    Args:
        splits: Number of splits, at least 1.
        device: Where to compute; without float64 there (MPS), on the CPU.

    Attributes:
        count: How many samples came so far.
    """

    def __init__(self, splits: int = SPLITS, device: torch.device | str = "cpu") -> None:
        if splits < 1:
            raise ValueError(f"Argument `splits` must be at least 1, but got {splits}.")
        device = torch.device(device)
        self.device = torch.device("cpu") if device.type == "mps" else device
        self.splits = splits
        self.clear()

    def clear(self) -> None:
        """Forgets all samples."""
        self.count = 0
        # Not finite, and no probabilities.
        self._bad = torch.zeros(2, dtype=torch.int64, device=self.device)
        self._entropy = torch.zeros(self.splits, dtype=torch.float64, device=self.device)
        self._sum: Tensor | None = None  # [splits, C]

    def update(self, probabilities: Array) -> None:
        """Takes the class probabilities of some samples in, [b, C]; b may be 0.

        Raises:
            TypeError: They are no real numbers.
            ValueError: They are no matrix, or C is 0 or not that of the earlier ones.
        """
        matrix = as_matrix(probabilities, "probabilities")
        classes = matrix.shape[1]
        if classes == 0 or (self._sum is not None and self._sum.shape[1] != classes):
            wanted = "at least 1" if self._sum is None else self._sum.shape[1]
            raise ValueError(
                f"Argument `probabilities` must have {wanted} columns, but got {classes}."
            )
        # State that is made in inference mode could not be updated outside of it.
        with torch.inference_mode(False), torch.no_grad():
            if self._sum is None:
                self._sum = torch.zeros(
                    self.splits, classes, dtype=torch.float64, device=self.device
                )
            size = max(_BLOCK_BYTES // (8 * classes), 1)
            for start in range(0, len(matrix), size):
                block = matrix[start : start + size].to(self.device, torch.float64)
                self._add(block, self._sum)

    def _add(self, rows: Tensor, sums: Tensor) -> None:
        finite = torch.isfinite(rows).all(dim=1)
        totals = rows.sum(dim=1)
        fair = (rows >= 0).all(dim=1) & ((totals - 1.0).abs() <= _SUM)
        self._bad = self._bad + torch.stack([(~finite).sum(), (finite & ~fair).sum()])
        rows = rows / totals[:, None]
        split = (torch.arange(len(rows), device=self.device) + self.count) % self.splits
        sums.index_add_(0, split, rows)
        self._entropy = self._entropy.index_add(0, split, -torch.xlogy(rows, rows).sum(dim=1))
        self.count += len(rows)

    def scores(self) -> InceptionScores:
        """Returns the scores.

        Raises:
            UserError: There are fewer samples than splits, or rows were no probabilities.
        """
        check_count("inception_score", "generated", self.count, self.splits)
        bad, unfair = self._bad.tolist()
        check_finite("inception_score", "generated", bad, self.count)
        if unfair:
            raise UserError(
                f"The metric inception_score got class probabilities that are negative or do not "
                f"sum to 1 for {unfair:,} of {self.count:,} generated samples; the feature "
                "extractor must return probabilities, not logits."
            )
        assert self._sum is not None
        sizes = torch.arange(self.splits, device=self.device).neg().add(self.count - 1)
        sizes = sizes.div(self.splits, rounding_mode="floor").add(1).to(torch.float64)
        each = _score(self._sum, self._entropy, sizes)
        whole = _score(
            self._sum.sum(dim=0, keepdim=True), self._entropy.sum(0, True), sizes.sum(0, True)
        )
        return InceptionScores(
            float(each.mean()), float(each.std(correction=0)), float(whole.squeeze())
        )


class InceptionScore(Metric):
    """The Inception Score in streaming form, from the extractor's class probabilities.

    Real samples play no part. With another classifier than InceptionV3's it is a score of its own,
    to be compared only with others by that classifier.
    """

    needs: ClassVar[frozenset[Needs]] = frozenset({"probabilities"})
    directions: ClassVar[Directions] = {
        "inception_score": "up",
        "inception_score_std": "none",
        "inception_score_whole": "up",
    }

    def __init__(self, context: MetricContext) -> None:
        super().__init__(context)
        self._sums = EntropySums(SPLITS, context.device)

    def update_real(self, batch: Batch) -> None:
        """Does nothing."""

    def update_fake(self, batch: Batch) -> None:
        """Takes the class probabilities of some generated samples in."""
        assert batch.probabilities is not None
        self._sums.update(batch.probabilities)

    def reset_fake(self) -> None:
        """Forgets the generated samples."""
        self._sums.clear()

    def compute(self) -> dict[str, Any]:
        """Returns `inception_score`, `inception_score_std` (over 10 splits) and `…_whole`.

        Raises:
            UserError: There are fewer than 10 samples, or rows were no probabilities.
        """
        scores = self._sums.scores()
        return {
            "inception_score": scores.mean,
            "inception_score_std": scores.std,
            "inception_score_whole": scores.whole,
        }


def _score(sums: Tensor, entropies: Tensor, sizes: Tensor) -> Tensor:
    """Returns the score of each split, [splits], from sums over its samples."""
    marginal = sums / sizes[:, None]
    divergence = -torch.xlogy(marginal, marginal).sum(dim=1) - entropies / sizes
    # Where it is 0, rounding may leave a little less than that.
    return divergence.clamp(min=0.0).exp()
