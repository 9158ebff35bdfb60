"""Instance selection: trains on the densest part of the data only (DeVries et al., 2020).

DeVries, Drozdzal and Taylor, *Instance Selection for GANs*, arXiv:2007.15255. Samples in sparse
regions of a feature space are never drawn: more fidelity from a smaller network, at the price of
diversity. The opposite of what Dia-GAN does, and here for contrast. It is a sampler: the dataset
stays whole, so that metrics and shares of groups are those of all the data.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from diagan_plugin.flags import at_least, share
from diagan_plugin.remedies.instance_selection.density import (
    gaussian_log_density,
    neighbour_density,
)
from gan_registry.errors import UserError
from gan_registry.hookspecs import hookimpl

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import ArrayLike, NDArray

    from gan_registry.catalogs import Catalogs
    from gan_registry.training.run import Run

NAME = "instance_selection"
DENSITIES = ("gaussian", "knn")


def selected_counts(labels: ArrayLike, share: float) -> NDArray[np.int64]:
    """Returns how many samples of each class are kept: its share, rounded, and at least one.

    Args:
        labels: Class of each sample, [N].
        share: In (0, 1].

    Returns:
        int64 [number of classes that occur], by ascending class.
    """
    import numpy as np

    sizes = np.unique(np.asarray(labels), return_counts=True)[1]
    counts: NDArray[np.int64] = np.maximum(np.rint(share * sizes), 1).astype(np.int64)
    return counts


def select_instances(
    features: ArrayLike,
    share: float,
    labels: ArrayLike | None = None,
    density: str = "gaussian",
    k: int = 5,
) -> NDArray[np.int64]:
    """Chooses the densest share of the samples, of each class for itself.

    Args:
        features: Finite numbers, [N, D]; a perceptual embedding, as density among pixels says
            little.
        share: Share to keep, in (0, 1].
        labels: Class of each sample, [N]; None takes all for one class.
        density: "gaussian" or "knn".
        k: Neighbours, for "knn".

    Returns:
        Indices of the samples kept, int64 and ascending; of equally dense ones the first.

    Raises:
        ValueError: An argument is out of range, or features are not finite.
    """
    import numpy as np

    x = np.asarray(features)
    if x.ndim != 2 or not len(x) or not np.isfinite(x).all():
        raise ValueError(
            f"Argument `features` must be finite numbers [N, D], but got {list(x.shape)}."
        )
    if not 0.0 < share <= 1.0:
        raise ValueError(f"Argument `share` must be in (0, 1], but got {share}.")
    if density not in DENSITIES:
        raise ValueError(f"Argument `density` must be one of {DENSITIES}, but got {density!r}.")
    if k < 1:
        raise ValueError(f"Argument `k` must be at least 1, but got {k}.")
    classes = np.zeros(len(x), np.int64) if labels is None else np.asarray(labels)
    if classes.shape != (len(x),):
        raise ValueError(f"Argument `labels` must be [{len(x)}], but got {list(classes.shape)}.")
    kept = []
    for label, count in zip(np.unique(classes), selected_counts(classes, share), strict=True):
        members = np.flatnonzero(classes == label)
        part = x[members]
        score = gaussian_log_density(part) if density == "gaussian" else neighbour_density(part, k)
        kept.append(members[np.argsort(-score, kind="stable")[:count]])
    return np.sort(np.concatenate(kept))


class SelectedSampler:
    """Visits each of the samples kept once an epoch, in a new order each epoch.

    Which ones those are is found out at the first draw, as a run that is only opened to sample from
    it needs no features, and kept in the state.

    Args:
        num_samples: How many samples are kept, M.
        select: Returns their dataset indices, int64 [M].
        seed: The run's seed.
    """

    def __init__(
        self, num_samples: int, select: Callable[[], NDArray[np.int64]], seed: int = 0
    ) -> None:
        from gan_registry.samplers.uniform import UniformSampler

        self.num_samples = num_samples
        self._uniform = UniformSampler(num_samples, seed)
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
        return self.kept[self._uniform.draw(start, stop)]

    def set_weights(self, weights: NDArray[np.float64], start: int) -> None:
        """Refuses: the samples kept are drawn uniformly.

        Raises:
            UserError: Always.
        """
        raise UserError(f"The sampler {NAME!r} takes no weights; choose --sampler dia for those.")

    def state_dict(self) -> dict[str, Any]:
        """Returns which samples are kept, if that is known by now."""
        import torch

        return {} if self._kept is None else {"kept": torch.from_numpy(self._kept)}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restores it."""
        if "kept" in state:
            self._kept = state["kept"].numpy()


