"""Measures by several metrics at once: real data are read once, features extracted once."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from gan_registry.catalogs import HOST, Catalogs
from gan_registry.datasets.base import Dataset
from gan_registry.datasets.fetching import fetch, to_device
from gan_registry.errors import PluginError, UserError
from gan_registry.evaluation import manifolds
from gan_registry.evaluation.extractor import GuardedExtractor
from gan_registry.features.base import FeatureContext, Features
from gan_registry.features.store import extract, real_features
from gan_registry.metrics.base import Batch, Metric, MetricContext, Progress, no_progress

NUM_REAL = 50_000
"""Real samples that are compared with, at most."""

SEED = 0
"""All randomness of a measurement follows from it, and not from the run's seed: runs of several
seeds are measured by the same classifier, against the same real samples."""

_BATCH = 500

Groups = dict[str, dict[str, float | None]]


@dataclass
class _Entry:
    """A metric with what to call it, and who registered it; None once it was left out."""

    label: str
    owner: str
    metric: Metric | None

    @property
    def author(self) -> str:
        return "" if self.owner == HOST else f" of {self.owner!r}"


class MetricSuite:
    """Several metrics that share real samples, generated samples and features.

    Real samples are read first (:meth:`read_real`); then, for each set of generated samples,
    :meth:`start`, :meth:`update` for each batch, and :meth:`compute`.

    Beside what the metrics keep it takes n·D·4 bytes while it reads n real samples with D features,
    and one batch of generated samples. Metrics of manifolds are joined, see
    :mod:`~gan_registry.evaluation.manifolds`.

    Args:
        names: Names from the catalog `metrics`.
        catalogs: The catalogs, with those of plugins.
        dataset: The real data.
        features: A name from the catalog `features`, a TorchScript file, or "auto". The extractor
            is built only if a metric needs it.
        device: Where to compute.
        num_real: Real samples to compare with, at most; which ones follows from `SEED`.
        cache: Folder for what can be made again; None keeps nothing.
        strict: Raise if a metric can't be computed. Otherwise it is left out with a warning.
        progress: Told how far it is.

    Attributes:
        names: Metrics asked for, each once.
        num_real: How many real samples are compared with.
        features: `choice`, `name` and `identity` of the extractor; the last two None without one.

    Raises:
        UserError: A name is unknown; or, if strict, a metric or the extractor refuses the data.
        PluginError: What a plugin registered is no metric, or fails.
    """

    def __init__(
        self,
        names: Sequence[str],
        catalogs: Catalogs,
        dataset: Dataset,
        *,
        features: str = "auto",
        device: torch.device | str = "cpu",
        num_real: int = NUM_REAL,
        cache: Path | None = None,
        strict: bool = True,
        progress: Progress = no_progress,
    ) -> None:
        self.names = list(dict.fromkeys(names))
        self._dataset = dataset
        self._device = torch.device(device)
        self._cache = cache
        self._strict = strict
        self._progress = progress
        self._indices = choose_indices(len(dataset), num_real)
        self.num_real = len(self._indices)
        self._entries = [
            _Entry(label, owner, None) for label, owner, _ in _factories(self.names, catalogs)
        ]
        context = MetricContext(
            sample_shape=tuple(dataset.sample_shape),
            value_range=dataset.value_range,
            group_names=dataset.group_names if dataset.groups is not None else (),
            num_classes=dataset.num_classes,
            device=self._device,
            seed=SEED,
            progress=progress,
        )
        for entry, (_, _, factory) in zip(
            self._entries, _factories(self.names, catalogs), strict=True
        ):
            with self._calling(entry, "its factory"):
                entry.metric = _as_metric(factory(context), entry)
        self._refuse_rivals()
        self._extractor: GuardedExtractor | None = None
        self.features: dict[str, str | None] = {
            "choice": features, "name": None, "identity": None
        }  # fmt: skip
        if self._needing("features", "probabilities"):
            self._build_extractor(features, catalogs)
        self._count = 0
        self._used = False

    @property
    def directions(self) -> dict[str, str]:
        """Name of each result → "up", "down" or "none"."""
        return {
            key: value
            for entry in self._entries
            if entry.metric is not None
            for key, value in entry.metric.directions.items()
        }

    def read_real(self) -> None:
        """Shows the real samples to the metrics; their features come from the cache if there.

        Raises:
            UserError: Samples or features are not finite, or lack what a metric needs.
        """
        found = None
        if self._extractor is not None:
            try:
                found = real_features(
                    self._extractor, self._dataset, self._indices, self._cache,
                    progress=self._progress, device=self._device,
                )  # fmt: skip
            except UserError as error:
                self._leave_out(self._needing("features", "probabilities"), error)
        if found is not None and found.probabilities is None:
            self._lack("probabilities", f"class probabilities, which the features {self._name} lack")
        if self._dataset.groups is None:
            self._lack("groups", f"groups, which the dataset {self._dataset.name!r} lacks")
        labels, groups = self._dataset.labels, self._dataset.groups
        reads = self._needing("samples") or (labels is None and self._needing("labels"))
        for start in range(0, self.num_real, _BATCH):
            rows = self._indices[start : start + _BATCH]
            x, y = fetch(self._dataset, rows) if reads else (None, None)
            if labels is not None:
                y = torch.from_numpy(labels[rows])
            self._show(
                "update_real",
                x,
                None if found is None else _slice(found, start, start + _BATCH),
                y,
                None if groups is None else torch.from_numpy(groups[rows]),
            )
            if reads:
                self._progress("real samples", start + len(rows), self.num_real)

    def start(self) -> None:
        """Begins another set of generated samples."""
        if self._used:
            for entry in self._entries:
                with self._calling(entry, "reset_fake"):
                    if entry.metric is not None:
                        entry.metric.reset_fake()
        self._used = True
        self._count = 0

    def update(
        self, x: Tensor, y: Tensor | None = None, groups: NDArray[np.int64] | None = None
    ) -> None:
        """Shows some generated samples to the metrics.

        Args:
            x: Samples [b, *sample_shape].
            y: Class labels [b], if known.
            groups: What the samples are classified as, [b], if known.

        Raises:
            UserError: The samples are not finite, or something that a metric needs isn't known.
        """
        if not any(entry.metric for entry in self._entries):
            return
        found = None
        if self._extractor is not None and self._needing("features", "probabilities"):
            try:
                found = extract(self._extractor, to_device(x.float(), self._device))
            except UserError as error:
                self._leave_out(self._needing("features", "probabilities"), error)
        if y is None:
            self._lack("labels", "the class label of each generated sample, which is not known")
        self._count += len(x)
        known = None if groups is None else torch.from_numpy(groups)
        self._show("update_fake", x.float(), found, y, known)

    def compute(self) -> tuple[dict[str, float | None], Groups]:
        """Returns the results overall, name → number, and by group, name → name → number.

        Raises:
            UserError: There are too few samples for a metric.
            PluginError: A metric does not return what it should.
        """
        overall: dict[str, float | None] = {}
        groups: Groups = {}
        for entry in self._entries:
            with self._calling(entry, "compute"):
                if entry.metric is None:
                    continue
                values = dict(_checked(entry, entry.metric.compute()))
                by_group = values.pop("groups", {})
                _add(entry, overall, values)
                for group, entries in by_group.items():
                    _add(entry, groups.setdefault(group, {}), entries)
        return overall, groups

    @property
    def _name(self) -> str:
        return repr(self.features["name"])

    def _needing(self, *what: str) -> list[_Entry]:
        return [e for e in self._entries if e.metric is not None and e.metric.needs & set(what)]

    def _lack(self, what: str, text: str) -> None:
        """Refuses the metrics that need what there isn't."""
        for entry in self._needing(what):
            error = UserError(f"The metric {entry.label!r} needs {text}; leave it out.")
            self._leave_out([entry], error)

    def _leave_out(self, entries: Sequence[_Entry], error: UserError) -> None:
        if self._strict or isinstance(error, PluginError):
            raise error
        for entry in entries:
            entry.metric = None
        names = ", ".join(entry.label for entry in entries)
        warnings.warn(f"{error} (Not measured: {names}.)", stacklevel=2)

    def _show(
        self,
        method: str,
        x: Tensor | None,
        found: Features | None,
        y: Tensor | None,
        groups: Tensor | None,
    ) -> None:
        parts = (x, None if found is None else found.features)
        parts += (None if found is None else found.probabilities, y, groups)
        batch = Batch(*(None if part is None else to_device(part, self._device) for part in parts))
        for entry in self._entries:
            with self._calling(entry, method):
                if entry.metric is None:
                    continue
                try:
                    getattr(entry.metric, method)(batch)
                except UserError:
                    raise
                except Exception as error:
                    if groups is None and "groups" in entry.metric.needs:
                        raise UserError(
                            f"The metric {entry.label!r} needs to know the group of each generated "
                            f"sample, which the dataset {self._dataset.name!r} cannot tell; leave "
                            "it out."
                        ) from error
                    raise

    @contextmanager
    def _calling(self, entry: _Entry, method: str) -> Iterator[None]:
        """Names the plugin in whatever its metric raises; leaves out a metric that refuses."""
        try:
            yield
        except UserError as error:
            self._leave_out([entry], error)
        except Exception as error:
            if entry.owner == HOST:
                raise
            raise PluginError(
                f"The metric {entry.label!r}{entry.author} failed in {method}: "
                f"{type(error).__name__}: {error}"
            ) from error

    def _refuse_rivals(self) -> None:
        authors: dict[str, _Entry] = {}
        for entry in self._entries:
            for key in () if entry.metric is None else entry.metric.directions:
                other = authors.setdefault(key, entry)
                if other is not entry:
                    error = UserError(
                        f"The metrics {other.label!r} and {entry.label!r} both give {key!r}; ask "
                        "for one of them at a time."
                    )
                    self._leave_out([entry], error)
                    break

    def _build_extractor(self, choice: str, catalogs: Catalogs) -> None:
        context = FeatureContext(self._dataset, self._device, self._cache, SEED)
        try:
            self._extractor = GuardedExtractor(choice, catalogs, context)
        except UserError as error:
            self._leave_out(self._needing("features", "probabilities"), error)
            return
        identity = self._extractor.identity
        self.features.update(name=identity.split(" ")[0], identity=identity)


