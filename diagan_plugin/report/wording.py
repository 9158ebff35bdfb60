"""The verdict in plain English."""

from __future__ import annotations

from collections.abc import Sequence

from diagan_plugin.report.verdict import (
    MIN_EFFECT,
    SHORT,
    GroupDiagnosis,
    GroupFinding,
    SampleDiagnosis,
    ShareState,
)
from gan_registry.formatting import percent
from gan_registry.report.document import Verdict

_SHOWN = 3
_MUCH_UNRECOGNISED = 0.1


def group_verdict(diagnosis: GroupDiagnosis, *, weighted: bool) -> Verdict:
    """Words the findings about groups.

    Args:
        diagnosis: The findings.
        weighted: Whether this run drew samples by their score (phase 2), so that Dia acted.
    """
    short, scored = diagnosis.short, diagnosis.standing_out
    shares_known = "" in diagnosis.recognised
    overdone = [f for f in scored if weighted and f.states.get("") == "too often"]
    if shares_known and diagnosis.recognised.get("") == 0.0:
        headline = "Nothing that the generator makes belongs to any known group."
        return Verdict(headline, tuple(_scores(diagnosis, scored)), "attention")
    sentences: list[str] = []
    if overdone and all(_was_displaced(finding) for finding in short):
        headline = _overdone_headline(overdone, short)
        tone = "neutral" if _is_undone([*overdone, *short]) else "attention"
        sentences += _made([*overdone, *short], skip_first=len(overdone) == 1)
    elif short:
        headline, tone = _short_headline(short, diagnosis), "attention"
        sentences += _made(short, skip_first=len(short) == 1)
    elif scored and not shares_known:
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
    if not short and not (scored and weighted):
        sentences += _no_shortfall(diagnosis)
    sentences += _correction(overdone)
    unrecognised = 1.0 - diagnosis.recognised.get("", 1.0)
    if unrecognised >= _MUCH_UNRECOGNISED:
        sentences.append(
            f"{percent(unrecognised)} of the generated samples belong to no known group at all; "
            "they are left out when shares are compared."
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
    if weighted:
        sentences.append("Dia answered by drawing samples more often the higher their score is.")
    else:
        sentences.append(_ONLY_DIAGNOSED)
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


def _names(findings: Sequence[GroupFinding]) -> list[str]:
    return [finding.name for finding in findings]


def _subject(findings: Sequence[GroupFinding], diagnosis: GroupDiagnosis) -> str:
    if len(findings) == 1:
        return f"{listing(_names(findings))} is"
    return f"{len(findings)} of {len(diagnosis.findings)} groups ({listing(_names(findings))}) are"


def _short_headline(short: Sequence[GroupFinding], diagnosis: GroupDiagnosis) -> str:
    missing = [f for f in short if f.states[""] == "missing"]
    nearly = [f for f in short if f.states[""] == "nearly missing"]
    rare = [f for f in short if f.states[""] == "too rare"]
    if missing or nearly:
        parts = []
        if missing:
            parts.append(f"never makes {listing(_names(missing))}")
        if nearly:
            parts.append(f"hardly ever makes {listing(_names(nearly))}")
        if rare:
            parts.append(f"too rarely makes {listing(_names(rare))}")
        return f"The generator {', and '.join(parts)}."
    if len(rare) == 1:
        only = rare[0]
        return (
            f"“{only.name}” is under-represented: {percent(only.share_data)} of the data, but only "
            f"{percent(only.generated[''])} of what the generator makes."
        )
    return f"{_subject(rare, diagnosis)} under-represented in what the generator makes."


def _was_displaced(finding: GroupFinding) -> bool:
    """Whether a group is short because the weights favoured others, not by the GAN's own doing."""
    drawn = finding.share_drawn
    return not finding.stands_out and drawn is not None and drawn <= 0.95 * finding.share_data


def _is_undone(findings: Sequence[GroupFinding]) -> bool:
    """Whether some correction brings all of these groups back to their share."""
    kinds = [kind for kind in findings[0].states if kind]
    return any(all(f.states[kind] == "fitting" for f in findings) for kind in kinds)


def _overdone_headline(over: Sequence[GroupFinding], short: Sequence[GroupFinding]) -> str:
    lost = f", at the expense of {listing(_names(short))}" if short else ""
    if len(over) > 1:
        return f"{listing(_names(over))} were hard to learn; Dia overcorrects{lost}."
    only = over[0]
    return (
        f"“{only.name}” was hard to learn; Dia overcorrects: it is {percent(only.share_data)} of "
        f"the data and now {percent(only.generated[''])} of what the generator makes{lost}."
    )


def _after_dia(scored: Sequence[GroupFinding]) -> str:
    names = listing(_names(scored))
    one = len(scored) == 1
    return (
        f"{names} {'was' if one else 'were'} hard for the generator to learn; now it makes enough "
        f"of {'it' if one else 'each'}."
    )


def _made(findings: Sequence[GroupFinding], skip_first: bool = False) -> list[str]:
    """Shares in the data and among the generated samples, group by group."""
    sentences = []
    for number, finding in enumerate(findings[:_SHOWN]):
        if "" not in finding.states:
            continue
        corrected = [
            f"{percent(share)} after correction by {kind}"
            for kind, share in finding.generated.items()
            if kind
        ]
        if skip_first and number == 0 and finding.states[""] in ("too rare", "too often"):
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
    """What the scores say, with how sure it is."""
    if not scored:
        first = min(diagnosis.findings, key=lambda f: (f.p_value, -f.effect))
        small = [f for f in diagnosis.findings if f.p_value <= 0.01]
        if small:
            largest = max(small, key=lambda f: f.effect)
            return [
                f"The scores of the groups differ measurably but too little to matter: the largest "
                f"difference, that of “{largest.name}”, is {largest.effect:.2f} standard "
                f"deviations, and we report from {MIN_EFFECT} on."
            ]
        return [
            "The groups' scores differ no more than chance would make them: shuffling the samples "
            f"between the groups gives as large a difference in {percent(first.p_value)} of "
            f"{diagnosis.permutations:,} shuffles (we report what is below 1 %)."
        ]
    if len(scored) == 1:
        only = scored[0]
        sentences = [
            f"The discriminator misses “{only.name}” in the generator's output more than the rest: "
            f"its mean score is {_number(only.mean_score)}, that of the others "
            f"{_number(only.rest_score)} ({_deviations(only)} standard deviations lower)."
        ]
    else:
        listed = ", ".join(f"“{f.name}” by {_deviations(f)}" for f in scored[:_SHOWN])
        more = f" and {len(scored) - _SHOWN} others by less" if len(scored) > _SHOWN else ""
        sentences = [
            f"The discriminator misses {len(scored)} groups in the generator's output more than "
            f"the rest. Their mean scores are higher, in standard deviations: {listed}{more}."
        ]
    worst = max(finding.p_value for finding in scored)
    times = round(worst * (diagnosis.permutations + 1)) - 1
    how = "none of" if times <= 0 else "only " + str(times) + " of"
    sentences.append(
        f"This is not chance: {how} {diagnosis.permutations:,} random shuffles of the samples "
        "between the groups gave such a difference."
    )
    return sentences


def _action(affected: Sequence[GroupFinding], *, weighted: bool) -> list[str]:
    """What Dia did about it: shares among the draws against shares of the data."""
    if not affected:
        return []
    if not weighted:
        return [_ONLY_DIAGNOSED]
    drawn = [(f, f.share_drawn) for f in affected if f.share_drawn is not None][:_SHOWN]
    if not drawn:
        return []
    more = [(f, share) for f, share in drawn if share >= 1.05 * f.share_data]
    less = [(f, share) for f, share in drawn if share < 1.05 * f.share_data]
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
    if more:
        displaced = [(f, share) for f, share in less if _was_displaced(f)]
        less = [(f, share) for f, share in less if not _was_displaced(f)]
        sentences += [
            f"“{f.name}” was drawn less often in return: {percent(share)} of the draws, "
            f"{percent(f.share_data)} of the data."
            for f, share in displaced
        ]
    worse = [(f, share) for f, share in less if _was_displaced(f)]
    less = [(f, share) for f, share in less if not _was_displaced(f)]
    sentences += [
        f"For “{f.name}” Dia's weights went the wrong way, as its score is not above the rest: it "
        f"made up {percent(share)} of the draws in phase 2, {percent(f.share_data)} of the data."
        for f, share in worse
    ]
    if less:
        names = listing([f.name for f, _ in less])
        sentences.append(
            f"Dia's weights did not favour {names} by 5 % or more, so little was done about that."
        )
    return sentences


def _no_shortfall(diagnosis: GroupDiagnosis) -> list[str]:
    if not diagnosis.recognised:
        return []
    return [
        "The generator makes no group clearly less often than it occurs in the data "
        "(by a fifth or more, beyond chance)."
    ]


def _correction(over: Sequence[GroupFinding]) -> list[str]:
    """What correction does about groups that the weights pushed beyond their share."""
    sentences = []
    for finding in over[:_SHOWN]:
        after: dict[str, ShareState] = {k: s for k, s in finding.states.items() if k}
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


def _deviations(finding: GroupFinding) -> str:
    return f"{finding.effect:.1f}" if finding.effect < 100 else "over 100"


def _number(value: float) -> str:
    return f"{value:.2f}".replace("-", "−")
