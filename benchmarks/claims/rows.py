"""Rows of tables that compare a rare group, or several, with the others."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from benchmarks.claims.declared import Column, Row
from benchmarks.claims.training import by_kind


def groups_row(values: Mapping[str, Any], kind: str) -> Row:
    """Reads the rare groups, the others, and all samples off a result.

    Rare are groups of less than half the size of the largest, or else the smallest. What they are
    of the data and of the samples is added up; their recall and precision are means.
    """
    metrics, ending = by_kind(values, kind)
    groups = list(values["groups"].values())
    sizes = [group["share_data"] for group in groups]
    rare = [group for group in groups if group["share_data"] < max(sizes) / 2]
    rare = rare or [min(groups, key=lambda group: group["share_data"])]
    others = [group for group in groups if group not in rare]
    # By the data set's rule, or else by a classifier.
    shares = [
        group.get(f"share_generated{ending}", group.get(f"occurrence{ending}")) for group in rare
    ]
    known = [share for share in shares if share is not None]
    return {
        "truth": sum(group["share_data"] for group in rare),
        "share": sum(known) if len(known) == len(shares) else None,
        "minor_recall": _mean(group.get(f"partial_recall{ending}") for group in rare),
        "major_recall": _mean(group.get(f"partial_recall{ending}") for group in others),
        "minor_precision": _mean(group.get(f"precision{ending}") for group in rare),
        "minor_fid": _mean(group.get(f"partial_fid_to_all{ending}") for group in rare),
        "minor_error": _mean(group.get(f"reconstruction_error{ending}") for group in rare),
        **{name: metrics.get(name) for name in _OF_ALL},
    }


_OF_ALL = (
    "fid", "precision", "recall", "other", "acceptance_rate", "modes_covered", "high_quality",
)  # fmt: skip


def _mean(values: Iterable[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known else None


TRUTH = Column("rare, data", "truth", ".1%")
SHARE = Column("rare, generated", "share", ".1%")
MINOR_RECALL = Column("rare recall ↑", "minor_recall")
MAJOR_RECALL = Column("other recall ↑", "major_recall")
MINOR_PRECISION = Column("rare precision ↑", "minor_precision")
FID = Column("FID ↓", "fid", ".3g")
PRECISION = Column("precision ↑", "precision")
RECALL = Column("recall ↑", "recall")
OTHER = Column("no group ↓", "other", ".1%")
ACCEPTED = Column("accepted", "acceptance_rate", ".2f")

GROUPS = (
    TRUTH, SHARE, MINOR_RECALL, MAJOR_RECALL, FID, PRECISION, MINOR_PRECISION, RECALL, OTHER,
    ACCEPTED,
)  # fmt: skip

PAIR_RULE = (
    "A pair with the run of the same seed without Dia is won if the rare groups' partial recall is "
    "higher, their |log((share + 0.001) / (truth + 0.001))| smaller, the FID not more than 5 % "
    "worse, and the other groups' partial recall at most 0.03 lower; a tie is a loss."
)