def standard_metrics(dataset: Dataset) -> list[str]:
    """Returns what is measured of a dataset unless something else is asked for."""
    names = ["fid", "kid", "precision", "recall", "density", "coverage"]
    if dataset.groups is not None and dataset.group_names:
        names.append("partial_recall")
        if dataset.can_classify:
            names.append("group_precision")
    return names


def choose_indices(length: int, num: int) -> NDArray[np.int64]:
    """Chooses `num` of `length` samples by `SEED`, in their order; all if there are no more."""
    if num >= length:
        return np.arange(length, dtype=np.int64)
    rng = np.random.Generator(np.random.PCG64(np.random.SeedSequence([SEED, length, num])))
    return np.sort(rng.choice(length, num, replace=False)).astype(np.int64)


def _factories(
    names: Sequence[str], catalogs: Catalogs
) -> list[tuple[str, str, Callable[[MetricContext], Any]]]:
    """Returns label, owner and factory of each metric, manifolds joined."""
    found: list[tuple[str, str, Callable[[MetricContext], Any]]] = []
    joined = [name for name in names if name in manifolds.METRICS]
    for name in names:
        factory, owner = catalogs.metrics[name], catalogs.metrics.owner(name)
        if name not in joined:
            found.append((name, owner, factory))
        elif name == joined[0]:
            found.append((", ".join(joined), owner, manifolds.join(joined)))
    return found


