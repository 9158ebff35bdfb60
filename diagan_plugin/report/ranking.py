"""The training samples with the highest and the lowest score, for a person to look at."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from diagan_plugin.report.charts import score_scatter
from diagan_plugin.report.diagnosis import Diagnosis, group_name
from gan_registry.formatting import percent
from gan_registry.images import TINY, to_pngs
from gan_registry.report.document import Block, Column, Figure, ImageGrid, Table, Text

SHOWN = 50
_THUMBNAIL = 48


def extreme_samples(
    score: NDArray[np.float64], count: int = SHOWN
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Returns the samples with the highest and with the lowest score.

    Args:
        score: Score [N]; non-finite ones are left out.
        count: How many of each; fewer if there are not 2·count, so that none is in both.

    Returns:
        Indices, highest first; and indices, lowest first. Equal scores keep the dataset's order.
    """
    usable = np.flatnonzero(np.isfinite(score))
    count = min(count, usable.size // 2)
    highest = usable[np.argsort(-score[usable], kind="stable")][:count]
    lowest = usable[np.argsort(score[usable], kind="stable")]
    return highest, lowest[~np.isin(lowest, highest)][:count]


def ranking_blocks(dataset: Any, diagnosis: Diagnosis) -> list[Block]:
    """Shows the extreme samples: images as thumbnails, points as a chart and tables."""
    most, least = extreme_samples(diagnosis.score)
    if most.size == 0:
        return [Text("Too few samples were recorded to rank them.", "note")]
    names = tuple(dataset.group_names)
    blocks: list[Block] = []
    if (sentence := _over_represented(diagnosis.group, most, names)) is not None:
        blocks.append(Text(sentence))
    captions = (
        f"The {most.size} most under-represented: number in the data set, score"
        f"{', group' if names else ''}.",
        f"The {least.size} least under-represented.",
    )
    if dataset.kind == "image":
        for indices, caption in zip((most, least), captions, strict=True):
            blocks.append(_thumbnails(dataset, diagnosis, indices, names, caption))
        return blocks
    points = _points(dataset) if tuple(dataset.sample_shape) == (2,) else None
    if points is not None:
        blocks.append(
            Figure(
                score_scatter(points, diagnosis.score),
                "Every training sample, coloured by its discrepancy score: the darker, the more "
                "under-represented.",
                alt="Scatter plot of the training samples, coloured by score.",
            )
        )
    for indices, caption in zip((most, least), captions, strict=True):
        blocks.append(_table(points, diagnosis, indices, names, caption))
    return blocks


def _over_represented(
    group: NDArray[np.int64], most: NDArray[np.int64], names: Sequence[str]
) -> str | None:
    """Names the group that is most frequent among the top samples, compared with the data."""
    known = group[most][group[most] >= 0]
    if known.size == 0 or len(names) < 2:
        return None
    counts = np.bincount(known, minlength=int(group.max()) + 1)
    sizes = np.bincount(group[group >= 0], minlength=counts.size)
    lift = np.where(counts >= 0.1 * most.size, counts / np.maximum(sizes, 1), 0.0)
    top = int(lift.argmax())
    share = sizes[top] / group.size
    if lift[top] == 0.0 or counts[top] / most.size < 1.5 * share:
        return None
    return (
        f"Of the {most.size} most under-represented training samples {counts[top]} "
        f"({percent(counts[top] / most.size)}) belong to “{group_name(top, names)}”, which is "
        f"{percent(share)} of the data."
    )


def _thumbnails(
    dataset: Any,
    diagnosis: Diagnosis,
    indices: NDArray[np.int64],
    names: Sequence[str],
    caption: str,
) -> ImageGrid:
    x, _ = dataset.__getitems__(indices)
    labels = []
    for index in indices.tolist():
        label = f"#{index}\n{_signed(diagnosis.score[index])}"
        if names:
            label += f"\n{group_name(int(diagnosis.group[index]), names)}"
        labels.append(label)
    return ImageGrid(
        to_pngs(x, dataset.value_range, max_size=_THUMBNAIL),
        labels,
        caption,
        pixelated=int(dataset.sample_shape[-1]) <= TINY,
        width="half",
    )


def _table(
    points: NDArray[Any] | None,
    diagnosis: Diagnosis,
    indices: NDArray[np.int64],
    names: Sequence[str],
    caption: str,
) -> Table:
    columns = [Column("Number", "d", "right"), Column("Score", ".3f", "right")]
    if points is not None:
        columns += [Column("x", ".3f", "right"), Column("y", ".3f", "right")]
    if names:
        columns.append(Column("Group", align="left"))
    rows = []
    for index in indices.tolist():
        row: list[Any] = [index, float(diagnosis.score[index])]
        if points is not None:
            row += [float(value) for value in points[index]]
        if names:
            row.append(group_name(int(diagnosis.group[index]), names))
        rows.append(row)
    return Table(columns, rows, caption, tall=True, width="half")


def _points(dataset: Any) -> NDArray[Any]:
    x, _ = dataset.__getitems__(np.arange(len(dataset)))
    return np.asarray(x)


def _signed(value: float) -> str:
    return f"{value:.2f}".replace("-", "−")
