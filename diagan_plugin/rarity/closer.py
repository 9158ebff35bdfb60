"""A closer look at the samples of a diagnosis, from data and scores to verdicts and clusters."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from diagan_plugin.rarity.clusters import NONE, Cluster, find_clusters
from diagan_plugin.rarity.looking import MOST, choose, look, look_at
from diagan_plugin.rarity.neighbours import nearest, projection
from diagan_plugin.rarity.verdicts import (
    BROKEN,
    MISLABELLED,
    TAIL,
    Judged,
    judge,
    persistence_of,
)
from diagan_plugin.report.diagnosis import LIKELY, Diagnosis
from gan_registry.datasets.base import Dataset
from gan_registry.datasets.labels import labels_of
from gan_registry.features.base import FeatureExtractor
from gan_registry.files import atomic_write
from gan_registry.formatting import printable

Integers = NDArray[np.int64]

MIN_SAMPLES = 50
"""Of fewer there is no middle to compare with."""

BROKEN_FILE = "broken.txt"


@dataclass(frozen=True)
class CloserLook:
    """What a closer look found.

    Attributes:
        num_samples: Samples of the data, N.
        indices: Dataset indices of those that were looked at, int64 [M].
        judged: The verdict on each of them.
        clusters: Under-represented groups of them.
        labels: Their labels, int64 [M]; None where all are alike.
        weighted: Whether weights have acted since the discriminator was asked.
    """

    num_samples: int
    indices: Integers
    judged: Judged
    clusters: list[Cluster]
    labels: Integers | None
    weighted: bool = False

    @property
    def likely(self) -> NDArray[np.int8]:
        """Number of each sample's verdict in `LIKELY`, int8 [N]; 0 where none was looked for."""
        found = np.zeros(self.num_samples, np.int8)
        found[self.indices] = self.judged.likely
        return found

    @property
    def cluster(self) -> Integers:
        """Number of each sample's cluster, int64 [N]; -1 where it is in none."""
        found = np.full(self.num_samples, NONE, np.int64)
        for number, cluster in enumerate(self.clusters):
            found[self.indices[cluster.rows]] = number
        return found

    def added_to(self, diagnosis: Diagnosis) -> Diagnosis:
        """Returns the diagnosis with the columns `likely` and `cluster`."""
        return dataclasses.replace(diagnosis, likely=self.likely, cluster=self.cluster)

    def rows_of(self, verdict: int) -> Integers:
        """Returns the rows with a verdict, the clearest first."""
        rows = np.flatnonzero(self.judged.likely == verdict)
        if verdict == MISLABELLED and self.judged.labels is not None:
            clear = self.judged.labels.doubt
        else:
            clear = self.judged.oddness if verdict == BROKEN else self.judged.place
        return rows[np.argsort(-clear[rows], kind="stable")]


def look_closer(
    dataset: Dataset,
    diagnosis: Diagnosis,
    extractor: FeatureExtractor,
    *,
    generated: NDArray[Any] | None = None,
    cache: Path | None = None,
    seed: int = 0,
    most: int = MOST,
) -> CloserLook | None:
    """Judges the samples that matter, and looks for groups among them.

    Memory is that of `most` samples' features, whatever the size of the data, and of a few numbers
    for each sample.

    Args:
        dataset: The training data.
        diagnosis: What is known of each sample.
        extractor: The features in which neighbours are sought, on the CPU.
        generated: Generated samples in the data's range, [n, *sample_shape]; None without any.
        cache: Folder in which features are kept that take long.
        seed: Of the choice, the clusters and the test.
        most: Samples that are looked at.

    Returns:
        What was found; None of fewer than `MIN_SAMPLES` samples.

    Raises:
        UserError: Samples or features are not finite.
    """
    if len(dataset) < MIN_SAMPLES:
        return None
    chosen = choose(diagnosis.score, seed, most)
    seen = look(dataset, chosen.indices, extractor, cache)
    project = projection(seen.features)
    points = project(seen.features)
    score = diagnosis.score[chosen.indices]
    known = diagnosis.score[np.isfinite(diagnosis.score)]
    threshold = float(np.quantile(known, 1 - TAIL)) if known.size else float("inf")
    if known.size and threshold <= known.min():
        threshold = float("inf")  # scores that are all alike say nothing
    persistence = persistence_of(
        chosen.indices,
        diagnosis.ldrm, diagnosis.ldrv,
        diagnosis.history, diagnosis.history_indices,
    )  # fmt: skip
    labels = labels_of(dataset)[chosen.indices] if dataset.num_classes > 1 else None
    judged = judge(seen, points, nearest(points), score, persistence, threshold, labels)
    is_ratio = diagnosis.metadata.get("is_density_ratio", "True") == "True"
    made = None
    if generated is not None and len(generated):
        made = project(look_at(generated, dataset, extractor).features)
    clusters = find_clusters(
        points,
        score,
        diagnosis.ldrm[chosen.indices] if is_ratio else None,
        threshold,
        eligible=judged.likely != BROKEN,
        at_random=chosen.at_random,
        generated=made,
        seed=seed,
    )
    weighted = diagnosis.phase_boundary is not None
    return CloserLook(len(dataset), chosen.indices, judged, clusters, labels, weighted)


def write_broken(found: CloserLook, path: Path, name: Callable[[int], str] = str) -> int:
    """Writes the list that `--dia-exclude` takes: a sample a line, remarks begin with #.

    A list of an earlier look is replaced; where nothing is broken, it is removed.

    Args:
        found: What was found.
        path: The file.
        name: Index → what to call the sample: its path, or its index.

    Returns:
        How many samples are listed.

    Raises:
        UserError: It cannot be written.
    """
    lines = ["# Samples that are likely broken: --dia-exclude keeps them out of the emphasis."]
    total = 0
    for verdict in (BROKEN, MISLABELLED):
        rows = found.rows_of(verdict)
        if rows.size:
            lines.append(f"# {LIKELY[verdict]}, the clearest first")
            lines += [_line(int(index), name) for index in found.indices[rows]]
            total += rows.size
    if total:
        with atomic_write(path) as temporary:
            temporary.write_text("\n".join([*lines, ""]), encoding="utf-8")
    else:
        path.unlink(missing_ok=True)
    return total


def _line(index: int, name: Callable[[int], str]) -> str:
    text = printable(name(index))
    return text if text and text == text.strip() and not text.startswith("#") else str(index)