def build_sampler(run: Run) -> SelectedSampler:
    """Builds the sampler `instance_selection` of a run.

    Raises:
        UserError: Fewer samples than a batch would be left.
    """
    import numpy as np

    from gan_registry.datasets.labels import labels_of

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
        import torch

        features = _features(run)
        found = select_instances(
            features, options["share"], labels, options["density"], options["k"]
        )
        # Rank 0's, as features may differ in their last bits from one device to another.
        kept = torch.from_numpy(found).to(run.device)
        return run.group.sum(kept if run.rank == 0 else kept.zero_()).cpu().numpy()

    return SelectedSampler(count, select, run.seed)


def _features(run: Run) -> NDArray[np.float32]:
    from gan_registry.features.base import FeatureContext
    from gan_registry.features.choose import extractor_for
    from gan_registry.features.store import real_features
    from gan_registry.files import cache_folder

    # Not by the run's seed: runs of several seeds are to see the same data.
    cache = cache_folder()
    context = FeatureContext(run.dataset, run.device, cache, seed=0)
    extractor = extractor_for(run.options[NAME]["features"], run.plugins.catalogs, context)
    found = real_features(extractor, run.dataset, cache=cache, device=run.device)
    features: NDArray[np.float32] = found.features.numpy()
    return features


class InstanceSelectionPlugin:
    """Instance selection as a sampler of the host's."""

    @hookimpl
    def gan_add_options(self, parser: argparse.ArgumentParser) -> None:
        """Adds `--instance-selection-…`."""
        group = parser.add_argument_group(
            "Instance selection", "train on the densest part of the data (--sampler "
            "instance_selection)",
        )  # fmt: skip
        group.add_argument(
            "--instance-selection-share", dest=f"{NAME}.share", type=share, default=0.5,
            metavar="SHARE", help="share of the samples that is kept",
        )  # fmt: skip
        group.add_argument(
            "--instance-selection-within", dest=f"{NAME}.within", choices=("class", "all"),
            default="class", help="keep that share of each class, or of all samples together",
        )  # fmt: skip
        group.add_argument(
            "--instance-selection-density", dest=f"{NAME}.density", choices=DENSITIES,
            default="gaussian", help="how density is measured",
        )  # fmt: skip
        group.add_argument(
            "--instance-selection-k", dest=f"{NAME}.k", type=at_least(int, 1), default=5,
            metavar="K", help="which neighbour's distance counts, with knn",
        )  # fmt: skip
        group.add_argument(
            "--instance-selection-features", dest=f"{NAME}.features", type=str, default="auto",
            metavar="NAME|FILE", help="the space: a feature extractor or a TorchScript file",
        )  # fmt: skip

    @hookimpl
    def gan_register(self, catalogs: Catalogs) -> None:
        """Adds the sampler `instance_selection`."""
        catalogs.samplers.register(NAME, f"{__name__}:build_sampler")

    @hookimpl
    def gan_build(self, run: Run) -> None:
        """Refuses options that would do nothing."""
        sampler = run.config.RUN.sampler
        if sampler == NAME:
            return
        for option in run.plugins.options:
            if option.plugin == NAME and run.options[NAME][option.name] != option.default:
                raise UserError(
                    f"{option.flag} belongs to --sampler {NAME}, and the run draws by --sampler "
                    f"{sampler}: choose one of the two."
                )

    @hookimpl
    def gan_plan(self, run: Run) -> Mapping[str, Any] | None:
        """Says how many samples will be drawn from."""
        if run.config.RUN.sampler != NAME:
            return None
        return {"samples kept": f"{run.sampler.num_samples} of {len(run.dataset)}"}

    @hookimpl
    def gan_result(self, run: Run) -> Mapping[str, Any] | None:
        """Adds how many samples of each group were kept."""
        if run.config.RUN.sampler != NAME or not isinstance(run.sampler, SelectedSampler):
            return None
        kept, dataset = run.sampler.kept, run.dataset
        entry: dict[str, Any] = {"samples": len(kept), "share": len(kept) / len(dataset)}
        if dataset.groups is not None:
            groups = dataset.groups[kept]
            entry["share_of_groups"] = {
                name: float((groups == number).mean())
                for number, name in enumerate(dataset.group_names)
            }
        return {NAME: entry}
