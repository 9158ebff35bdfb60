"""The Fréchet distance by group: how well are the samples of a minority made?"""

from __future__ import annotations

from typing import Any, ClassVar, NamedTuple

import torch

from gan_registry.metrics.base import Batch, Directions, Metric, MetricContext, Needs
from gan_registry.metrics.feature_moments import Array, Moments, as_matrix
from gan_registry.metrics.fitting import check_count, check_finite
from gan_registry.metrics.frechet import MIN_SAMPLES, between, fid


class ExtremeFids(NamedTuple):
    """The Fréchet distances of the training samples that some values set apart.

    Attributes:
        lowest: Of those with the lowest values to all generated samples.
        highest: Of those with the highest.
        size: How many samples each of the two groups has.
    """

    lowest: float
    highest: float
    size: int


def partial_fid_of_extremes(
    real_features: Array, fake_features: Array, values: Array, share: float = 0.1
) -> ExtremeFids:
    """Computes the partial FID of the training samples of lowest and of highest value.

    Lee et al. (2021, section 4.2) do so with a score of how badly a sample is learnt, at which
    the distance of the highest on CIFAR-10 was 94.64 and that of the lowest 22.43. They do not say
    how large their groups are.

    Args:
        real_features: Features of training samples, [n, D] of any real type.
        fake_features: Of generated samples, [m, D], m ≥ 2.
        values: A number for each training sample, [n]. Samples whose number is NaN are left out.
        share: Share of the n samples in each group, in (0, 0.5].

    Raises:
        TypeError: Something holds no real numbers.
        ValueError: Shapes do not match, features are not finite, `share` is out of range, or a
            group has fewer than 2 samples.
    """
    if not 0.0 < share <= 0.5:
        raise ValueError(f"Argument `share` must be in (0, 0.5], but got {share}.")
    real, numbers = as_matrix(real_features, "real_features"), as_matrix(values, "values", 1)
    if len(numbers) != len(real):
        raise ValueError(
            f"Argument `values` must have a number for each of {len(real)} samples, but got "
            f"{len(numbers)}."
        )
    known = torch.nonzero(~torch.isnan(numbers)).flatten().to(real.device)
    # Stable, so that the samples are the same on every machine where values are equal.
    order = known[torch.sort(numbers.to(real.device)[known], stable=True).indices]
    count = min(round(share * len(real)), len(order) // 2)
    if count < MIN_SAMPLES:
        raise ValueError(
            f"Argument `share` must leave at least {MIN_SAMPLES} samples in a group, but {share} "
            f"of {len(order)} samples with a value leaves {count}."
        )
    lowest, highest = (fid(real[rows], fake_features) for rows in (order[:count], order[-count:]))
    return ExtremeFids(lowest, highest, count)


class PartialFid(Metric):
    """The Fréchet distance by group, in streaming form: two numbers for each group.

    * `partial_fid`: the group's real samples against those generated samples that the dataset
      classifies into the group. How well a group is made, whatever its share.
    * `partial_fid_to_all`: the group's real samples against all generated samples, as in Lee et al.
      (2021, section 4.2, "FID measured with a subset of training samples"). It compares groups of
      equal size or one group between generators; it isn't 0 for a perfect generator.

    A number is None where it can't be told: fewer than 2 samples of the group are real, or, for
    `partial_fid`, fewer than 2 were generated. A generator that makes none of a group thus has no
    `partial_fid` there rather than a bad one; its share of the group, its partial recall and
    `partial_fid_to_all` show that it is missing. With few samples both are biased upwards, as is
    the FID, so compare generators with the same number of samples.

    Keeps the moments of each group, see :class:`Moments`.
    """

    needs: ClassVar[frozenset[Needs]] = frozenset({"features", "groups"})
    directions: ClassVar[Directions] = {"partial_fid": "down", "partial_fid_to_all": "down"}

    def __init__(self, context: MetricContext) -> None:
        super().__init__(context)
        self._real = [Moments(context.device) for _ in context.group_names]
        self._fake = [Moments(context.device) for _ in context.group_names]
        self._all = Moments(context.device)

    def update_real(self, batch: Batch) -> None:
        """Takes the features and groups of some real samples in."""
        self._update(self._real, batch)

    def update_fake(self, batch: Batch) -> None:
        """Takes the features and groups of some generated samples in."""
        assert batch.features is not None
        self._update(self._fake, batch)
        self._all.update(batch.features)

    def reset_fake(self) -> None:
        """Forgets the generated samples."""
        for moments in (*self._fake, self._all):
            moments.clear()

    def compute(self) -> dict[str, Any]:
        """Returns `groups`: group name → (`partial_fid`, `partial_fid_to_all`).

        Raises:
            UserError: There are fewer than 2 generated samples, or some samples are not finite.
        """
        for kind, parts in (("real", self._real), ("generated", [self._all])):
            total = sum(moments.count for moments in parts)
            check_finite("partial_fid", kind, sum(moments.bad for moments in parts), total)
        check_count("partial_fid", "generated", self._all.count, MIN_SAMPLES)
        groups = {}
        for number, name in enumerate(self.context.group_names):
            self.context.progress("Partial FID", number, len(self._real))
            real = self._real[number]
            groups[name] = {
                key: None if min(real.count, fake.count) < MIN_SAMPLES else between(real, fake)
                for key, fake in (
                    ("partial_fid", self._fake[number]),
                    ("partial_fid_to_all", self._all),
                )
            }
        self.context.progress("Partial FID", len(self._real), len(self._real))
        return {"groups": groups}

    def _update(self, parts: list[Moments], batch: Batch) -> None:
        assert batch.features is not None
        assert batch.groups is not None
        for number in set(batch.groups.tolist()):
            if 0 <= number < len(parts):
                parts[number].update(batch.features[batch.groups == number])
