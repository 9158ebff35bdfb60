"""What a run chose for itself, as a section of its report: `--dia-k auto`, `--dia-phase1 auto`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from gan_registry.report.document import Block, Column, Report, Table, Text

ORDER = 58


def add_choices(report: Report, result: Mapping[str, Any]) -> None:
    """Adds what was chosen and why, if the result has `chosen`."""
    chosen = result.get("chosen")
    if not isinstance(chosen, Mapping) or not chosen:
        return
    blocks: list[Block] = [
        Text(str(entry["why"])) for _, entry in sorted(chosen.items()) if entry.get("why")
    ]
    compared = chosen.get("phase1", {}).get("rank_correlations") or ()
    if compared:
        rows = [[step, value] for step, value in compared]
        blocks.append(
            Table(
                [Column("Step", ",", "right"), Column("Rank correlation", ".3f", "right")],
                rows,
                "How alike the scores of the last window and of the one before it rank the "
                "training samples (Spearman): 1 is the same order, 0 none in common.",
                tall=len(rows) > 15,
            )
        )
    report.add_section("What this run chose", *blocks, order=ORDER, anchor="chosen")
