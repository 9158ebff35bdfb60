"""The sampler `instance_selection`: uniform among the samples that are kept."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray

from diagan_plugin.remedies.instance_selection.options import NAME
from diagan_plugin.remedies.instance_selection.selection import select_instances, selected_counts
from gan_registry.datasets.labels import labels_of
from gan_registry.errors import UserError
from gan_registry.features.base import FeatureContext
from gan_registry.features.choose import extractor_for
from gan_registry.features.store import real_features
from gan_registry.files import cache_folder
from gan_registry.samplers.uniform import UniformSampler

if TYPE_CHECKING:
    from gan_registry.live_run import LiveRun


class SelectedSampler(UniformSampler):
    """Visits each of the `num_samples` kept once an epoch, in a new order each epoch.

    Which ones those are `select` finds out at the first draw, as a run that is only opened to
    sample from it needs no features; it is kept in the state.
    """

    name: ClassVar[str] = NAME

    def __init__(
        self, num_samples: int, select: Callable[[], NDArray[np.int64]], seed: int = 0
    ) -> None:
        super().__init__(num_samples, seed)
        self._select = select
        self._kept: NDArray[np.int64] | None = None

    @property
    def kept(self) -> NDArray[np.int64]:
        """Dataset indices of the samples kept, int64 [M], ascending."""
        if self._kept is None:
            self._kept = self._select()
        return self._kept

    def draw(self, start: int, stop: int) -> NDArray[np.int64]:
        """Returns the dataset indices at stream positions [start, stop), int64."""
        return self.kept[super().draw(start, stop)]

    def state_dict(self) -> dict[str, Any]:
        """Returns which samples are kept, if that is known by now."""
        return {} if self._kept is None else {"kept": torch.from_numpy(self._kept)}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restores it."""
        if "kept" in state:
            self._kept = state["kept"].numpy()


def build_sampler(run: LiveRun) -> SelectedSampler:
    """Builds the sampler `instance_selection` of a run.

    Raises:
        UserError: Fewer samples than a batch would be left.
    """
    options, dataset = run.options[NAME], run.dataset
    # Classes, not groups: those are there to judge a run, never to train it.
    by_class = options["within"] == "class" and dataset.num_classes > 1
    labels = labels_of(dataset) if by_class else np.zeros(len(dataset), np.int64)
    count = int(selected_counts(labels, options["share"]).sum())
    if count < run.batch_size:
        raise UserError(
            f"--instance-selection-share {options['share']:g} leaves {count} of {len(dataset)} "
            f"samples, fewer than a batch of {run.batch_size}; raise it."
        )

    def select() -> NDArray[np.int64]:
        features = _features(run)
        found = select_instances(
            features, options["share"], labels, options["density"], options["k"]
        )
        # Rank 0's, as features may differ in their last bits from one device to another.
        kept = torch.from_numpy(found).to(run.device)
        return run.group.sum(kept if run.rank == 0 else kept.zero_()).cpu().numpy()

    return SelectedSampler(count, select, run.seed)


def _features(run: LiveRun) -> NDArray[np.float32]:
    # Not by the run's seed: runs of several seeds are to see the same data.
    cache = cache_folder()
    context = FeatureContext(run.dataset, run.device, cache, seed=0)
    extractor = extractor_for(run.options[NAME]["features"], run.plugins.catalogs, context)
    found = real_features(extractor, run.dataset, cache=cache, device=run.device)
    features: NDArray[np.float32] = found.features.numpy()
    return features
