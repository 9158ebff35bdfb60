"""Claim 4 on scikit-learn's digits: a colour that G misses comes back, and nobody pays for it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from benchmarks.claims.declared import PLAIN, Claim, Column, Method, Row, Scale
from benchmarks.claims.pairs import won
from benchmarks.claims.training import by_kind

_DIA = {"RUN.sampler": "dia"}

METHODS = {
    # Drawn as `--sampler uniform` draws, sample by sample; so it shares phase 1 with the others.
    "vanilla": Method(_DIA, {"PLUGINS.dia.phase1": 1.0}),
    "paper": Method(_DIA, {"PLUGINS.dia.preset": "paper"}, (PLAIN, "drs")),
    "feedback": Method(_DIA, {"PLUGINS.dia.rule": "feedback"}, (PLAIN, "drs")),
}

LEVELS = {f"{level} %": {"DATA.options.ratio": level / 100} for level in (95, 97, 99)}


def row(values: Mapping[str, Any], kind: str) -> Row:
    """Reads what the table shows: the smallest and the largest group, and all samples."""
    metrics, ending = by_kind(values, kind)
    groups = list(values["groups"].values())
    minor = min(groups, key=lambda group: group["share_data"])
    major = max(groups, key=lambda group: group["share_data"])
    return {
        "truth": minor["share_data"],
        "share": minor.get(f"share_generated{ending}"),
        "minor_recall": minor.get(f"partial_recall{ending}"),
        "major_recall": major.get(f"partial_recall{ending}"),
        "minor_precision": minor.get(f"precision{ending}"),
        "other": metrics.get("other"),
        "acceptance_rate": metrics.get("acceptance_rate"),
        **{name: metrics.get(name) for name in ("fid", "precision", "recall")},
    }


COLUMNS = (
    Column("minor share (truth in the title)", "share", ".1%"),
    Column("minor partial recall ↑", "minor_recall"),
    Column("major partial recall ↑", "major_recall"),
    Column("FID ↓", "fid", ".1f"),
    Column("precision ↑", "precision"),
    Column("minor precision ↑", "minor_precision"),
    Column("recall ↑", "recall"),
    Column("neither colour ↓", "other", ".1%"),
    Column("accepted", "acceptance_rate", ".2f"),
)

CLAIM = Claim(
    name="coloured_digits",
    title="Weighted sampling brings a rare colour back, and the majority does not pay",
    source="Lee et al. 2021, table 5 (Colored MNIST); its replication, table 6; on small digits",
    measured=(
        "Share of the rare colour among generated samples, partial recall of both colours, FID "
        "and precision by a small classifier's features, of 10,000 samples. A pair with the run of "
        "the same seed without Dia is won if the rare colour's partial recall is higher, its "
        "|log((share + 0.001) / (truth + 0.001))| smaller, the FID not more than 5 % worse, and "
        "the partial recall of the other colour at most 0.03 lower; a tie is a loss."
    ),
    failure=(
        "Fewer pairs won than 14 of 16 at 95 %, 13 at 97 % or 12 at 99 %, for plain samples: then "
        "the rule costs the user something too often."
    ),
    columns=COLUMNS,
    scales={"small": Scale("colored_digits", LEVELS, METHODS, 8, 60)},
    row=row,
    compared=("vanilla", PLAIN),
    won=won,
    quick={
        "OPTIMIZATION.total_steps": 40,
        "PLUGINS.dia.record_every": 4,
        "RUN.num_eval": 400,
    },
)