def _as_metric(made: Any, entry: _Entry) -> Metric:
    if isinstance(made, Metric):
        return made
    raise PluginError(
        f"The metric {entry.label!r}{entry.author} is a {type(made).__name__}, not a Metric."
    )


def _checked(entry: _Entry, values: Any) -> Mapping[str, Any]:
    """Returns what a metric computed if it is of the right form."""
    wrong = _wrong(values)
    if wrong is None:
        groups = values.get("groups", {})
        wrong = None if isinstance(groups, Mapping) else "groups that are no mapping"
        for group, entries in groups.items() if wrong is None else ():
            wrong = wrong or _wrong(entries, f" for the group {group!r}")
    if wrong is not None:
        raise PluginError(f"The metric {entry.label!r}{entry.author} returned {wrong}.")
    found: Mapping[str, Any] = values
    return found


def _wrong(values: Any, where: str = "") -> str | None:
    if not isinstance(values, Mapping):
        return f"{type(values).__name__}{where} instead of a mapping"
    for key, value in values.items():
        number = value is None or isinstance(value, (int, float, np.number, Tensor))
        if not number and (where or key != "groups"):
            return f"{type(value).__name__} as {key!r}{where}, which is no number"
    return None


def _add(entry: _Entry, target: dict[str, float | None], values: Mapping[str, Any]) -> None:
    for key, value in values.items():
        if key in target:
            raise PluginError(
                f"The metric {entry.label!r}{entry.author} returned {key!r}, as another metric did."
            )
        target[key] = None if value is None else float(value)


def _slice(found: Features, start: int, stop: int) -> Features:
    probabilities = found.probabilities
    return Features(
        found.features[start:stop], None if probabilities is None else probabilities[start:stop]
    )
