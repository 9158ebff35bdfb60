"""The share of each group in the data, among the draws, and in what is generated."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from diagan_plugin.report.charts import MAX_GROUPS, share_bars
from diagan_plugin.report.diagnosis import Diagnosis
from diagan_plugin.report.verdict import GroupDiagnosis
from gan_registry.report.document import Block, Column, Figure, Report, Table

ORDER_SHARES = 40
GENERATED = "share_generated"
"""Key of a group's share in `result.json`, followed by `_<name>` for a post-processor."""


def add_shares(
    report: Report,
    result: Mapping[str, Any],
    found: GroupDiagnosis,
    diagnosis: Diagnosis,
    names: tuple[str, ...],
) -> None:
    """Adds the section, which replaces the host's plainer one (`shares`).

    Args:
        report: The document.
        result: What `result.json` holds.
        found: The findings, which decide order and emphasis.
        diagnosis: Gives the size of the groups.
        names: Names of groups 0, 1, ….
    """
    sizes = np.bincount(diagnosis.group[diagnosis.group >= 0], minlength=len(names))
    titles = {"share_drawn": "Draws in phase 2"}
    keys = {key for name in names for key in group_entry(result, name) if key.startswith(GENERATED)}
    for key in sorted(keys):
        kind = kind_of(key)
        titles[key] = f"Generated, corrected by {kind}" if kind else "Generated"
    # What was found comes first: the generated share, then the score.
    shown = [*found.short, *(f for f in found.standing_out if not f.is_short)]
    shown += [f for f in found.findings if not f.is_flagged]
    shares: dict[str, list[float | None]] = {
        "Training data": [float(sizes[f.group] / diagnosis.num_samples) for f in shown]
    }
    for key, title in titles.items():
        column = [group_entry(result, f.name).get(key) for f in shown]
        if any(value is not None for value in column):
            shares[title] = column
    columns = [Column("Group"), *(Column(title, "percent", "right") for title in shares)]
    rows = [[f.name, *(shares[t][i] for t in shares)] for i, f in enumerate(shown)]
    flagged = frozenset(i for i, f in enumerate(shown) if f.is_flagged)
    few = len(rows) <= MAX_GROUPS
    caption = (
        "How common each group is in the data, how often it was shown to the networks once samples "
        "were weighted (phase 2), and how common it is in what comes out."
        if "Draws in phase 2" in shares
        else "How common each group is in the data and in what the generator makes."
    )
    if flagged:
        caption += " Groups that were found under-represented are set off."
    blocks: list[Block] = [
        Table(columns, rows, caption, flagged, tall=not few or len(rows) > 15, width="half")
    ]
    if few and len(shares) > 1:
        blocks.append(
            Figure(
                share_bars(shares, [f.name for f in shown]),
                "The same shares. Ideally what is generated reaches the share in the data.",
                alt="Bar chart of the shares given in the table.",
                width="half",
            )
        )
    report.add_section(
        "Shares before and after",
        *blocks,
        order=ORDER_SHARES,
        anchor="group-shares",
        replaces="shares",
    )


def group_entry(result: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    """Returns the entry of a group in `result.json`; empty if there is none."""
    groups = result.get("groups")
    entry = groups.get(name) if isinstance(groups, Mapping) else None
    return entry if isinstance(entry, Mapping) else {}


def kind_of(key: str) -> str:
    """Returns the post-processor that a key speaks of, "" for plain samples."""
    return key.removeprefix(GENERATED).lstrip("_")
