"""Measures by several metrics at once: real data are read once, features extracted once."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from gan_registry.catalogs import HOST, Catalogs
from gan_registry.datasets.base import Dataset
from gan_registry.datasets.fetching import read_ahead, to_device
from gan_registry.errors import PluginError, UserError
from gan_registry.evaluation.guarded_extractor import GuardedExtractor
from gan_registry.evaluation.metric_choice import (
    NUM_REAL,
    SEED,
    Entry,
    choose_indices,
    factories,
    joinable_metrics,
    refuse_double,
)
from gan_registry.evaluation.metric_results import Findings, Groups, Values, as_metric
from gan_registry.features.base import FeatureContext, Features
from gan_registry.features.store import extract, real_features
from gan_registry.metrics.base import Batch, MetricContext, Progress, no_progress

_BATCH = 500


class MetricSuite:
    """Several metrics that share real samples, generated samples and features.

    Real samples are read first (:meth:`read_real`); then, for each set of generated samples,
    :meth:`start`, :meth:`update` for each batch, and :meth:`compute`.

    Beside what the metrics keep it takes n·D·4 bytes while it reads n real samples with D features,
    and one batch of generated samples. Metrics of manifolds are joined, see
    :mod:`~gan_registry.evaluation.joined_metrics`.

    Args:
        names: Names from the catalog `metrics`.
        catalogs: The catalogs, with those of plugins.
        dataset: The real data.
        features: A name from the catalog `features`, a TorchScript file, or "auto". The extractor
            is built only if a metric needs it.
        device: Where to compute.
        num_real: Real samples to compare with, at most; which ones follows from `SEED`.
        knows_groups: Whether generated samples will come with their groups; by default, whether the
            dataset can tell them.
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
        knows_groups: bool | None = None,
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
        context = MetricContext(
            sample_shape=tuple(dataset.sample_shape),
            value_range=dataset.value_range,
            group_names=dataset.group_names if dataset.groups is not None else (),
            num_classes=dataset.num_classes,
            device=self._device,
            seed=SEED,
            progress=progress,
        )
        self._entries: list[Entry] = []
        known = dataset.can_classify if knows_groups is None else knows_groups
        for label, owner, factory in factories(
            self.names, catalogs, joinable_metrics(bool(context.group_names), known)
        ):
            entry = Entry(label, owner)
            self._entries.append(entry)
            with self._calling(entry, "its factory"):
                entry.metric = as_metric(factory(context), entry.title)
                refuse_double(entry, self._entries[:-1])
        self._extractor: GuardedExtractor | None = None
        self.features: dict[str, str | None] = {
            "choice": features, "name": None, "identity": None
        }  # fmt: skip
        if self._needing("features", "probabilities"):
            self._build_extractor(features, catalogs)
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
            self._lack(
                "probabilities", f"class probabilities, which the features {self._name} lack"
            )
        if self._dataset.groups is None:
            self._lack("groups", f"groups, which the dataset {self._dataset.name!r} lacks")
        labels, groups = self._dataset.labels, self._dataset.groups
        reads = self._needing("samples") or (labels is None and self._needing("labels"))
        parts = [self._indices[start : start + _BATCH] for start in range(0, self.num_real, _BATCH)]
        samples = read_ahead(self._dataset, parts if reads else [], self._device)
        for start, rows in zip(range(0, self.num_real, _BATCH), parts, strict=True):
            x, y = next(samples, (None, None))
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

    def update(
        self, x: Tensor, y: Tensor | None = None, groups: NDArray[np.int64] | None = None
    ) -> None:
        """Shows samples [b, *sample_shape] to the metrics; labels and groups [b] too, if known.

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
        known = None if groups is None else torch.from_numpy(groups)
        self._show("update_fake", x.float(), found, y, known)

    def compute(self) -> tuple[Values, Groups]:
        """Returns the results overall, name → number, and by group, name → name → number.

        Raises:
            UserError: There are too few samples for a metric, or two metrics give the same result.
            PluginError: A metric does not return what it should.
        """
        found = Findings()
        for entry in self._entries:
            with self._calling(entry, "compute"):
                if entry.metric is None:
                    continue
                found.add(entry.title, entry.metric.compute())
        return found.overall, found.groups

    @property
    def _name(self) -> str:
        return repr(self.features["name"])

    def _needing(self, *what: str) -> list[Entry]:
        return [e for e in self._entries if e.metric is not None and e.metric.needs & set(what)]

    def _lack(self, what: str, text: str) -> None:
        """Refuses the metrics that need what there isn't."""
        for entry in self._needing(what):
            error = UserError(f"The metric {entry.label!r} needs {text}; leave it out.")
            self._leave_out([entry], error)

    def _leave_out(self, entries: Sequence[Entry], error: UserError) -> None:
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
        features, probabilities = (None, None) if found is None else found
        parts = (x, features, probabilities, y, groups)
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
    def _calling(self, entry: Entry, method: str) -> Iterator[None]:
        """Names the plugin in whatever its metric raises; leaves out a metric that refuses."""
        try:
            yield
        except UserError as error:
            self._leave_out([entry], error)
        except Exception as error:
            if entry.owner == HOST:
                raise
            raise PluginError(
                f"{entry.title} failed in {method}: {type(error).__name__}: {error}"
            ) from error

    def _build_extractor(self, choice: str, catalogs: Catalogs) -> None:
        context = FeatureContext(self._dataset, self._device, self._cache, SEED)
        try:
            self._extractor = GuardedExtractor(choice, catalogs, context)
        except UserError as error:
            self._leave_out(self._needing("features", "probabilities"), error)
            return
        identity = self._extractor.identity
        self.features.update(name=identity.split(" ")[0], identity=identity)


def _slice(found: Features, start: int, stop: int) -> Features:
    probabilities = found.probabilities
    return Features(
        found.features[start:stop], None if probabilities is None else probabilities[start:stop]
    )
