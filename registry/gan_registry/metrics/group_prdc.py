"""Recall and precision by group: does the generator miss a minority, does it draw it badly?

Partial recall is the share of a group's real samples that lie in the manifold of *all* generated
samples (Lee et al., 2021, §3.2 and Figure 1e; Table 6 for attributes of CelebA). Precision
by group is the share, of the generated samples that the dataset classifies into the group, that
lie in the manifold of *all* real samples. Manifolds are those of precision and recall with k = 3
(:mod:`~gan_registry.metrics.prdc`).
"""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from torch import Tensor

from gan_registry.errors import UserError
from gan_registry.metrics.base import Batch, Directions, MetricContext, Needs
from gan_registry.metrics.prdc import PRDC


def shares(inside: Tensor, groups: object) -> dict[int, float]:
    """Computes the share of `inside`, bool [N], in each group, int [N], that is not negative.

    Raises:
        ValueError: The lengths differ.
    """
    of = torch.as_tensor(groups).to(inside.device, torch.int64)
    if of.shape != inside.shape:
        raise ValueError(
            f"Argument `groups` must have the shape {list(inside.shape)}, but got {list(of.shape)}."
        )
    known = of >= 0
    sizes = of[known].bincount()
    hits = of[known & inside].bincount(minlength=len(sizes))
    pairs = zip(hits.tolist(), sizes.tolist(), strict=True)
    return {group: hit / size for group, (hit, size) in enumerate(pairs) if size}


class _ByGroup(PRDC):
    """What both metrics have in common: groups of one side's samples, and results by name."""

    needs: ClassVar[frozenset[Needs]] = frozenset({"features", "groups"})
    value: ClassVar[str]  # what it is called within each group

    def __init__(self, context: MetricContext) -> None:
        super().__init__(context)
        if not context.group_names:
            raise UserError(
                f"The dataset has no groups, so there is no {self.title}: leave that metric out, "
                "or take a dataset with groups."
            )
        self._groups: list[Tensor] = []

    def compute(self) -> dict[str, Any]:
        """Returns, under `groups`, the value of each group that has any samples.

        Raises:
            UserError: There are too few samples, or features that are NaN or infinite.
        """
        inside = self.by_sample()[self.results[0]]
        if not self._groups:
            return {"groups": {}}
        by_number = shares(inside, torch.cat(self._groups))
        names = self.context.group_names
        return {"groups": {names[number]: {self.value: by_number[number]} for number in by_number}}

    def _keep_groups(self, batch: Batch) -> None:
        if batch.groups is None:
            raise ValueError("Argument `batch` must have groups, but got None.")
        self._groups.append(batch.groups.detach())


class PartialRecall(_ByGroup):
    """Share of each group's real samples inside the manifold of all generated ones (k = 3)."""

    directions: ClassVar[Directions] = {"partial_recall": "up"}
    title = "partial recall"
    results = ("recall",)
    value = "partial_recall"

    def update_real(self, batch: Batch) -> None:
        """Keeps features and groups of some real samples."""
        super().update_real(batch)
        self._keep_groups(batch)


class GroupPrecision(_ByGroup):
    """Share of each group's generated samples inside the manifold of all real ones (k = 3).

    A group that the generator never draws has no precision.
    """

    directions: ClassVar[Directions] = {"precision": "up"}
    title = "precision by group"
    results = ("precision",)
    value = "precision"

    def update_fake(self, batch: Batch) -> None:
        """Keeps features and groups of some generated samples."""
        super().update_fake(batch)
        self._keep_groups(batch)

    def reset_fake(self) -> None:
        """Forgets the generated samples."""
        super().reset_fake()
        self._groups = []
