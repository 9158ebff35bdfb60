"""Claim 3: Gaussians on a grid, some of which are rare: who makes them, by which method."""

from __future__ import annotations

from dataclasses import replace

from benchmarks.claims.declared import PLAIN, Claim, Column, Scale
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
    plot=marks((SHARE, MINOR_RECALL, MAJOR_RECALL, FID, PRECISION), "truth"),
    quick=QUICK,
)
