"""The one sentence that says what was found."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from diagan_plugin.report.decision import ENOUGH, Decision
from diagan_plugin.report.findings import SHORT, GroupDiagnosis, GroupFinding, are_undone
from diagan_plugin.report.naming import listing, names_of
from gan_registry.formatting import percent

Tone = Literal["ok", "attention", "neutral"]


def headline(found: GroupDiagnosis, decision: Decision) -> tuple[str, Tone]:
    """Returns the one sentence that says what was found, and its tone."""
    about = decision.subjects
    if decision.claim == "nothing recognised":
        return "Nothing that the generator makes belongs to any known group.", "attention"
    if decision.claim == "overdone":
        undone = are_undone([*about, *found.short])
        return _overdone_headline(about, found.short), "neutral" if undone else "attention"
    if decision.claim == "lost":
        return _lost_headline(about), "attention"
    if decision.claim == "short":
        return _short_headline(about, found, decision), "attention"
    if decision.claim == "contradicted":
        return _contradicted_headline(about, found), "attention"
    if decision.claim == "rated":
        counted = "this was not counted" if found.is_measured else "no share was measured"
        names = listing(names_of(about))
        return f"D rates {names} as under-represented; {counted}.", "attention"
    if decision.claim == "recovered":
        return _after_dia(about), "ok"
    if decision.claim == "harder":
        return f"{_none(found)} is generated too rarely, but some are harder to learn.", "ok"
    if not found.is_measured:
        return "D rates no group as under-represented; no share was measured.", "ok"
    if len(found.uncounted) == len(found.findings):
        return "D rates no group as under-represented; none could be counted.", "neutral"
    return f"{_none(found)} is under-represented.", "neutral" if found.uncounted else "ok"


def _none(found: GroupDiagnosis) -> str:
    """Says that a sentence holds for no group, as far as they were counted."""
    return "No group that could be counted" if found.uncounted else "No group"


def _short_headline(
    short: Sequence[GroupFinding], found: GroupDiagnosis, decision: Decision
) -> str:
    end = "."
    if any(f in short for f in decision.conflicts):
        seen = [f for f in short if f.stands_out]
        end = "; the discriminator points elsewhere."
        if seen:
            end = f"; the discriminator agrees about {listing(names_of(seen))} alone."
    if any(f.state != "too rare" for f in short):
        parts = []
        for state, how in zip(SHORT, ("never", "hardly ever", "too rarely"), strict=True):
            if such := [f for f in short if f.state == state]:
                parts.append(f"{how} makes {listing(names_of(such))}")
        return f"The generator {', and '.join(parts)}{end}"
    if len(short) == 1:
        only = short[0]
        return (
            f"“{only.name}” is under-represented: {percent(only.share_data)} of the data, but only "
            f"{percent(only.generated[''])} of what the generator makes{end}"
        )
    return (
        f"{len(short)} of {len(found.findings)} groups ({listing(names_of(short))}) are "
        f"under-represented in what the generator makes{end}"
    )


def _overdone_headline(over: Sequence[GroupFinding], short: Sequence[GroupFinding]) -> str:
    lost = f", at the expense of {listing(names_of(short))}" if short else ""
    if len(over) > 1:
        return f"Dia overcorrects: {listing(names_of(over))} are now made too often{lost}."
    only = over[0]
    was = "was made often enough" if only.state_before in ENOUGH else "was hard to learn"
    return (
        f"“{only.name}” {was}; Dia overcorrects: it is {percent(only.share_data)} of the data and "
        f"now {percent(only.generated[''])} of what the generator makes{lost}."
    )


def _lost_headline(lost: Sequence[GroupFinding]) -> str:
    if len(lost) > 1:
        return f"Phase 2 cost {listing(names_of(lost))}: made often enough before, too rarely now."
    only = lost[0]
    assert only.before is not None
    return (
        f"Phase 2 cost “{only.name}”: {percent(only.share_data)} of the data, "
        f"{percent(only.before)} of what the generator made before and "
        f"{percent(only.generated[''])} of what it makes now."
    )


def _contradicted_headline(about: Sequence[GroupFinding], found: GroupDiagnosis) -> str:
    return (
        f"The discriminator and the count contradict each other about {listing(names_of(about))}; "
        f"{_none(found).lower()} is made too rarely now."
    )


def _after_dia(scored: Sequence[GroupFinding]) -> str:
    names = listing(names_of(scored))
    was, each = ("was", "it") if len(scored) == 1 else ("were", "each")
    if all(f.was_short for f in scored):
        return f"{names} {was} made too rarely when phase 1 ended; now {each} is made often enough."
    return f"{names} {was} hard for the generator to learn; now it makes enough of {each}."
