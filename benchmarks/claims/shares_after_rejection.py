"""Claim 7: the auxiliary discriminator's ratio brings the shares back that the weights bent."""

from __future__ import annotations

from benchmarks.claims.declared import PLAIN, Claim, Method, Scale
from benchmarks.claims.methods import DIA, QUICK
from benchmarks.claims.rows import GROUPS, groups_row

_KINDS = ("drs", "drs_exact", "obrs")
_PAPER = {"PLUGINS.dia.preset": "paper"}

CLAIM = Claim(
    name="shares_after_rejection",
    title="Rejection by an auxiliary discriminator brings the shares back, by D itself does not",
    source="Lee et al. 2021, section 4.3",
    measured=(
        "Coloured digits after Dia's phase 2 by the published weights: share of the rare colour "
        "plain and after rejection by a percentile (`drs`), exact (`drs_exact`) and with a budget "
        "of one half (`obrs`), judged by the auxiliary discriminator and by D itself. The "
        "generator is the same for both, as the auxiliary discriminator alters nothing."
    ),
    failure=(
        "The share after rejection by the auxiliary discriminator is further from the data's than "
        "that by D itself, in the mean over seeds, or further from it than a factor of 2."
    ),
    columns=GROUPS,
    scales={
        "small": Scale(
            "colored_digits",
            {"95 %": {"DATA.options.ratio": 0.95}},
            {
                "auxiliary D": Method(DIA, _PAPER, (PLAIN, *_KINDS)),
                "D itself": Method(DIA, {**_PAPER, "PLUGINS.dia.aux": "none"}, _KINDS),
            },
            8,
            90,
        )
    },
    row=groups_row,
    quick=QUICK,
)
