"""The verdict in plain English, made from the findings; no threshold stands here."""

from __future__ import annotations

from collections.abc import Sequence

from diagan_plugin.report.findings import (
    ALPHA,
    DRAWN_CHANGE,
    MIN_EFFECT,
    MIN_SHORTFALL,
    MUCH_UNRECOGNISED,
    SHORT,
    GroupDiagnosis,
    GroupFinding,
    SampleDiagnosis,
    are_undone,
)
from gan_registry.formatting import format_cell, percent
from gan_registry.report.document import Verdict

_SHOWN = 3


def group_verdict(diagnosis: GroupDiagnosis, *, weighted: bool) -> Verdict:
    """Words the findings about groups.

    `weighted` says that this run drew samples by their score (phase 2), so that Dia acted.
    """
    short, scored = diagnosis.short, diagnosis.standing_out
    overdone = diagnosis.overdone if weighted else ()
    if diagnosis.recognised.get("") == 0.0:
        headline = "Nothing that the generator makes belongs to any known group."
        return Verdict(headline, tuple(_scores(diagnosis, scored)), "attention")
    sentences: list[str] = []
    if overdone and all(finding.was_displaced for finding in short):
        headline = _overdone_headline(overdone, short)
        tone = "neutral" if are_undone([*overdone, *short]) else "attention"
        sentences += _made([*overdone, *short], skip_first=len(overdone) == 1)
    elif short:
        headline, tone = _short_headline(short, diagnosis), "attention"
        sentences += _made(short, skip_first=len(short) == 1)
    elif scored and "" not in diagnosis.recognised:
        headline, tone = f"{_subject(scored, diagnosis)} under-represented.", "attention"
    elif scored and weighted:
        headline, tone = _after_dia(scored), "ok"
        sentences += _made(scored)
    elif scored:
        headline, tone = "No group is generated too rarely, but some are harder to learn.", "ok"
    else:
        headline, tone = "No group is under-represented.", "ok"
    sentences += _scores(diagnosis, scored)
    affected = [*short, *(finding for finding in scored if finding not in short)]
    sentences += _action(affected, weighted=weighted)
    if diagnosis.recognised and not short and not (scored and weighted):
        sentences.append(
            "The generator makes no group clearly less often than it occurs in the data "
            f"(by {_rounded(MIN_SHORTFALL)} or more, beyond chance)."
        )
    sentences += _correction(overdone)
    if diagnosis.unrecognised >= MUCH_UNRECOGNISED:
        sentences.append(
            f"{percent(diagnosis.unrecognised)} of the generated samples belong to no known group "
            "at all; they are left out when shares are compared."
        )
    return Verdict(headline, tuple(sentences), tone)  # type: ignore[arg-type]


def sample_verdict(diagnosis: SampleDiagnosis, *, weighted: bool) -> Verdict:
    """Words the finding where no groups are known; see :func:`group_verdict`."""
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
                "This data set has no known groups, so whole groups could not be compared.",
            ),
            "ok",
        )
    listed = ", ".join(f"#{index}" for index in diagnosis.indices[:5])
    sentences = [
        f"Their score lies far above that of the other samples; the highest are {listed}.",
        f"Of the differences between samples, {percent(diagnosis.reliability)} persist from record "
        "to record; the rest is noise.",
    ]
    answer = "Dia answered by drawing samples more often the higher their score is."
    sentences.append(answer if weighted else _ONLY_DIAGNOSED)
    headline = (
        f"{found:,} of {total:,} training samples ({percent(found / total)}) stand out as "
        "under-represented."
    )
    return Verdict(headline, tuple(sentences), "attention")


_ONLY_DIAGNOSED = (
    "This run only diagnosed: training was not changed. With --sampler dia the samples that the "
    "generator misses are shown more often."
)


def listing(names: Sequence[str], shown: int = _SHOWN) -> str:
    """Joins names: “a”, “b” and 3 others."""
    quoted = [f"“{name}”" for name in names]
    if len(quoted) > shown + 1:
        quoted = [*quoted[:shown], f"{len(quoted) - shown} others"]
    return quoted[0] if len(quoted) == 1 else f"{', '.join(quoted[:-1])} and {quoted[-1]}"


def _listed(findings: Sequence[GroupFinding]) -> str:
    return listing([finding.name for finding in findings])


def _subject(findings: Sequence[GroupFinding], diagnosis: GroupDiagnosis) -> str:
    if len(findings) == 1:
        return f"{_listed(findings)} is"
    return f"{len(findings)} of {len(diagnosis.findings)} groups ({_listed(findings)}) are"


def _short_headline(short: Sequence[GroupFinding], diagnosis: GroupDiagnosis) -> str:
    if any(f.state != "too rare" for f in short):
        parts = []
        for state, how in zip(SHORT, ("never", "hardly ever", "too rarely"), strict=True):
            if such := [f for f in short if f.state == state]:
                parts.append(f"{how} makes {_listed(such)}")
        return f"The generator {', and '.join(parts)}."
    if len(short) == 1:
        only = short[0]
        return (
            f"“{only.name}” is under-represented: {percent(only.share_data)} of the data, but only "
            f"{percent(only.generated[''])} of what the generator makes."
        )
    return f"{_subject(short, diagnosis)} under-represented in what the generator makes."


