"""The diagnosis as sections of a run's report, the verdict first."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from diagan_plugin.report.charts import (
    MAX_GROUPS,
    group_dots,
    heat_map,
    is_diverging,
    score_histogram,
)
from diagan_plugin.report.chosen import add_choices
from diagan_plugin.report.diagnosis import Diagnosis, group_table
from diagan_plugin.report.explanation import explanation_blocks
from diagan_plugin.report.ranking import ranking_blocks
from diagan_plugin.report.shares import GENERATED, add_shares, group_entry, kind_of
from diagan_plugin.report.verdict import GroupDiagnosis, diagnose_groups, diagnose_samples
from diagan_plugin.report.wording import group_verdict, sample_verdict
from gan_registry.errors import UserError
from gan_registry.formatting import percent
from gan_registry.report.document import Block, Column, Facts, Figure, Report, Table, Text

ORDER_VERDICT = 10
ORDER_RANKING = 35
ORDER_SCORES = 50
ORDER_HISTORY = 55
ORDER_WEIGHTS = 60
ORDER_EXPLANATION = 890

_BINS = 20


def add_dia_sections(
    report: Report, run: Any, result: Mapping[str, Any], diagnosis: Diagnosis
) -> None:
    """Adds the verdict, the samples and the charts of a diagnosis to a report.

    Args:
        report: The document. The host's table of shares (`shares`) is replaced by a fuller one.
        run: Anything with `dataset` and `seed`.
        result: What `result.json` holds. Read are `groups` (each with `share_drawn`,
            `share_generated` and `share_generated_<post-processor>`), `num_generated`, and
            `weights` (the fields of `WeightSummary`, and `warnings`); what is missing is left out.
        diagnosis: The statistics of every training sample.

    Raises:
        UserError: The diagnosis is of another dataset.
    """
    check_dataset(run.dataset, diagnosis)
    weighted = diagnosis.phase_boundary is not None
    found = diagnose(run, result, diagnosis)
    if found is not None:
        verdict = group_verdict(found, weighted=weighted)
    else:
        samples = diagnose_samples(diagnosis.score, diagnosis.ldrm, diagnosis.ldrv, diagnosis.count)
        verdict = sample_verdict(samples, weighted=weighted)
    report.add_section("Verdict", verdict, order=ORDER_VERDICT, anchor="verdict")
    report.add_section(
        "Training samples the generator misses most and least",
        *ranking_blocks(run.dataset, diagnosis),
        order=ORDER_RANKING,
        anchor="samples-by-score",
    )
    if found is not None:
        add_shares(report, result, found, diagnosis, tuple(run.dataset.group_names))
    _scores(report, found, diagnosis, tuple(run.dataset.group_names))
    _history(report, found, diagnosis)
    add_choices(report, result)
    _weights(report, result)
    report.add_section(
        "How to read this report",
        *explanation_blocks(diagnosis),
        order=ORDER_EXPLANATION,
        anchor="explanation",
    )


def check_dataset(dataset: Any, diagnosis: Diagnosis) -> None:
    """Refuses a diagnosis that was made with another dataset.

    Raises:
        UserError: The number of samples or the fingerprint differs.
    """
    if len(dataset) != diagnosis.num_samples:
        raise UserError(
            f"The diagnosis is of {diagnosis.num_samples:,} training samples, but the dataset has "
            f"{len(dataset):,}: use the data that the run was trained on."
        )
    recorded = diagnosis.metadata.get("fingerprint")
    if recorded and recorded != dataset.fingerprint():
        raise UserError(
            "The dataset has changed since the diagnosis was recorded (its fingerprint differs): "
            "use the data that the run was trained on."
        )


def diagnose(run: Any, result: Mapping[str, Any], diagnosis: Diagnosis) -> GroupDiagnosis | None:
    """Weighs the evidence about the groups of a run; None if fewer than two are known."""
    names = tuple(run.dataset.group_names)
    entries = [group_entry(result, name) for name in names]
    kinds = sorted({key for entry in entries for key in entry if key.startswith(GENERATED)})
    return diagnose_groups(
        diagnosis.score,
        diagnosis.group,
        names=names,
        generated={kind_of(key): [_number(entry.get(key)) for entry in entries] for key in kinds},
        num_generated=int(result.get("num_generated") or 10_000),
        drawn=[_number(entry.get("share_drawn")) for entry in entries],
        seed=int(run.seed),
    )


def _scores(
    report: Report, found: GroupDiagnosis | None, diagnosis: Diagnosis, names: tuple[str, ...]
) -> None:
    if not np.isfinite(diagnosis.score).any():
        return
    flagged = [] if found is None else [f.group for f in found.standing_out]
    caption = "How the discrepancy score is distributed."
    if found is not None:
        caption += (
            " Each group is drawn as percentages of its own samples, so that small groups show "
            "too. A group that lies further to the right is less well learned."
        )
    blocks: list[Block] = [
        Figure(
            score_histogram(diagnosis.score, diagnosis.group, names, flagged),
            caption,
            alt="Histogram of the discrepancy score.",
            width="half",
        )
    ]
    if found is not None:
        order = [f.group for f in found.findings]
        shown = order if len(order) <= MAX_GROUPS else order[:20] + order[-20:]
        part = "" if len(shown) == len(order) else " (the 20 highest and lowest scores)"
        blocks.append(
            Figure(
                group_dots(diagnosis.ldrm, diagnosis.ldrv, diagnosis.group, names, shown, flagged),
                f"Mean and variance of the log-density ratio by group{part}: the dot is the mean "
                "over the group's samples, the bar their middle half."
                + (" Groups whose score stands out are blue, the others grey." if flagged else ""),
                alt="Dot plot of LDRM and LDRV by group; the numbers are in the table.",
                width="half",
            )
        )
        blocks.append(_score_table(found, diagnosis, names))
    title = "Scores" if found is None else "Scores by group"
    report.add_section(title, *blocks, order=ORDER_SCORES, anchor="scores")


def _score_table(found: GroupDiagnosis, diagnosis: Diagnosis, names: tuple[str, ...]) -> Table:
    summary = {
        row.group: row
        for row in group_table(
            diagnosis.group,
            ldrm=diagnosis.ldrm,
            ldrv=diagnosis.ldrv,
            score=diagnosis.score,
            names=names,
        )
    }
    columns = [
        Column("Group"),
        Column("Samples"),
        Column("Mean LDRM", ".3f", "right"),
        Column("Mean LDRV", ".3g", "right"),
        Column("Mean score", ".3f", "right"),
        Column("Above the rest by (std. dev.)", "+.2f", "right"),
        Column("p-value", ".2g", "right"),
    ]
    rows = [
        [f.name, f.size, s.ldrm, s.ldrv, s.score, f.effect, f.p_value]
        for f in found.findings
        for s in [summary[f.group]]
    ]
    return Table(
        columns,
        rows,
        "Highest score first. The p-value is the chance that randomly shuffled groups would put "
        f"any group so far above the others ({found.permutations:,} shuffles). A group is reported "
        "at p ≤ 0.01 if it is at least 0.2 standard deviations above the rest.",
        frozenset(i for i, f in enumerate(found.findings) if f.stands_out),
        tall=len(rows) > 15,
    )


def _history(report: Report, found: GroupDiagnosis | None, diagnosis: Diagnosis) -> None:
    if diagnosis.history.size == 0:
        return
    group = diagnosis.group[diagnosis.history_indices]
    history = diagnosis.history.astype(np.float64)
    if found is not None and len(found.findings) <= MAX_GROUPS:
        kept = [f for f in found.findings if (group == f.group).any()]
        labels = [f.name for f in kept]
        members = [group == f.group for f in kept]
        each = "Each row is a group, the highest score on top"
    else:
        score = diagnosis.score[diagnosis.history_indices]
        order = np.argsort(-np.where(np.isfinite(score), score, -np.inf), kind="stable")
        bins = np.array_split(order, min(_BINS, order.size))
        members = [np.isin(np.arange(order.size), part) for part in bins]
        labels = ["highest score", *[""] * (len(bins) - 2), "lowest score"][: len(bins)]
        each = "Each row holds samples of similar final score, the highest on top"
    rows = np.stack([_row_means(history[:, member]) for member in members])
    if not np.isfinite(rows).any():
        return
    colours = (
        "Red means that the discriminator takes these samples for more common in the data than in "
        "the generator's output (under-represented), blue the reverse"
        if is_diverging(rows)
        else "The darker, the more the discriminator takes these samples for under-represented"
    )
    boundary = diagnosis.phase_boundary
    figure = Figure(
        heat_map(rows, labels, diagnosis.history_steps, boundary),
        f"{each}. {colours}. Mean over the samples of a row, from a fixed subset of "
        f"{diagnosis.history_indices.size:,} training samples."
        + (f" Phase 2, with weighted sampling, begins at step {boundary:,}." if boundary else ""),
        alt="Heat map of the mean log-density ratio over the training steps.",
        min_width=540,
    )
    report.add_section(
        "Log-density ratio over training", figure, order=ORDER_HISTORY, anchor="history"
    )


def _weights(report: Report, result: Mapping[str, Any]) -> None:
    weights = result.get("weights")
    if not isinstance(weights, Mapping):
        return
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
    blocks: list[Block] = [
        *warnings,
        Facts(tuple(facts)),
        Text(
            "In phase 2 a sample is drawn in proportion to its weight. The effective sample size "
            "says how many equally weighted samples would be as informative: the lower it is, the "
            "more the draws concentrate on few samples. Where most samples share the largest "
            "weight, weighted sampling hardly differs from uniform sampling."
        ),
    ]
    report.add_section("Sampling weights", *blocks, order=ORDER_WEIGHTS, anchor="weights")


def _row_means(values: NDArray[Any]) -> NDArray[Any]:
    """Means [R] over the finite values of [R, members]; NaN where there is none."""
    finite = np.isfinite(values)
    count = finite.sum(axis=1)
    total = np.where(finite, values, 0.0).sum(axis=1)
    means: NDArray[Any] = np.where(count > 0, total / np.maximum(count, 1), np.nan)
    return means


def _number(value: Any) -> float:
    return float("nan") if value is None else float(value)
