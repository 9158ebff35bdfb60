"""What metrics that need all features at once have in common: they keep them."""

from __future__ import annotations

from abc import abstractmethod
from typing import ClassVar

import torch
from torch import Tensor

from gan_registry.errors import UserError
from gan_registry.metrics.base import Batch, Metric, MetricContext
from gan_registry.metrics.distances import count_not_finite


class CollectedFeatures(Metric):
    """Keeps the features of real and generated samples on the context's device.

    Memory: the features, in the dtype they come in, and while :meth:`compute` joins the batches of
    one side, that side's once more.

    Attributes:
        title: What the metric is called in messages.
    """

    title: ClassVar[str]

    def __init__(self, context: MetricContext) -> None:
        super().__init__(context)
        self._batches: dict[str, list[Tensor]] = {"real": [], "generated": []}

    def update_real(self, batch: Batch) -> None:
        """Keeps the features of some real samples."""
        self._keep("real", batch)

    def update_fake(self, batch: Batch) -> None:
        """Keeps the features of some generated samples."""
        self._keep("generated", batch)

    def reset_fake(self) -> None:
        """Forgets the generated samples."""
        self._batches["generated"] = []

    @abstractmethod
    def minimum(self, side: str) -> int:
        """Returns how many samples it takes at least of a side, "real" or "generated"."""

    def features(self, side: str) -> Tensor:
        """Returns all features of a side, [N, D].

        Args:
            side: "real" or "generated".

        Raises:
            UserError: There are too few samples, or features that are NaN or infinite.
        """
        batches, minimum = self._batches[side], self.minimum(side)
        count = sum(len(batch) for batch in batches)
        if count < minimum:
            raise UserError(
                f"{self.title} takes at least {minimum} {side} samples, but there are {count}."
            )
        if len(batches) > 1:
            # The list is emptied as soon as its tensors are joined: they need not live on.
            joined = torch.cat(batches)
            batches[:] = [joined]
        features = batches[0]
        if invalid := count_not_finite(features):
            raise UserError(
                f"{invalid} of {count} {side} samples have features that are NaN or infinite, of "
                f"which {self.title} can't be computed: check the samples for NaN and the feature "
                "extractor for overflow."
            )
        return features

    def _keep(self, side: str, batch: Batch) -> None:
        features = batch.features
        if features is None or features.ndim != 2:
            shape = None if features is None else list(features.shape)
            raise ValueError(f"Argument `batch` must have features [B, D], but got {shape}.")
        for other, batches in self._batches.items():
            if batches and batches[0].shape[1] != features.shape[1]:
                raise UserError(
                    f"The features of {side} samples have {features.shape[1]} numbers, those of "
                    f"{other} samples seen before {batches[0].shape[1]}: take both from one "
                    "extractor."
                )
        self._batches[side].append(features.detach().to(self.context.device))
