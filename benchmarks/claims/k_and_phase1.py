"""Claim 3, its two settings: the weight k of √LDRV, and how long phase 1 takes."""

from __future__ import annotations

from benchmarks.claims.declared import PLAIN, Claim, Method, Scale
from benchmarks.claims.methods import DIA
from benchmarks.claims.rare_modes import COLUMNS, MEASURED, QUICK, RARE
from benchmarks.claims.rows import groups_row

_PAPER = {"PLUGINS.dia.preset": "paper"}

CLAIM = Claim(
    name="k_and_phase1",
    title="A k from 0.3 to 1 and a phase 1 of half the steps are best for a mixture",
    source="the replication, tables 2 and 3 and figures 2 and 3",
    measured=f"{MEASURED} By k with a phase 1 of 80 %, and by the length of phase 1 with k = 1.",
    failure=(
        "No k from 0.3 to 1 covers more modes than k = 0, or another length of phase 1 covers more "
        "modes than 50 %, by more than the standard deviation over the seeds."
    ),
    columns=COLUMNS,
    scales={
        "small": Scale(
            "gmm25",
            {"": RARE},
            {
                # k is of no account before phase 2.
                **{
                    f"k = {k:g}": Method(DIA, {**_PAPER, "PLUGINS.dia.k": k}, (PLAIN,))
                    for k in (0.0, 0.3, 1.0, 2.0)
                },
                **{
                    f"phase 1 of {share:.0%}": Method(
                        {**DIA, **_PAPER, "PLUGINS.dia.phase1": share}
                    )
                    for share in (0.3, 0.5, 0.9)
                },
            },
            8,
            30,
        )
    },
    row=groups_row,
    quick=QUICK,
)
