"""What to do next, by what was decided."""

from __future__ import annotations

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
        todo += _at_odds(decision.conflicts, weighted, more)
    elif claim == "rated":
        todo += [_COUNT, *([] if weighted else [TRY_DIA])]
    elif claim == "overdone":
        todo.append(_corrected(decision.subjects))
    elif claim in ("short", "lost") and weighted:
        todo.append(
            "Draw by what the generator makes in phase 2 (--dia-rule feedback), or weight less "
            "(--dia-max-ratio)."
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


def _at_odds(conflicts: Sequence[GroupFinding], weighted: bool, more: str) -> list[str]:
    missed = [f for f in conflicts if f.stands_out]
    about = listing(names_of(missed)) if missed else "groups that are made often enough"
    shows = "emphasised" if weighted else "would emphasise"
    return [
        f"Trust the count: drawing by these scores {shows} {about}.",
        f"Train phase 1 longer (--dia-phase1), average over more records ({more}), or record "
        "in another mode (--dia-logits), until both agree"
        + ("; or let the draws follow the generator (--dia-rule feedback)." if weighted else "."),
    ]


def _corrected(over: Sequence[GroupFinding]) -> str:
    kinds = [kind for kind in over[0].states if kind]
    fixed = [k for k in kinds if all(f.states.get(k) == "fitting" for f in over)]
    if fixed:
        return f"Take the corrected samples (--samples {fixed[0]})."
    correct = "" if kinds else "correct the samples (--samples drs), "
    text = f"{correct}weight less (--dia-max-ratio), or draw by --dia-rule feedback."
    return text[0].upper() + text[1:]
