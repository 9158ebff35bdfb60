"""The verdict in plain English, made from the evidence and what was decided of it.

No threshold stands here. What was counted is told as a fact, D's scores as D's opinion.
"""

from __future__ import annotations

from collections.abc import Sequence

from diagan_plugin.report.action_wording import correction_sentences, drawn_sentences
from diagan_plugin.report.advice import TRY_DIA, advice
from diagan_plugin.report.decision import Decision, decide
from diagan_plugin.report.evidence import Evidence
from diagan_plugin.report.findings import (
    ALPHA,
    MIN_EFFECT,
    MIN_RECOGNISED,
    MIN_SHORTFALL,
    MOSTLY_UNRECOGNISED,
    MUCH_UNRECOGNISED,
    GroupDiagnosis,
    GroupFinding,
    SampleDiagnosis,
)
from diagan_plugin.report.headlines import headline
from diagan_plugin.report.naming import SHOWN, listing, names_of
from diagan_plugin.report.outcome_wording import conflict_sentences, help_sentences
from gan_registry.formatting import format_cell, percent
from gan_registry.report.document import Verdict

_FIRST = 2
"""So many groups are told in numbers before it is said whether phase 2 helped."""


def word(evidence: Evidence) -> Verdict:
    """Words the one verdict of a run: the most important sentences first."""
    if evidence.dead is not None:
        return evidence.dead
    if evidence.groups is None:
        assert evidence.samples is not None
        verdict = _sample_verdict(evidence.samples, weighted=evidence.weighted)
        sentences: list[str] = [*verdict.sentences, *help_sentences(evidence, None)]
        title, tone, todo = verdict.headline, verdict.tone, verdict.todo
    else:
        decision = decide(evidence)
        title, tone = headline(evidence.groups, decision)
        sentences = _sentences(evidence, evidence.groups, decision)
        todo = advice(evidence, decision)
    if evidence.limits:
        tone = "attention"
    if evidence.unfinished is not None:
        step, total = evidence.unfinished
        title = f"So far (step {step:,} of {total:,}): {title}"
    said = (*evidence.limits, *sentences, *evidence.comforts)
    return Verdict(title, said, tone, todo=todo)


def _sentences(evidence: Evidence, found: GroupDiagnosis, decision: Decision) -> list[str]:
    scored, short, weighted = found.standing_out, found.short, evidence.weighted
    told = {"overdone": decision.subjects, "lost": decision.subjects}.get(decision.claim, short)
    shown = [*told, *(f for f in short if f not in told)]
    if decision.claim == "recovered":
        shown = list(scored)
    one = len(told) == 1 and decision.claim in ("overdone", "short", "lost")
    made = _made(shown, skip_first=one)
    sentences = [*made[:_FIRST], *help_sentences(evidence, decision), *made[_FIRST:]]
    sentences += conflict_sentences(evidence, decision)
    sentences += correction_sentences(decision.subjects if decision.claim == "overdone" else ())
    if weighted:
        sentences += drawn_sentences([*short, *(f for f in scored if f not in short)], decision)
    sentences += _scores(found, scored, decision)
    counted = any(f.state is not None for f in found.findings)
    if counted and not short and decision.claim != "recovered":
        which = " that could be counted" if found.uncounted else ""
        sentences.append(
            f"The generator makes no group{which} clearly less often than it occurs in the data "
            f"(by {_rounded(MIN_SHORTFALL)} or more, beyond chance)."
        )
    if found.by_classifier:
        doubtful = [f for f in found.findings if f.recognised < MIN_RECOGNISED]
        sentences.append(
            "A classifier that was trained on the data counted the groups; each share is held "
            "against what it makes of the real samples."
            + (
                f" It knows less than {_rounded(MIN_RECOGNISED)} of the real samples of "
                f"{listing(names_of(doubtful))}, of which nothing is concluded therefore."
                if doubtful
                else ""
            )
        )
    if MUCH_UNRECOGNISED <= found.unrecognised < MOSTLY_UNRECOGNISED:
        sentences.append(
            f"{percent(found.unrecognised)} of the generated samples belong to no known group "
            "at all; they are left out when shares are compared."
        )
    return sentences