def _overdone_headline(over: Sequence[GroupFinding], short: Sequence[GroupFinding]) -> str:
    lost = f", at the expense of {_listed(short)}" if short else ""
    if len(over) > 1:
        return f"{_listed(over)} were hard to learn; Dia overcorrects{lost}."
    only = over[0]
    return (
        f"“{only.name}” was hard to learn; Dia overcorrects: it is {percent(only.share_data)} of "
        f"the data and now {percent(only.generated[''])} of what the generator makes{lost}."
    )


def _after_dia(scored: Sequence[GroupFinding]) -> str:
    names = _listed(scored)
    one = len(scored) == 1
    return (
        f"{names} {'was' if one else 'were'} hard for the generator to learn; now it makes enough "
        f"of {'it' if one else 'each'}."
    )


def _made(findings: Sequence[GroupFinding], skip_first: bool = False) -> list[str]:
    """Gives the shares in the data and among the generated samples, group by group."""
    sentences = []
    for number, finding in enumerate(findings[:_SHOWN]):
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


def _scores(diagnosis: GroupDiagnosis, scored: Sequence[GroupFinding]) -> list[str]:
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
            f"The discriminator misses “{only.name}” in the generator's output more than the rest: "
            f"its mean score is {mean}, that of the others {rest} ({_deviations(only)} standard "
            "deviations lower)."
        ]
    else:
        listed = ", ".join(f"“{f.name}” by {_deviations(f)}" for f in scored[:_SHOWN])
        more = f" and {len(scored) - _SHOWN} others by less" if len(scored) > _SHOWN else ""
        sentences = [
            f"The discriminator misses {len(scored)} groups in the generator's output more than "
            f"the rest. Their mean scores are higher, in standard deviations: {listed}{more}."
        ]
    times = diagnosis.shuffles_beyond(scored)
    sentences.append(
        f"This is not chance: {f'only {times}' if times else 'none'} of "
        f"{diagnosis.permutations:,} random shuffles of the samples between the groups gave such a "
        "difference."
    )
    return sentences


def _action(affected: Sequence[GroupFinding], *, weighted: bool) -> list[str]:
    """Says what Dia did about it: shares among the draws against shares of the data."""
    if not affected:
        return []
    if not weighted:
        return [_ONLY_DIAGNOSED]
    drawn = [(f, f.share_drawn) for f in affected if f.share_drawn is not None][:_SHOWN]
    more = [(f, share) for f, share in drawn if f.was_favoured]
    displaced = [(f, share) for f, share in drawn if f.was_displaced]
    neither = [f for f, _ in drawn if not (f.was_favoured or f.was_displaced)]
    sentences = []
    if more:
        parts = [
            f"“{f.name}” made up {percent(share)} of the draws in phase 2, {percent(f.share_data)} "
            "of the data"
            for f, share in more
        ]
        sentences.append(
            f"Dia showed {'it' if len(more) == 1 else 'them'} to the networks more often: "
            f"{'; '.join(parts)}."
        )
    for f, share in displaced:
        if more:
            start = f"“{f.name}” was drawn less often in return: {percent(share)} of the draws"
        else:
            start = (
                f"For “{f.name}” Dia's weights went the wrong way, as its score is not above the "
                f"rest: it made up {percent(share)} of the draws in phase 2"
            )
        sentences.append(f"{start}, {percent(f.share_data)} of the data.")
    if neither:
        sentences.append(
            f"Dia's weights did not favour {_listed(neither)} by {_rounded(DRAWN_CHANGE)} "
            "or more, so little was done about that."
        )
    return sentences


def _correction(over: Sequence[GroupFinding]) -> list[str]:
    """Says what correction does about groups that the weights pushed beyond their share."""
    sentences = []
    for finding in over[:_SHOWN]:
        after = {kind: state for kind, state in finding.states.items() if kind}
        fixed = [kind for kind, state in after.items() if state == "fitting"]
        under = [kind for kind, state in after.items() if state in SHORT]
        if fixed:
            effect = f"{' and '.join(fixed)} brings “{finding.name}” back to its share"
        elif under:
            effect = f"{' and '.join(under)} pushes “{finding.name}” below its share"
        elif after:
            effect = f"{' and '.join(after)} leaves “{finding.name}” above its share"
        else:
            sentences.append(
                f"“{finding.name}” is made too often because it was drawn so often; correct the "
                "samples (--samples drs), or weight less (--dia-max-ratio)."
            )
            continue
        sentences.append(f"Correction by {effect}.")
    return sentences


def _rounded(share: float) -> str:
    return f"{100.0 * share:g} %"


def _deviations(finding: GroupFinding) -> str:
    return f"{finding.effect:.1f}" if finding.effect < 100 else "over 100"
