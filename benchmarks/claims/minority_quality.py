"""Claim 4: all methods, by all measures of the rare colour, on the coloured digits."""

from __future__ import annotations

from benchmarks.claims.declared import PLAIN, Claim, Column, Part, Rows, Scale, Settings
from benchmarks.claims.findings import above, below, cases_of, number
from benchmarks.claims.methods import OTHERS, OURS, QUICK
from benchmarks.claims.pairs import won
from benchmarks.claims.plots import marks
from benchmarks.claims.rows import (
    FID,
    MAJOR_RECALL,
    MINOR_PRECISION,
    MINOR_RECALL,
    PAIR_RULE,
    PRECISION,
    SHARE,
    TRUTH,
    groups_row,
)

METRICS = {
    "RUN.eval_metrics": [
        "fid", "precision", "recall", "partial_recall", "group_precision", "partial_fid",
        "reconstruction_error",
    ]
}  # fmt: skip
METHODS = {**OURS, **OTHERS}

CASES: dict[str, Settings] = {
    f"{level} %": {**METRICS, "DATA.options.ratio": level / 100} for level in (95, 99, 90)
}


def verdict(rows: Rows) -> list[Part]:
    """Holds Dia's reconstruction error against the others', its share and recall against none."""
    return [part for case in cases_of(rows) for part in _of_case(rows, case)]


def _of_case(rows: Rows, case: str) -> list[Part]:
    def mean(method: str, kind: str, key: str) -> float | None:
        return number(rows, case, method, kind, key)

    parts = []
    if "90 %" not in case:
        rivals = {
            name: error for name in ("vanilla", *OTHERS)
            if (error := mean(name, PLAIN, "minor_error")) is not None
        }  # fmt: skip
        best = min(rivals, key=rivals.__getitem__, default="another method")
        text = f"{case}: the rare group's RE with `paper`, drs, {{mine}}, is below that of {best}"
        parts.append(
            below(f"{text}, {{other}}", mean("paper", "drs", "minor_error"), rivals.get(best))
        )
    for key, what, form in (("share", "share", ".1%"), ("minor_recall", "recall", ".2f")):
        text = f"{case}: its {what}, {{mine}}, is above that without Dia, {{other}}"
        ours, none = mean("paper", "drs", key), mean("vanilla", PLAIN, key)
        parts.append(above(text, ours, none, form))
    return parts


CLAIM = Claim(
    name="minority_quality",
    title="Dia makes the minority best of all methods, the more so the rarer it is",
    source="Lee et al. 2021, table 5; its replication, table 6; on small digits",
    measured=(
        "Reconstruction error (RE) of the rare colour's training samples by an autoencoder trained "
        "on generated ones, its share, partial recall, and FID of its training samples against all "
        f"generated ones. {PAIR_RULE} No method was tuned."
    ),
    failure=(
        "RE of the rare colour is not lowest for Dia, in the mean over seeds, at 99 or at 95 %; or "
        "its share or partial recall is not above that of the run without it."
    ),
    columns=(
        Column("rare RE ↓", "minor_error"),
        TRUTH,
        SHARE,
        MINOR_RECALL,
        MAJOR_RECALL,
        Column("rare partial FID ↓", "minor_fid", ".3g"),
        FID,
        PRECISION,
        MINOR_PRECISION,
    ),
    scales={"small": Scale("colored_digits", CASES, METHODS, 8, 130)},
    row=groups_row,
    compared=("vanilla", PLAIN),
    won=won,
    verdict=verdict,
    plot=marks((SHARE, MINOR_RECALL, MAJOR_RECALL, FID, PRECISION), "truth", log=("fid",)),
    quick=QUICK,
)
