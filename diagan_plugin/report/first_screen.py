"""What a reader sees first: the verdict, what to do next, three numbers."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from diagan_plugin.report.decision import decide
from diagan_plugin.report.evidence import Evidence
from diagan_plugin.report.findings import GroupDiagnosis, GroupFinding
from gan_registry.formatting import NBSP, figure, percent
from gan_registry.report.document import Block, Number, Numbers, Text, Verdict

_SENTENCES = 3
_NUMBERS = 3
_METRICS = (
    ("fid", "FID", "0 is alike"),
    ("recall", "Recall", "of real samples that the generator could have made"),
    ("coverage", "Coverage", "of real samples with a generated one nearby"),
)


def first_screen(verdict: Verdict, evidence: Evidence) -> list[Block]:
    """Returns the blocks of the first section; :func:`why` has the rest of the sentences."""
    short = dataclasses.replace(verdict, sentences=verdict.sentences[:_SENTENCES])
    numbers = Numbers(tuple(_numbers(evidence)[:_NUMBERS]))
    return [short, numbers] if numbers.items else [short]


def why(verdict: Verdict) -> list[Block]:
    """Returns what else backs the verdict; nothing if the first section says it all."""
    rest = verdict.sentences[_SENTENCES:]
    return [Text("\n\n".join(rest))] if rest else []


def _numbers(evidence: Evidence) -> list[Number]:
    found = evidence.groups
    numbers = [] if found is None else [_share(found, decide(evidence).subjects)]
    after, before = evidence.after.get("", {}), evidence.before
    for name, label, note in _METRICS:
        if name in after:
            was = f"{figure(before[name])} when phase 1 ended" if name in before else note
            corrected = [
                f"{figure(values[name])} corrected by {kind}"
                for kind, values in evidence.after.items()
                if kind and name in values
            ]
            numbers.append(Number(label, figure(after[name]), "; ".join([was, *corrected])))
    return [number for number in numbers if number is not None]


def _share(found: GroupDiagnosis, subjects: Sequence[GroupFinding]) -> Number | None:
    """Returns the share of the first group that the verdict is about, or of the rarest counted."""
    counted = [f for f in (subjects or found.findings) if f.state is not None]
    if not counted:
        return None
    shown = counted[0] if subjects else min(counted, key=lambda f: f.share_data)
    made = f"{percent(shown.share_data)} of the data"
    assert shown.interval is not None
    low, high = shown.interval
    between = f"95{NBSP}% interval {percent(low)} to {percent(high)}"
    return Number(
        f"“{shown.name}” of what is generated",
        percent(shown.generated[""]),
        f"{made}; {between}",
    )