def _sample_verdict(diagnosis: SampleDiagnosis, *, weighted: bool) -> Verdict:
    """Words the finding where no groups are known."""
    found, total = len(diagnosis.indices), diagnosis.num_samples
    if total == 0:
        return Verdict(
            "Nothing was recorded, so nothing can be said.",
            ("A diagnosis needs at least two records of each sample.",),
        )
    if found == 0:
        return Verdict(
            "No training samples stand out as under-represented.",
            (
                f"The scores of the {total:,} samples differ no more than noise or an ordinary "
                "spread would make them.",
                "No two groups of this data set are known, so whole groups could not be compared.",
            ),
            "ok",
        )
    listed = ", ".join(f"#{index}" for index in diagnosis.indices[:5])
    sentences = [
        f"Their score lies far above that of the other samples; the highest are {listed}.",
        f"Of the differences between samples, {percent(diagnosis.reliability)} persist from record "
        "to record; the rest is noise.",
    ]
    if weighted:
        sentences.append("Dia answered by drawing samples more often the higher their score is.")
    headline = (
        f"D rates {found:,} of {total:,} training samples ({percent(found / total)}) as "
        "under-represented; no share was measured."
    )
    todo: tuple[str, ...] = ("Look at them below: are they rare, or broken?",)
    return Verdict(
        headline, tuple(sentences), "attention", todo=todo if weighted else (*todo, TRY_DIA)
    )


def _made(findings: Sequence[GroupFinding], skip_first: bool = False) -> list[str]:
    """Gives the shares in the data and among the generated samples, group by group."""
    sentences = []
    for number, finding in enumerate(findings[:SHOWN]):
        if finding.state is None:
            continue
        corrected = [
            f"{percent(share)} after correction by {kind}"
            for kind, share in finding.generated.items()
            if kind
        ]
        if skip_first and number == 0 and finding.state in ("too rare", "too often"):
            if corrected:
                sentences.append(f"Its share is {' and '.join(corrected)}.")
            continue
        made = f"{percent(finding.generated[''])} of what the generator makes"
        end = f", {' and '.join(corrected)}" if corrected else ""
        sentences.append(
            f"“{finding.name}” is {percent(finding.share_data)} of the data and {made}{end}."
        )
    return sentences


def _scores(
    diagnosis: GroupDiagnosis, scored: Sequence[GroupFinding], decision: Decision
) -> list[str]:
    """Says what the scores tell, and how sure it is."""
    if not scored:
        if largest := diagnosis.negligible:
            return [
                f"The scores of the groups differ measurably but too little to matter: the largest "
                f"difference, that of “{largest.name}”, is {largest.effect:.2f} standard "
                f"deviations, and we report from {MIN_EFFECT} on."
            ]
        least = min(finding.p_value for finding in diagnosis.findings)
        return [
            "The groups' scores differ no more than chance would make them: shuffling the samples "
            f"between the groups gives as large a difference in {percent(least)} of "
            f"{diagnosis.permutations:,} shuffles (we report what is below {_rounded(ALPHA)})."
        ]
    if len(scored) == 1:
        only = scored[0]
        mean, rest = (format_cell(score, ".2f") for score in (only.mean_score, only.rest_score))
        sentences = [
            f"D rates “{only.name}” as missed more than the rest: its mean score is {mean}, that "
            f"of the others {rest} ({_deviations(only)} standard deviations lower)."
        ]
    else:
        listed = ", ".join(f"“{f.name}” by {_deviations(f)}" for f in scored[:SHOWN])
        more = f" and {len(scored) - SHOWN} others by less" if len(scored) > SHOWN else ""
        sentences = [
            f"D rates {len(scored)} groups as missed more than the rest. Their mean scores are "
            f"higher, in standard deviations: {listed}{more}."
        ]
    if decision.agreed:
        counted = [f for f in scored if (f.state_before or f.state) is not None]
        others = [f.name for f in counted if f not in decision.agreed]
        about = f" about {listing(names_of(decision.agreed))}, not about " if others else ""
        sentences[0] += f" The count agrees{about}{listing(others) if others else ''}."
    times = diagnosis.shuffles_beyond(scored)
    sentences.append(
        f"The scores differ beyond chance: {f'only {times}' if times else 'none'} of "
        f"{diagnosis.permutations:,} random shuffles of the samples between the groups gave such a "
        "difference."
    )
    return sentences


def _rounded(share: float) -> str:
    return f"{100.0 * share:g} %"


def _deviations(finding: GroupFinding) -> str:
    return f"{finding.effect:.1f}" if finding.effect < 100 else "over 100"
