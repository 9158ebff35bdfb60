"""What changed in phase 2, in numbers; and where D and the count contradict each other, and why."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from diagan_plugin.report.decision import ENOUGH, Decision, Fate
from diagan_plugin.report.evidence import Evidence
from diagan_plugin.report.findings import SHORT, GroupFinding
from diagan_plugin.report.naming import SHOWN
from gan_registry.formatting import figure, percent

_CHANGE = 0.05
"""Smallest relative change of a metric that counts."""

_QUALITY = (("fid", "FID", "down"), ("recall", "recall", "up"), ("coverage", "coverage", "up"))
"""Metrics that say what it was worth: name, what to call it, which way is better."""

_GOOD: tuple[Fate, ...] = ("recovered", "better")
_BAD: tuple[Fate, ...] = ("overdone", "lost", "worse")


def help_sentences(evidence: Evidence, decision: Decision | None) -> list[str]:
    """Says what phase 2 ended with, by what was measured when phase 1 ended and at the end."""
    if not evidence.weighted or not evidence.before:
        return []
    fates = () if decision is None else decision.fates
    moves = _moves(evidence, "")
    good = _count(moves, "better") + sum(fate in _GOOD for _, fate in fates)
    bad = _count(moves, "worse") + sum(fate in _BAD for _, fate in fates)
    if good and bad:
        opening = "Phase 2 ended better in part"
    elif good:
        opening = "Phase 2 ended better than it began"
    elif bad:
        opening = f"Phase 2 ended worse than it began{_once_corrected(evidence)}"
    else:
        opening = "Phase 2 changed little"
    worse, better = ([f for f, fate in fates if fate in kind] for kind in (_BAD, _GOOD))
    followed = [worse[0], better[0]] if worse and better else [f for f, _ in fates[:2]]
    facts = [_share(f) for f in followed]
    facts += [
        _metric(name, label, evidence.before, evidence.after)
        for name, label, _ in _QUALITY
        if moves.get(name, "same") != "same" or name == "fid"
    ]
    told = "; ".join(fact for fact in facts if fact)
    if not told:
        return []
    sentences = [f"{opening}: {told} (when phase 1 ended → now)."]
    if good:
        # Both ends belong to one run: nothing was measured of what Dia's draws did.
        sentences.append(
            "Whether that is Dia's doing or that of the further steps is told by a run of the same "
            "length with --sampler uniform."
        )
    return sentences


def _once_corrected(evidence: Evidence) -> str:
    """Says whether corrected samples are better than those before; empty where they are not."""
    findings = () if evidence.groups is None else evidence.groups.findings
    for kind in filter(None, evidence.after):
        moves = _moves(evidence, kind)
        mended = any(f.was_short and f.states.get(kind) == "fitting" for f in findings)
        spoilt = any(f.state_before in ENOUGH and f.states.get(kind) in SHORT for f in findings)
        if mended or _count(moves, "better"):
            part = " in part" if spoilt or _count(moves, "worse") else ""
            return f" by itself, but better{part} once corrected by {kind}"
    return ""


def _moves(evidence: Evidence, kind: str) -> dict[str, Literal["better", "worse", "same"]]:
    """Says how the metrics of a kind of samples compare with those when phase 1 ended."""
    before, after = evidence.before, evidence.after.get(kind, {})
    return {
        name: _moved(before[name], after[name], way)
        for name, _, way in _QUALITY
        if name in before and name in after
    }


def _count(moves: Mapping[str, str], which: str) -> int:
    return sum(move == which for move in moves.values())


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
        f"{figure(metrics[name])} corrected by {kind}"
        for kind, metrics in after.items()
        if kind and name in metrics
    ]
    end = f" ({', '.join(corrected)})" if corrected else ""
    return f"{label} {figure(before[name])} → {figure(after[''][name])}{end}"
