"""Weighs the evidence: what is claimed, of which groups. No sentence is made here.

Shares that were counted come before D's opinion. D's scores say what it missed while it was
recorded, hence they are held against the shares of that time: those when phase 1 ended where the
run drew by score, those of the end where it did not.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from diagan_plugin.report.evidence import Evidence
from diagan_plugin.report.findings import (
    MIN_SHORTFALL,
    SHORT,
    GroupDiagnosis,
    GroupFinding,
    ShareState,
)

Claim = Literal[
    "nothing recognised", "overdone", "lost", "short", "contradicted", "rated", "recovered",
    "harder", "even",
]  # fmt: skip
Fate = Literal["recovered", "better", "overdone", "lost", "worse", "short as before", "kept"]

ENOUGH: tuple[ShareState, ...] = ("fitting", "too often")

_SHORT_STILL: dict[int, Fate] = {1: "better", 0: "short as before", -1: "worse"}


@dataclass(frozen=True)
class Decision:
    """What is claimed.

    Attributes:
        claim: Its kind.
        subjects: The groups it is about, those that fare worst first.
        conflicts: Groups of which D says another thing than the count.
        agreed: Groups of which D and the count agree that they are made too rarely.
        drawn_less: Groups that the weights made clearly rarer among the draws, most so first.
        fates: What phase 2 did to each group that it changed, and to each that was short.
    """

    claim: Claim
    subjects: tuple[GroupFinding, ...] = ()
    conflicts: tuple[GroupFinding, ...] = ()
    agreed: tuple[GroupFinding, ...] = ()
    drawn_less: tuple[GroupFinding, ...] = ()
    fates: tuple[tuple[GroupFinding, Fate], ...] = ()


def decide(evidence: Evidence) -> Decision:
    """Decides what is claimed of the groups, which must be known."""
    found = evidence.groups
    assert found is not None
    weighted = evidence.weighted
    short, rated = found.short, found.standing_out
    overdone = found.overdone if weighted else ()
    lost = tuple(f for f in short if weighted and f.state_before in ENOUGH and f.change < 0)
    conflicts = _conflicts(found, weighted)
    counted = tuple(f for f in rated if f.state is not None)
    claim: Claim
    subjects: tuple[GroupFinding, ...] = ()
    if found.recognised.get("") == 0.0:
        claim = "nothing recognised"
    elif overdone and all(f.was_displaced for f in short):
        claim, subjects = "overdone", overdone
    elif short:
        claim, subjects = "lost" if len(lost) == len(short) else "short", short
    elif conflicts:
        claim, subjects = "contradicted", conflicts
    elif rated and not counted:
        claim, subjects = "rated", rated
    elif rated and weighted and not any(_was_as_now(f) for f in counted):
        claim, subjects = "recovered", counted
    elif rated:
        claim, subjects = "harder", counted
    else:
        claim = "even"
    return Decision(
        claim,
        subjects,
        conflicts,
        tuple(f for f in rated if _then(f, weighted) in SHORT),
        _drawn_less(found) if weighted else (),
        _fates(found) if weighted else (),
    )


def _then(finding: GroupFinding, weighted: bool) -> ShareState | None:
    """Returns the state of the share when D was recorded; None if it is not known."""
    return finding.state_before if weighted else finding.state


def _was_as_now(finding: GroupFinding) -> bool:
    """Whether phase 2 need not have brought a group to its share: it was there, or beside it."""
    return finding.state_before == "fitting" or (finding.was_short and finding.change <= 0)


def _conflicts(found: GroupDiagnosis, weighted: bool) -> tuple[GroupFinding, ...]:
    """Finds the groups of which D and the count say opposite things.

    Those that D misses though they are made too often, unless the end proves it right; and those
    that are made too rarely and that D does not miss, while it misses others that are not. A group
    that D rates high and that is made often enough is no contradiction: its samples may look wrong.
    """
    rated = found.standing_out
    missed = [f for f in rated if _then(f, weighted) == "too often" and not f.is_short]
    misled = any(_then(f, weighted) in ENOUGH for f in rated)
    unseen = [f for f in found.findings if _then(f, weighted) in SHORT and not f.stands_out]
    return (*missed, *(unseen if misled else ()))


def _drawn_less(found: GroupDiagnosis) -> tuple[GroupFinding, ...]:
    less = [
        (f.share_drawn / f.share_data, f.group, f)
        for f in found.findings
        if f.share_drawn is not None and f.share_drawn <= (1.0 - MIN_SHORTFALL) * f.share_data
    ]
    return tuple(f for _, _, f in sorted(less, key=lambda entry: entry[:2]))


def _fates(found: GroupDiagnosis) -> tuple[tuple[GroupFinding, Fate], ...]:
    """Says what became of the groups, where both ends of phase 2 were measured."""
    fates = [(f, fate) for f in found.findings if (fate := _fate(f)) != "kept"]
    order = {"short as before": 1, "worse": 0, "lost": 0}
    return tuple(sorted(fates, key=lambda entry: (order.get(entry[1], 2), entry[0].group)))


def _fate(finding: GroupFinding) -> Fate:
    before, after = finding.state_before, finding.state
    if before is None or after is None:
        return "kept"
    if before in SHORT and after in SHORT:
        return _SHORT_STILL[finding.change]
    if after in SHORT:
        return "lost" if finding.change < 0 else "short as before"
    # A share at the edge of what counts as short is now on this side of it, now on that.
    if finding.change > 0 and before in SHORT:
        return "recovered" if after == "fitting" else "overdone"
    if finding.change > 0 and (before, after) == ("fitting", "too often"):
        return "overdone"
    return "kept"
