"""Whether phase 2 helped, in numbers; and where D and the count contradict each other, and why."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from diagan_plugin.report.decision import Decision, Fate
from diagan_plugin.report.evidence import Evidence
from diagan_plugin.report.findings import GroupFinding
from diagan_plugin.report.naming import SHOWN
from gan_registry.formatting import percent

_CHANGE = 0.05
"""Smallest relative change of a metric that counts."""

_QUALITY = (("fid", "FID", "down"), ("recall", "recall", "up"), ("coverage", "coverage", "up"))
"""Metrics that say whether it helped: name, what to call it, which way is better."""

_GOOD: tuple[Fate, ...] = ("recovered", "better")
_BAD: tuple[Fate, ...] = ("overdone", "lost", "worse")


def help_sentences(evidence: Evidence, decision: Decision | None) -> list[str]:
    """Says whether phase 2 helped, by what was measured when phase 1 ended and at the end."""
    if not evidence.weighted or not evidence.before:
        return []
    plain = evidence.after.get("", {})
    fates = () if decision is None else decision.fates
    good = sum(fate in _GOOD for _, fate in fates)
    bad = sum(fate in _BAD for _, fate in fates)
    moves = {
        name: _moved(evidence.before[name], plain[name], way)
        for name, _, way in _QUALITY
        if name in evidence.before and name in plain
    }
    good += sum(move == "better" for move in moves.values())
    bad += sum(move == "worse" for move in moves.values())
    if good and bad:
        opening = "Phase 2 helped in part"
    elif good:
        opening = "Phase 2 helped"
    else:
        opening = "Phase 2 did not help" if bad else "Phase 2 changed little"
    worse, better = ([f for f, fate in fates if fate in kind] for kind in (_BAD, _GOOD))
    followed = [worse[0], better[0]] if worse and better else [f for f, _ in fates[:2]]
    facts = [_share(f) for f in followed]
    facts += [
        _metric(name, label, evidence.before, evidence.after)
        for name, label, _ in _QUALITY
        if moves.get(name, "same") != "same" or name == "fid"
    ]
    told = "; ".join(fact for fact in facts if fact)
    return [f"{opening}: {told} (when phase 1 ended → now)."] if told else []


def conflict_sentences(evidence: Evidence, decision: Decision) -> list[str]:
    """Says what D and the count contradict each other about, and why that may be."""
    if not decision.conflicts:
        return []
    missed = [f for f in decision.conflicts if f.stands_out]
    unseen = [f for f in decision.conflicts if not f.stands_out]
    parts = []
    if missed:
        parts.append(f"it misses {_counted(missed, evidence)}, made too often")
    if unseen:
        parts.append(f"it does not miss {_counted(unseen, evidence)}, made too rarely")
    when = " when phase 1 ended" if evidence.weighted else ""
    why = "; ".join((*evidence.circumstances, "a score also says how badly a group's samples look"))
    return [
        f"The discriminator contradicts the count{when}: {', and '.join(parts)}.",
        f"Why that may be: {why}.",
    ]


def _counted(findings: list[GroupFinding], evidence: Evidence) -> str:
    shown = []
    for f in findings[:SHOWN]:
        made = f.before if evidence.weighted else f.generated[""]
        assert made is not None
        shown.append(f"“{f.name}” ({percent(made)}, {percent(f.share_data)} of the data)")
    more = f" and {len(findings) - SHOWN} others" if len(findings) > SHOWN else ""
    return f"{', '.join(shown)}{more}"


def _moved(before: float, after: float, better: str) -> Literal["better", "worse", "same"]:
    if abs(after - before) <= _CHANGE * max(abs(before), 1e-12):
        return "same"
    return "better" if (after > before) == (better == "up") else "worse"


def _share(f: GroupFinding) -> str:
    assert f.before is not None
    corrected = [f"{percent(s)} corrected by {kind}" for kind, s in f.generated.items() if kind]
    end = f" ({', '.join(corrected)})" if corrected else ""
    return (
        f"share of “{f.name}” {percent(f.before)} → {percent(f.generated[''])}{end}, "
        f"{percent(f.share_data)} of the data"
    )


def _metric(
    name: str, label: str, before: Mapping[str, float], after: Mapping[str, Mapping[str, float]]
) -> str:
    if name not in before or name not in after.get("", {}):
        return ""
    corrected = [
        f"{metrics[name]:.3g} corrected by {kind}"
        for kind, metrics in after.items()
        if kind and name in metrics
    ]
    end = f" ({', '.join(corrected)})" if corrected else ""
    return f"{label} {before[name]:.3g} → {after[''][name]:.3g}{end}"
