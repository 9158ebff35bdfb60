"""What to do next, by what was decided."""

from __future__ import annotations

import math
from collections.abc import Sequence

from diagan_plugin.report.decision import Decision
from diagan_plugin.report.evidence import Evidence
from diagan_plugin.report.findings import SHORT, GroupFinding
from diagan_plugin.report.naming import listing, names_of

TRY_DIA = (
    "Train with --sampler dia: the samples that the generator misses are shown to it more often."
)
_COUNT = (
    "Have the groups counted before you act on it: train or evaluate with the metric "
    "occurrence_classifier."
)


def advice(evidence: Evidence, decision: Decision) -> tuple[str, ...]:
    """Returns what to do next, the most useful first; empty where nothing is to be done."""
    if evidence.unfinished is not None:
        return ("The training goes on; this is what is known now.",)
    claim, weighted = decision.claim, evidence.weighted
    more = "--dia-window" if evidence.window_is_full else "--dia-record-every"
    todo: list[str] = []
    if claim == "nothing recognised":
        todo.append("Look at the pictures: train longer, or with a lower learning rate.")
    elif decision.conflicts:
        todo += _at_odds(decision.conflicts, evidence, more)
    elif claim == "rated":
        todo += [_COUNT, *([] if weighted else [TRY_DIA])]
    elif claim == "overdone":
        todo.append(_corrected(decision.subjects, evidence))
    elif claim in ("short", "lost") and weighted:
        todo.append(_still_short(decision.subjects, evidence.steered))
    elif claim == "short" and decision.agreed:
        todo.append(TRY_DIA)
    elif claim == "short":
        todo.append(
            "D's scores do not show it, so that drawing by them would not help: train longer, or "
            f"take more records ({more})."
        )
    elif claim == "harder" and not weighted:
        todo.append("Look at the samples of highest score: they may be made, but badly.")
    return tuple(todo)


def _still_short(short: Sequence[GroupFinding], steered: bool) -> str:
    more = "Give phase 2 more steps (--steps, or a lower --dia-phase1)"
    if all(f.was_favoured for f in short):
        return f"{more}."
    if not steered:
        more = "Draw by what the generator makes in phase 2 (--dia-rule feedback)"
    return f"{more}, or weight less (--dia-max-ratio)."


def _at_odds(conflicts: Sequence[GroupFinding], evidence: Evidence, more: str) -> list[str]:
    missed = [f for f in conflicts if f.stands_out]
    shows = "would emphasise"
    if evidence.weighted:
        shows = "emphasised" if any(f.was_favoured for f in missed) else "speak for"
    if missed:
        trust = f"Trust the count: the scores {shows} {listing(names_of(missed))}."
    else:
        trust = f"Trust the count: the scores leave out {listing(names_of(conflicts))}."
    follow = ""
    if evidence.weighted and not evidence.steered:
        follow = "; or let the draws follow the generator (--dia-rule feedback)"
    return [
        trust,
        f"Train phase 1 longer (--dia-phase1), average over more records ({more}), or record "
        f"in another mode (--dia-logits), until both agree{follow}.",
    ]


def _corrected(over: Sequence[GroupFinding], evidence: Evidence) -> str:
    findings = () if evidence.groups is None else evidence.groups.findings
    kinds = [kind for kind in over[0].states if kind]
    for kind in kinds:
        fixed = all(f.states.get(kind) == "fitting" for f in over)
        if fixed and not any(f.states.get(kind) in SHORT for f in findings):
            return f"Take the corrected samples (--samples {kind})."
    feedback = "" if evidence.steered else ", or draw by --dia-rule feedback"
    less = f"weight less (--dia-max-ratio){feedback}"
    for kind in kinds:
        if all(_is_much_nearer(f, kind) for f in over):
            return (
                f"Take the corrected samples (--samples {kind}), which come much nearer; or {less}."
            )
    text = f"{less}." if kinds else f"correct the samples (--samples drs), {less}."
    return text[0].upper() + text[1:]


def _is_much_nearer(finding: GroupFinding, kind: str) -> bool:
    """Whether less than half of an excess, as a logarithm, is left, and no shortfall is made."""
    if kind not in finding.generated or finding.states.get(kind) in SHORT:
        return False
    left, whole = (
        math.log(max(finding.generated[of], 1e-9) / finding.share_data) for of in (kind, "")
    )
    return left < 0.5 * whole
