"""What is said beside the tables and charts of the diagnosis, made from the numbers they show."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import PurePosixPath
from typing import Any

import numpy as np
from numpy.typing import NDArray

from diagan_plugin.report.diagnosis import Diagnosis
from diagan_plugin.report.findings import ALPHA, MIN_EFFECT, GroupDiagnosis
from diagan_plugin.report.groups import group_name
from diagan_plugin.report.history import HistoryRows
from diagan_plugin.report.ranking import FrequentGroup
from diagan_plugin.report.shares import BEFORE, DATA, DRAWN, ShareTable, kind_of
from gan_registry.formatting import format_cell, percent, printable

_NAME = 9  # letters of a name below a picture
RANKING_TITLE = "Training samples the generator misses most and least"
FILES_TITLE = "Their files: number in the data set, score, path in the data's folder"
POINTS_CAPTION = (
    "Every training sample, coloured by its discrepancy score: the darker, the more "
    "under-represented."
)
SHARES_CHART_CAPTION = "The same shares. Ideally what is generated reaches the share in the data."


def weights_text(drawn: bool) -> str:
    """Says what weights are for: draws, or else the terms of D's loss."""
    how, where = ("is drawn", "draws") if drawn else ("counts in D's loss", "loss")
    return (
        f"In phase 2 a sample {how} in proportion to its weight. The effective sample size says "
        "how many equally weighted samples would be as informative: the lower it is, the more the "
        f"{where} concentrate{'' if drawn else 's'} on few samples. Where most samples share the "
        "largest weight, weighting hardly differs from none."
    )


def feedback_text(feedback: Mapping[str, Any]) -> str:
    """Says how far the weights of the scores were those of the draws, of `result.json`'s entry."""
    strength, released = feedback.get("strength", 1.0), feedback.get("released_at")
    asked = "This is what the scores asked for."
    if strength <= 0:
        return (
            f"{asked} As next to nothing was missed in phase 1, nothing was weighted "
            "(--dia-rule feedback)."
        )
    began = (
        "They acted in full"
        if strength >= 1
        else f"As little was missed in phase 1, they acted weakened (to the power {strength:.2g})"
    )
    until = "to the end" if released is None else f"until step {released:,}"
    then = "" if released is None else "; from then on they followed the auxiliary discriminator"
    return f"{asked} {began} {until}{then} (--dia-rule feedback)."


def ranking_captions(most: int, least: int, grouped: bool, named: bool = False) -> tuple[str, str]:
    """Says what stands below so many samples with the highest, and the lowest, score."""
    return (
        f"The {most} most under-represented: number{', name' if named else ''}, "
        f"score{', group' if grouped else ''}.",
        f"The {least} least under-represented.",
    )


def label_of(diagnosis: Diagnosis, index: int) -> str:
    """Calls a sample by its number and, below, its file's short name."""
    return f"#{index}\n{short_name(diagnosis.name(index))}" if diagnosis.names else f"#{index}"


def short_name(path: str) -> str:
    """Returns the end of a file's name, as much as stands below a picture."""
    name = printable(PurePosixPath(path).stem)
    return name if len(name) <= _NAME else f"…{name[1 - _NAME :]}"


def file_lines(diagnosis: Diagnosis, indices: NDArray[np.int64]) -> str:
    """Lists samples, a line each: number, score, name."""
    return "\n".join(
        f"{index:>8}  {format_cell(diagnosis.score[index], '.3f'):>8}  "
        f"{printable(diagnosis.name(index))}"
        for index in indices.tolist()
    )


def frequent_group_sentence(found: FrequentGroup, names: Sequence[str], most: int) -> str:
    """Names the group that is most frequent among so many samples with the highest score."""
    return (
        f"Of the {most} most under-represented training samples {found.count} "
        f"({percent(found.share)}) belong to “{group_name(found.group, names)}”, which is "
        f"{percent(found.share_data)} of the data."
    )


_TITLES = {
    DATA: "Data",
    BEFORE: "Before phase 2",
    DRAWN: "Draws in phase 2",
}


def share_title(key: str) -> str:
    """Calls a share of `result.json` by a name."""
    if key in _TITLES:
        return _TITLES[key]
    kind = kind_of(key)
    return f"Corrected by {kind}" if kind else "Generated"


def shares_caption(table: ShareTable) -> str:
    """Says what the table of shares shows."""
    caption = (
        "How common each group is in the data, how often it was shown to the networks once samples "
        "were weighted (phase 2), and how common it is in what comes out."
        if DRAWN in table.columns
        else "How common each group is in the data and in what the generator makes."
    )
    if table.set_off:
        caption += " Groups that were found under-represented are set off."
    return caption


def histogram_caption(grouped: bool) -> str:
    """Says what the histogram of the scores shows."""
    return "How the discrepancy score is distributed." + (
        " Each group is drawn as percentages of its own samples, so that small groups show too. A "
        "group that lies further to the right is less well learned."
        if grouped
        else ""
    )


def dots_caption(found: GroupDiagnosis, ends: int | None) -> str:
    """Says what the chart of LDRM and LDRV shows: all groups, or so many at each end."""
    part = f" (the {ends} highest and lowest scores)" if ends else ""
    return (
        f"Mean and variance of the log-density ratio by group{part}: the dot is the mean over the "
        "group's samples, the bar their middle half."
        + (
            " Groups whose score stands out are blue, the others grey."
            if found.standing_out
            else ""
        )
    )


def scores_caption(found: GroupDiagnosis) -> str:
    """Says how the table of scores by group is to be read."""
    return (
        "Highest score first. The p-value is the chance that randomly shuffled groups would put "
        f"any group so far above the others ({found.permutations:,} shuffles). A group is reported "
        f"at p ≤ {ALPHA} if it is at least {MIN_EFFECT} standard deviations above the rest."
    )


def history_caption(rows: HistoryRows, diagnosis: Diagnosis, diverging: bool) -> str:
    """Says how the heat map is to be read; `diverging` if it has two colours, meeting at 0."""
    each = (
        "Each row is a group, the highest score on top"
        if rows.by_group
        else "Each row holds samples of similar final score, the highest on top"
    )
    colours = (
        "Red means that the discriminator takes these samples for more common in the data than in "
        "the generator's output (under-represented), blue the reverse"
        if diverging
        else "The darker, the more the discriminator takes these samples for under-represented"
    )
    boundary = diagnosis.phase_boundary
    return (
        f"{each}. {colours}. Mean over the samples of a row, from a fixed subset of "
        f"{diagnosis.history_indices.size:,} training samples."
        + (f" Phase 2, with weighted sampling, begins at step {boundary:,}." if boundary else "")
    )
