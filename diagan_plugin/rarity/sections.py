"""The closer look as sections of a run's report, and its list of broken samples."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from diagan_plugin.rarity import wording as say
from diagan_plugin.rarity.closer import BROKEN_FILE, CloserLook, look_closer, write_broken
from diagan_plugin.rarity.verdicts import BROKEN, MISLABELLED, RARE, sentence
from diagan_plugin.report.diagnosis import Diagnosis
from gan_registry.datasets.base import Dataset
from gan_registry.datasets.labels import class_names_of
from gan_registry.errors import UserError
from gan_registry.evaluation.guarded_extractor import GuardedExtractor
from gan_registry.evaluation.sources import PlainSource, collect
from gan_registry.features.base import FeatureContext
from gan_registry.files import cache_folder
from gan_registry.images import TINY, to_pngs
from gan_registry.report.document import Block, Column, ImageGrid, Report, Table, Text

if TYPE_CHECKING:
    from gan_registry.live_run import LiveRun

MOST_GENERATED = 2_000
"""Samples that are generated to measure the share of each cluster."""

_SHOWN = 24  # samples of each verdict, and of each cluster
_THUMBNAIL = 48  # pixels
_LEARNT_HERE = ("auto", "classifier", "raw")
_TITLES = {
    BROKEN: "Likely broken: the clearest first.",
    MISLABELLED: "Likely another label than their own: the clearest first.",
    RARE: "Likely rare but sound: the highest score first.",
}

_LOG = logging.getLogger(__name__)


def add_closer_look(report: Report, run: LiveRun, diagnosis: Diagnosis) -> CloserLook | None:
    """Looks closer at a run's samples; adds what is found to its report and to its folder.

    The features are those that the evaluation was told to use (`RUN.eval_features`), if their
    network was not trained on these very data; else `descriptor` for images and `raw` for others.

    Args:
        report: The document.
        run: The run; its generator makes up to `MOST_GENERATED` samples.
        diagnosis: The statistics of every training sample.

    Returns:
        What was found; None if there are too few samples, or if they have no features.
    """
    choice = run.config.RUN.eval_features
    if choice in _LEARNT_HERE:
        choice = "descriptor" if run.dataset.kind == "image" else "raw"
    cache = cache_folder()
    try:
        extractor = GuardedExtractor(
            choice, run.plugins.catalogs, FeatureContext(run.dataset, cache=cache)
        )
        found = look_closer(
            run.dataset, diagnosis, extractor,
            generated=_generated(run), cache=cache, seed=run.seed,
        )  # fmt: skip
    except UserError as error:
        # The rest of the report is worth having.
        _LOG.warning("The samples are not looked at more closely: %s", error)
        report.add_section(
            say.RARITY_TITLE, Text(str(error), "warning"), order=36, anchor="rare-or-broken"
        )
        return None
    if found is None:
        return None
    name = diagnosis.name if diagnosis.names else str
    listed = 0
    if run.folder is not None:
        listed = write_broken(found, Path(run.folder) / BROKEN_FILE, name)
    add_sections(report, run.dataset, found, listed, name)
    return found


def add_sections(
    report: Report,
    dataset: Dataset,
    found: CloserLook,
    listed: int = 0,
    name: Callable[[int], str] = str,
) -> None:
    """Adds what was found: `rare-or-broken`, and `clusters`.

    Args:
        report: The document.
        dataset: The training data.
        found: What was found of it.
        listed: How many samples stand in the list of broken ones.
        name: Index → what a sample is called.
    """
    blocks: list[Block] = [Text(say.summary(found))]
    if listed:
        blocks.append(Text(say.exclude_hint(listed), "note"))
    for verdict, title in _TITLES.items():
        rows = found.rows_of(verdict)
        if rows.size:
            blocks += _samples(dataset, found, rows[:_SHOWN], _counted(title, rows.size), name)
    report.add_section(say.RARITY_TITLE, *blocks, order=36, anchor="rare-or-broken")
    blocks = [Text(say.CLUSTERS_TEXT if found.clusters else say.NO_CLUSTERS)]
    for cluster in found.clusters:
        groups = dataset.groups
        members = [] if groups is None else groups[found.indices[cluster.rows]].tolist()
        text = say.cluster_sentence(found, cluster, say.frequent(dataset.group_names, members))
        indices = found.indices[cluster.rows[:_SHOWN]]
        blocks.append(_grid(dataset, indices, text) if dataset.kind == "image" else Text(text))
    report.add_section(say.CLUSTERS_TITLE, *blocks, order=37, anchor="clusters")


def _samples(
    dataset: Dataset, found: CloserLook, rows: Any, title: str, name: Callable[[int], str]
) -> list[Block]:
    indices = found.indices[rows]
    names = class_names_of(dataset)
    labels = found.labels
    table: list[list[Any]] = [
        [
            index,
            name(index),
            sentence(found.judged, row, names, None if labels is None else int(labels[row])),
        ]
        for index, row in zip(indices.tolist(), rows.tolist(), strict=True)
    ]
    columns = [Column("Number", "d", "right"), Column("Sample"), Column("Why")]
    if name is str:  # would say the number twice
        columns, table = [columns[0], columns[2]], [[row[0], row[2]] for row in table]
    blocks: list[Block] = []
    if dataset.kind == "image":
        blocks.append(_grid(dataset, indices, title))
        title = ""
    return [*blocks, Table(columns, table, title, tall=True)]


def _grid(dataset: Dataset, indices: Any, caption: str) -> ImageGrid:
    x, _ = dataset.__getitems__(indices)
    return ImageGrid(
        to_pngs(x, dataset.value_range, max_size=_THUMBNAIL),
        [f"#{index}" for index in indices.tolist()],
        caption,
        pixelated=int(dataset.sample_shape[-1]) <= TINY,
    )


def _counted(title: str, count: int) -> str:
    return title if count <= _SHOWN else f"{title} {_SHOWN} of {count:,}."


def _generated(run: LiveRun) -> Any:
    """Returns samples of the run's generator, or None of a host that does not show it."""
    if getattr(run, "sampling_generator", None) is None:
        return None
    made = collect(PlainSource(run, seed=1), min(MOST_GENERATED, run.config.RUN.num_eval))
    finite = np.isfinite(made.flatten(1).numpy()).all(1)
    return made.numpy()[finite]
