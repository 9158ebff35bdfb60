"""What to do next, by what was decided."""

from __future__ import annotations

import math
from collections.abc import Sequence

from diagan_plugin.report.decision import Decision
from diagan_plugin.report.evidence import Evidence
from diagan_plugin.report.findings import GroupFinding
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
        todo.append(_corrected(decision.subjects, evidence.steered))
    elif claim in ("short", "lost") and weighted:
        todo.append(
            (
                "Give phase 2 more steps (--steps, --dia-phase1)"
                if evidence.steered
                else "Draw by what the generator makes in phase 2 (--dia-rule feedback)"
            )
            + ", or weight less (--dia-max-ratio)."
        )
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


def _at_odds(conflicts: Sequence[GroupFinding], evidence: Evidence, more: str) -> list[str]:
    missed = [f for f in conflicts if f.stands_out]
    about = listing(names_of(missed)) if missed else "groups that are made often enough"
    weighted = evidence.weighted
    shows = "emphasised" if weighted else "would emphasise"
    follow = "; or let the draws follow the generator (--dia-rule feedback)"
    return [
        f"Trust the count: drawing by these scores {shows} {about}.",
        f"Train phase 1 longer (--dia-phase1), average over more records ({more}), or record "
        "in another mode (--dia-logits), until both agree"
        + (f"{follow}." if weighted and not evidence.steered else "."),
    ]


def _corrected(over: Sequence[GroupFinding], steered: bool) -> str:
    kinds = [kind for kind in over[0].states if kind]
    for kind in kinds:
        if all(f.states.get(kind) == "fitting" for f in over):
            return f"Take the corrected samples (--samples {kind})."
    less = "weight less (--dia-max-ratio)" + ("" if steered else ", or draw by --dia-rule feedback")
    for kind in kinds:
        if all(_excess(f, kind) < 0.5 * _excess(f, "") for f in over):
            return (
                f"Take the corrected samples (--samples {kind}), which come much nearer; or {less}."
            )
    text = f"{less}." if kinds else f"correct the samples (--samples drs), {less}."
    return text[0].upper() + text[1:]


def _excess(finding: GroupFinding, kind: str) -> float:
    """Returns by how much a group is made too often, as a logarithm."""
    share = finding.generated.get(kind, math.inf)
    return abs(math.log(max(share, 1e-9) / finding.share_data))
