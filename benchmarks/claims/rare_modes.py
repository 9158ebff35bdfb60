"""Claim 3: Gaussians on a grid, some of which are rare: who makes them, by which method."""

from __future__ import annotations

from dataclasses import replace

from benchmarks.claims.declared import PLAIN, Claim, Column, Part, Rows, Scale
from benchmarks.claims.findings import above, number, pairs_won
from benchmarks.claims.methods import OTHERS, OURS
from benchmarks.claims.pairs import won
from benchmarks.claims.plots import marks
from benchmarks.claims.rows import (
    ACCEPTED,
    FID,
    GROUPS,
    MAJOR_RECALL,
    MINOR_RECALL,
    PAIR_RULE,
    PRECISION,
    SHARE,
    groups_row,
)

RARE = {
    "DATA.options.rare_modes": [3, 6, 12, 16, 23], "DATA.options.rare_share": 0.1,
    "DATA.options.num_samples": 10_000,
}  # fmt: skip

COLUMNS = (
    Column("modes ↑", "modes_covered", ".1f"),
    *(column for column in GROUPS if column.key not in ("minor_precision", "other", ACCEPTED.key)),
    Column("in a mode ↑", "high_quality", ".1%"),
    ACCEPTED,
)

QUICK = {"OPTIMIZATION.total_steps": 60, "PLUGINS.dia.record_every": 3, "RUN.num_eval": 500}

MEASURED = (
    "25 Gaussians, 5 of them a tenth as frequent as the others: modes with at least 10 of 10,000 "
    "generated samples, share and partial recall of the rare ones, samples within 4 standard "
    "deviations of a mode, FID, precision and recall of the points."
)

_PUBLISHED = ("paper", "drs")
"""Dia as published: by the scores until the end, then corrected."""


def verdict(rows: Rows) -> list[Part]:
    """Holds Dia's modes and pairs against the run without it, and its modes against the others."""

    def modes(method: str, kind: str) -> float | None:
        return number(rows, "", method, kind, "modes_covered")

    parts = []
    for method, kind in (_PUBLISHED, ("feedback", PLAIN)):
        text = f"`{method}`, {kind}"
        parts.append(
            above(f"{text} covers more modes, {{mine}}, than the run without Dia, {{other}}",
                  modes(method, kind), modes("vanilla", PLAIN))
        )  # fmt: skip
        won_pairs = pairs_won(rows, "", (method, kind), ("vanilla", PLAIN), won)
        parts.append(
            Part(
                sum(won_pairs) >= 0.75 * len(won_pairs) if won_pairs else None,
                f"{text} has won {sum(won_pairs)} of {len(won_pairs)} pairs (6 of 8 are needed)",
            )
        )
    known = [(name, count) for name in OTHERS if (count := modes(name, PLAIN)) is not None]
    most, count = max(known, key=lambda one: one[1], default=("", None))
    text = (
        f"`paper`, drs covers at least as many modes, {{mine}}, as {most or 'any other'}, {{other}}"
    )
    return [*parts, above(text, modes(*_PUBLISHED), count, slack=0.0)]


CLAIM = Claim(
    name="rare_modes",
    title="Weighted sampling covers rare modes of a mixture",
    source="Lee et al. 2021, section 3.3; its replication, table 4 and figure 4",
    measured=f"{MEASURED} {PAIR_RULE}",
    failure=(
        "Dia covers no more modes than the run without it in the mean over seeds, or wins fewer "
        "than 6 of 8 pairs, or another method covers more."
    ),
    columns=COLUMNS,
    scales={
        "small": Scale(
            "gmm25",
            {"": RARE},
            {**OURS, "vanilla": replace(OURS["vanilla"], kinds=(PLAIN, "drs")), **OTHERS},
            8,
            40,
        )
    },
    row=groups_row,
    compared=("vanilla", PLAIN),
    won=won,
    verdict=verdict,
    plot=marks((SHARE, MINOR_RECALL, MAJOR_RECALL, FID, PRECISION), "truth"),
    quick=QUICK,
)
