"""The diagnosis as sections of a run's report, the verdict first: which block stands where."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from diagan_plugin.report import charts
from diagan_plugin.report import section_wording as say
from diagan_plugin.report.chosen import add_choices
from diagan_plugin.report.diagnosis import Diagnosis
from diagan_plugin.report.evidence import gather
from diagan_plugin.report.explanation import explanation_blocks
from diagan_plugin.report.findings import GroupDiagnosis
from diagan_plugin.report.first_screen import first_screen, why
from diagan_plugin.report.groups import group_name, group_table
from diagan_plugin.report.history import history_rows
from diagan_plugin.report.ranking import extreme_samples, frequent_group
from diagan_plugin.report.shares import ShareTable, share_table
from diagan_plugin.report.verdict_wording import word
from gan_registry.datasets.base import Dataset
from gan_registry.formatting import format_cell, percent, printable
from gan_registry.images import TINY, to_pngs
from gan_registry.report.document import (
    Block,
    Column,
    Details,
    Facts,
    Figure,
    ImageGrid,
    Report,
    Table,
    Text,
    Width,
)

_TALL = 15  # rows
_NARROW = 4  # columns of shares beside a chart
_THUMBNAIL = 48  # pixels


def add_dia_sections(
    report: Report,
    dataset: Dataset,
    result: Mapping[str, Any],
    diagnosis: Diagnosis,
    *,
    seed: int = 0,
) -> None:
    """Adds the verdict, the samples and the charts of a diagnosis to a report.

    Args:
        report: The document. The host's table of shares (`shares`) is replaced by a fuller one.
        dataset: The training data.
        result: What `result.json` holds. Read are `groups` (each with `share_drawn`,
            `share_generated` and `share_generated_<post-processor>`), `num_generated`, `chosen`,
            and `weights` (the fields of `WeightSummary`, and `warnings`); what is missing is left
            out.
        diagnosis: The statistics of every training sample.
        seed: What the permutations of the test follow from.

    Raises:
        UserError: The diagnosis is of another dataset.
    """
    diagnosis.check_dataset(dataset)
    names = tuple(dataset.group_names)
    evidence = gather(diagnosis, result, names, seed=seed)
    found, verdict = evidence.groups, word(evidence)
    title = "Scores" if found is None else "Scores by group"
    sections: list[tuple[int, str, str, list[Block]]] = [
        (10, "verdict", "Verdict", first_screen(verdict, evidence)),
        (13, "evidence", "Why", why(verdict)),
        (35, "samples-by-score", say.RANKING_TITLE, _ranking(dataset, diagnosis)),
        (50, "scores", title, _scores(found, diagnosis, names)),
        (55, "history", "Log-density ratio over training", _history(found, diagnosis)),
        (60, "weights", "Sampling weights", _weights(result, evidence.weighted)),
        (890, "explanation", "How to read this report", explanation_blocks(diagnosis)),
    ]
    for order, anchor, title, blocks in sections:
        if blocks:
            report.add_section(title, *blocks, order=order, anchor=anchor)
    add_choices(report, result)
    if found is not None and (blocks := _shares(share_table(result, found, diagnosis))):
        title = "Shares before and after"
        report.add_section(title, *blocks, order=40, anchor="group-shares", replaces="shares")


def _ranking(dataset: Dataset, diagnosis: Diagnosis) -> list[Block]:
    """Shows the extreme samples: images as thumbnails, points as a chart and tables."""
    most, least = extreme_samples(diagnosis.score)
    if most.size == 0:
        return [Text("Too few samples were recorded to rank them.", "note")]
    names = tuple(dataset.group_names)
    blocks: list[Block] = []
    if frequent := frequent_group(diagnosis.group, most, len(names)):
        blocks.append(Text(say.frequent_group_sentence(frequent, names, most.size)))
    captions = say.ranking_captions(most.size, least.size, bool(names), bool(diagnosis.names))
    if dataset.kind == "image":
        blocks += [
            _thumbnails(dataset, diagnosis, indices, caption)
            for indices, caption in zip((most, least), captions, strict=True)
        ]
        if diagnosis.names:
            files = [say.file_lines(diagnosis, indices) for indices in (most, least)]
            blocks.append(Details(say.FILES_TITLE, "\n\n".join(files)))
        return blocks
    points = None
    if tuple(dataset.sample_shape) == (2,):
        points = np.asarray(dataset.__getitems__(np.arange(len(dataset)))[0])
        alt = "Scatter plot of the training samples, coloured by score."
        blocks.append(
            Figure(charts.score_scatter(points, diagnosis.score), say.POINTS_CAPTION, alt)
        )
    return blocks + [
        _sample_table(points, diagnosis, indices, names, caption)
        for indices, caption in zip((most, least), captions, strict=True)
    ]


def _thumbnails(
    dataset: Dataset, diagnosis: Diagnosis, indices: NDArray[np.int64], caption: str
) -> ImageGrid:
    x, _ = dataset.__getitems__(indices)
    labels = [
        f"{say.label_of(diagnosis, index)}\n{format_cell(diagnosis.score[index], '.2f')}"
        for index in indices.tolist()
    ]
    if names := dataset.group_names:
        groups = diagnosis.group[indices].tolist()
        labels = [
            f"{label}\n{group_name(group, names)}"
            for label, group in zip(labels, groups, strict=True)
        ]
    return ImageGrid(
        to_pngs(x, dataset.value_range, max_size=_THUMBNAIL),
        labels,
        caption,
        pixelated=int(dataset.sample_shape[-1]) <= TINY,
        width="half",
    )


def _sample_table(
    points: NDArray[Any] | None,
    diagnosis: Diagnosis,
    indices: NDArray[np.int64],
    names: Sequence[str],
    caption: str,
) -> Table:
    columns = [Column("Number", "d", "right"), Column("Score", ".3f", "right")]
    rows: list[list[Any]] = [[index, float(diagnosis.score[index])] for index in indices.tolist()]
    if diagnosis.names:
        columns.append(Column("Name", align="left"))
        rows = [[*row, printable(diagnosis.name(row[0]))] for row in rows]
    if points is not None:
        columns += [Column("x", ".3f", "right"), Column("y", ".3f", "right")]
        rows = [row + points[row[0]].tolist() for row in rows]
    if names:
        columns.append(Column("Group", align="left"))
        rows = [[*row, group_name(int(diagnosis.group[row[0]]), names)] for row in rows]
    return Table(columns, rows, caption, tall=True, width="half")


def _shares(table: ShareTable) -> list[Block]:
    if len(table.columns) < 2:
        return []
    names = [finding.name for finding in table.findings]
    shares = {say.share_title(key): column for key, column in table.columns.items()}
    few = len(names) <= charts.MAX_GROUPS
    width: Width = "half" if len(shares) <= _NARROW else "full"
    blocks: list[Block] = [
        Table(
            [Column("Group"), *(Column(title, "percent", "right") for title in shares)],
            [list(row) for row in zip(names, *shares.values(), strict=True)],
            say.shares_caption(table),
            table.set_off,
            tall=len(names) > _TALL,
            width=width,
        )
    ]
    if few and len(shares) > 1:
        alt = "Bar chart of the shares given in the table."
        chart = charts.share_bars(shares, names)
        blocks.append(Figure(chart, say.SHARES_CHART_CAPTION, alt, width="half"))
    return blocks


def _scores(
    found: GroupDiagnosis | None, diagnosis: Diagnosis, names: tuple[str, ...]
) -> list[Block]:
    if not np.isfinite(diagnosis.score).any():
        return []
    flagged = [] if found is None else [f.group for f in found.standing_out]
    blocks: list[Block] = [
        Figure(
            charts.score_histogram(diagnosis.score, diagnosis.group, names, flagged),
            say.histogram_caption(found is not None),
            alt="Histogram of the discrepancy score.",
            width="half",
        )
    ]
    if found is not None:
        shown, ends = [f.group for f in found.findings], None
        if len(shown) > charts.MAX_GROUPS:
            ends = charts.MAX_GROUPS // 2
            shown = shown[:ends] + shown[-ends:]
        chart = charts.group_dots(
            diagnosis.ldrm, diagnosis.ldrv, diagnosis.group, names, shown, flagged
        )
        alt = "Dot plot of LDRM and LDRV by group; the numbers are in the table."
        blocks.append(Figure(chart, say.dots_caption(found, ends), alt, width="half"))
        blocks.append(_score_table(found, diagnosis, names))
    return blocks


def _score_table(found: GroupDiagnosis, diagnosis: Diagnosis, names: tuple[str, ...]) -> Table:
    statistics = {"ldrm": diagnosis.ldrm, "ldrv": diagnosis.ldrv, "score": diagnosis.score}
    rows = {row.group: row for row in group_table(diagnosis.group, **statistics, names=names)}
    columns = [
        Column("Group"),
        Column("Samples"),
        Column("Mean LDRM", ".3f", "right"),
        Column("Mean LDRV", ".3g", "right"),
        Column("Mean score", ".3f", "right"),
        Column("Above the rest by (std. dev.)", "+.2f", "right"),
        Column("p-value", ".2g", "right"),
    ]
    return Table(
        columns,
        [
            [f.name, f.size, s.ldrm, s.ldrv, s.score, f.effect, f.p_value]
            for f in found.findings
            for s in [rows[f.group]]
        ],
        say.scores_caption(found),
        frozenset(i for i, f in enumerate(found.findings) if f.stands_out),
        tall=len(found.findings) > _TALL,
    )


def _history(found: GroupDiagnosis | None, diagnosis: Diagnosis) -> list[Block]:
    few = found is not None and len(found.findings) <= charts.MAX_GROUPS
    rows = history_rows(diagnosis, found.findings if found is not None and few else None)
    if rows is None:
        return []
    figure = Figure(
        charts.heat_map(
            rows.values, rows.labels, diagnosis.history_steps, diagnosis.phase_boundary
        ),
        say.history_caption(rows, diagnosis, charts.is_diverging(rows.values)),
        alt="Heat map of the mean log-density ratio over the training steps.",
        min_width=540,
    )
    return [figure]


def _weights(result: Mapping[str, Any], drawn: bool) -> list[Block]:
    weights = result.get("weights")
    if not isinstance(weights, Mapping):
        return []
    facts: list[tuple[str, Any]] = []
    if (ess := weights.get("ess")) is not None:
        share = weights.get("ess_share")
        part = f" ({percent(share)} of all)" if share is not None else ""
        facts.append(("Effective sample size", f"{ess:,.0f}{part}"))
    for key, label in (
        ("share_at_floor", "Samples at the smallest weight"),
        ("share_at_cap", "Samples at the largest weight"),
    ):
        if weights.get(key) is not None:
            facts.append((label, percent(weights[key])))
    if weights.get("max_over_mean") is not None:
        facts.append(("Largest weight", f"{weights['max_over_mean']:.1f} × the mean"))
    warnings = [Text(str(text), "warning") for text in weights.get("warnings") or ()]
    return [*warnings, Facts(tuple(facts)), Text(say.weights_text(drawn))]
