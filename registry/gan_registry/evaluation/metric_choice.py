"""What is measured and against what: metrics by name, and a choice of real samples."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gan_registry.catalogs import HOST, Catalogs
from gan_registry.config.schema import Config
from gan_registry.datasets.base import Dataset
from gan_registry.errors import UserError
from gan_registry.evaluation import joined_metrics
from gan_registry.metrics.base import Metric, MetricContext
from gan_registry.metrics.prdc import PRDC

NUM_REAL = 50_000
"""Real samples that are compared with, at most."""

SEED = 0
"""All randomness of a measurement follows from it, and not from the run's seed: runs of several
seeds are measured by the same classifier, against the same real samples."""


@dataclass
class Entry:
    """A metric that was asked for.

    Attributes:
        label: Its name, or the names of those that were joined.
        owner: Who registered it.
        metric: None before it is built and once it was left out.
    """

    label: str
    owner: str
    metric: Metric | None = None

    @property
    def title(self) -> str:
        """What to call it in messages."""
        author = "" if self.owner == HOST else f" of {self.owner!r}"
        return f"The metric {self.label!r}{author}"


def refuse_double(entry: Entry, others: Sequence[Entry]) -> None:
    """Refuses a metric that measures the same as another by other means, before anything is done.

    The host's metrics with the same results do, but for those of manifolds, which are joined. Of
    others' one can't tell until they are computed: what one gives overall, another may give by
    group.

    Raises:
        UserError: It would give the same results.
    """
    for other in others:
        if common := [name for name in _own_results(entry) if name in _own_results(other)]:
            raise UserError(
                f"{entry.title} and the metric {other.label!r} both give "
                f"{', '.join(map(repr, common))}; ask for one of them at a time."
            )


def _own_results(entry: Entry) -> Sequence[str]:
    if entry.metric is None or entry.owner != HOST or isinstance(entry.metric, PRDC):
        return ()
    return list(entry.metric.directions)


OWN_DATA = ("arrays_file", "image_folder")
"""Datasets of images of one's own, which are measured though nobody asks for it."""


def metrics_of_run(config: Config, dataset: Dataset) -> list[str]:
    """Returns what a run is measured by at its end: `RUN.eval_metrics`.

    Where that is not given at all, images of one's own are measured by what a person needs: how
    alike they are, how much of the data is covered, and how often each class is made.
    """
    settings = config.RUN
    if "eval_metrics" in settings.model_fields_set or config.DATA.name not in OWN_DATA:
        return list(settings.eval_metrics)
    if dataset.kind != "image":
        return []
    names = ["fid", "precision", "recall", "coverage"]
    return names + counted_by_classifier(dataset, settings.eval_features)


def counted_by_classifier(dataset: Dataset, features: str) -> list[str]:
    """Returns the metric that counts groups that no rule tells apart, where the features allow."""
    known = dataset.groups is not None and len(dataset.group_names) > 1
    if known and not dataset.can_classify and features in ("auto", "classifier"):
        return ["occurrence_classifier"]
    return []


def missing_for_more(config: Config, result: Mapping[str, Any]) -> str:
    """Says what published FIDs would take, where images of one's own were measured without."""
    features = (result.get("features") or {}).get("name")
    if "eval_metrics" in config.RUN.model_fields_set or config.DATA.name not in OWN_DATA:
        return ""
    if features in (None, "inception", "clean"):
        return ""
    install = "" if find_spec("pytorch_fid") else "pip install 'diagan-plugin[metrics]', then "
    return (
        f"These numbers are by the features {features} and compare runs on these data alone. For "
        f"FIDs as they are published: {install}gan-registry evaluate --run DIR --features inception"
    )


def standard_metrics(dataset: Dataset, features: str = "raw") -> list[str]:
    """Returns what is measured of a dataset unless something else is asked for.

    `features` are what the metrics will see, as a user names them.
    """
    names = ["fid", "kid", "precision", "recall", "density", "coverage"]
    if dataset.groups is not None and dataset.group_names:
        names.append("partial_recall")
        if dataset.can_classify:
            names.append("group_precision")
    return names + counted_by_classifier(dataset, features)


def choose_indices(length: int, num: int) -> NDArray[np.int64]:
    """Chooses `num` of `length` samples by `SEED`, in their order; all if there are no more."""
    if num >= length:
        return np.arange(length, dtype=np.int64)
    rng = np.random.Generator(np.random.PCG64(np.random.SeedSequence([SEED, length, num])))
    return np.sort(rng.choice(length, num, replace=False)).astype(np.int64)


def joinable_metrics(has_groups: bool, knows_groups: bool) -> set[str]:
    """Returns the metrics that may be joined: those that won't be refused on their own."""
    names = set(joined_metrics.METRICS)
    if not has_groups:
        names -= {"partial_recall"}
    if not (has_groups and knows_groups):
        names -= {"group_precision"}
    return names


def factories(
    names: Sequence[str], catalogs: Catalogs, joinable: set[str]
) -> list[tuple[str, str, Callable[[MetricContext], Any]]]:
    """Returns label, owner and factory of each metric, manifolds joined."""
    found: list[tuple[str, str, Callable[[MetricContext], Any]]] = []
    joined = [name for name in names if name in joinable]
    for name in names:
        factory, owner = catalogs.metrics[name], catalogs.metrics.owner(name)
        if name not in joined:
            found.append((name, owner, factory))
        elif name == joined[0]:
            found.append((", ".join(joined), owner, joined_metrics.join(joined)))
    return found
