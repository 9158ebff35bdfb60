"""The verdict on simulated runs with planted faults: what it claims, and how often it is wrong."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest

from diagan_plugin.report.decision import Decision, decide
from diagan_plugin.report.diagnosis import Diagnosis
from diagan_plugin.report.evidence import Evidence, gather
from diagan_plugin.report.verdict_wording import word

NAMES = tuple("0123456789")
SHARES = np.array([*[0.97 / 9] * 7, 0.03, *[0.97 / 9] * 2])
NUM = 10_000
PROBABILITY = np.full(1500, 1 / 1500)
SEEDS = range(20)
Array = np.ndarray[Any, Any]


def planted(
    seed: int,
    made: Array = SHARES,
    *,
    before: Array | None = None,
    rated: dict[int, float] | None = None,
    drawn: Array | None = None,
    health: list[dict[str, Any]] | None = None,
    metrics: dict[str, Any] | None = None,
    records: int = 50,
    drs: Array | None = None,
    steered: bool = False,
    recognised: float = 1.0,
    **metadata: Any,
) -> Evidence:
    """A run on ten groups, "7" of which is rare: shares that were counted, and scores by group.

    `made` and `before` are the generator's true shares, of which `NUM` samples are drawn; `rated`
    says by how many standard deviations D scores a group above the others.
    """
    rng = np.random.default_rng(seed)
    group = rng.permutation(np.repeat(np.arange(10), np.round(SHARES * 1500).astype(int)))
    score = np.exp(0.5 * rng.standard_normal(group.size))
    score = (score - score.mean()) / score.std()
    for number, effect in (rated or {}).items():
        score[group == number] += effect
    if before is not None or drawn is not None:
        metadata["phase_boundary"] = 960
    diagnosis = Diagnosis(
        score, np.full(group.size, 0.1), score, np.exp(score) / np.exp(score).sum(),
        np.full(group.size, records), group, metadata=metadata,
    )  # fmt: skip

    def counted(true: Array) -> dict[str, dict[str, Any]]:
        shares = recognised * rng.multinomial(NUM, true / true.sum()) / NUM
        return {name: {"share_generated": s} for name, s in zip(NAMES, shares, strict=True)}

    result: dict[str, Any] = {"num_generated": NUM, "groups": counted(made), "steps": 1200}
    result["health"] = health or []
    result["metrics"] = (metrics or {}).get("after", {})
    if drawn is not None:
        for name, share in zip(NAMES, drawn, strict=True):
            result["groups"][name]["share_drawn"] = share
    if drs is not None:
        result["metrics_drs"] = (metrics or {}).get("drs", {"fid": 30})
        for name, share in counted(drs).items():
            result["groups"][name]["share_generated_drs"] = share["share_generated"]
    if steered:
        result["feedback"] = {}
    if before is not None:
        kept = {
            "step": 960,
            "metrics": (metrics or {}).get("before", {}),
            "groups": counted(before),
        }
        result["kept"] = {"phase1": kept}
    return gather(diagnosis, result, NAMES, seed=seed, permutations=200)


def times(factors: dict[int, float]) -> Array:
    shares = SHARES.copy()
    for number, factor in factors.items():
        shares[number] *= factor
    return shares / shares.sum()


def claimed(evidence: Evidence) -> tuple[Decision, set[str]]:
    decision = decide(evidence)
    return decision, {finding.name for finding in decision.subjects}


def test_a_healthy_run_is_hardly_ever_accused() -> None:
    """Of 60 runs 3 alarms are 5 %; in half of them the generator was measured twice."""
    claims = [
        decide(planted(seed, before=SHARES if seed % 2 else None, drawn=SHARES))
        for seed in range(60)
    ]
    assert sum(decision.claim != "even" for decision in claims) <= 3
    assert not any(decision.conflicts for decision in claims)


def test_missing_and_halved_groups_are_found() -> None:
    missing, halved = [], []
    for seed in SEEDS:
        missing.append(claimed(planted(seed, times({7: 0.0}), rated={7: 2.0})))
        halved.append(claimed(planted(seed, times({5: 0.5, 1: 0.5}))))
    assert all(d.claim == "short" and names == {"7"} and d.agreed for d, names in missing)
    assert all(d.claim == "short" and names == {"5", "1"} and not d.agreed for d, names in halved)
    assert not any(d.conflicts for d, _ in [*missing, *halved])


def test_d_that_points_elsewhere_is_contradicted() -> None:
    """The count says 4 too often, 5 and 1 by half; D rates 6, 4 and 0."""
    for seed in SEEDS:
        evidence = planted(
            seed, times({4: 1.7, 5: 0.5, 1: 0.5}), rated={6: 1.0, 4: 1.0, 0: 1.0}, epochs=43,
            batch_norm=True, logits="batchstat",
        )  # fmt: skip
        decision, names = claimed(evidence)
        assert (decision.claim, names) == ("short", {"5", "1"})
        assert {f.name for f in decision.conflicts} == {"4", "5", "1"}
    verdict = word(evidence)
    assert verdict.headline.startswith("2 of 10 groups (“")
    assert verdict.headline.endswith(
        "what the generator makes; the discriminator points elsewhere."
    )
    text = " ".join(verdict.sentences)
    assert "The discriminator contradicts the count: it misses “4” (1" in text
    assert "D has batch norm and was recorded in the mode batchstat" in text
    assert "young" not in text  # 43 passes are many
    assert "Trust the count: the scores would emphasise “4”." in verdict.todo


def test_a_run_too_short_to_say_anything_is_told_first() -> None:
    """Two passes over the data; and a generator four fifths of whose samples are in no group."""
    early = word(planted(0, times({4: 0.5}), epochs=1.3))
    assert early.sentences[0].startswith("D had seen the data 1.3 times when it was last recorded")
    assert planted(0, recognised=0.6).limits == ()
    found = word(planted(0, recognised=0.18))
    assert found.tone == "attention"  # though no group is short
    assert found.sentences[0].startswith("82.0\xa0% of the generated samples belong to no known")
    assert sum("belong to no known group" in text for text in found.sentences) == 1


def test_d_that_sees_one_of_several_groups_is_said_to() -> None:
    evidence = planted(0, times({7: 0.5, 5: 0.5}), rated={7: 2.0, 3: 1.5})
    headline = word(evidence).headline
    assert headline.endswith("what the generator makes; the discriminator agrees about “7” alone.")


def test_d_that_the_end_proves_right_is_not_contradicted() -> None:
    """What was made too often when phase 1 ended, a collapse say, is made too rarely now."""
    evidence = planted(
        0, times({7: 0.2, 5: 0.5}), before=times({7: 6.0, 5: 0.3}), rated={7: 2.0},
        drawn=times({7: 2.0}),
    )  # fmt: skip
    verdict = word(evidence)
    assert [f.name for f in decide(evidence).conflicts] == ["5"]
    assert verdict.headline.endswith("the discriminator agrees about “7” alone.")
    assert "emphasised “7”" not in " ".join(verdict.todo)


def test_d_alone_against_the_count() -> None:
    evidence = planted(0, times({4: 1.7}), rated={4: 1.0}, epochs=3)
    assert decide(evidence).claim == "contradicted"
    assert "contradict each other about “4”" in word(evidence).headline
    assert "had seen the data 3 times" in " ".join(word(evidence).sentences)


def test_an_overcorrection_is_called_so_with_both_ends_in_numbers() -> None:
    drawn = times({7: 6.0})
    for seed in SEEDS:
        evidence = planted(
            seed, times({7: 5.0}), before=times({7: 0.1}), rated={7: 2.0}, drawn=drawn,
            metrics={"before": {"fid": 30, "recall": 0.5}, "after": {"fid": 60, "recall": 0.51}},
        )  # fmt: skip
        decision, names = claimed(evidence)
        assert (decision.claim, names) == ("overdone", {"7"})
        assert ("7", "overdone") in [(f.name, fate) for f, fate in decision.fates]
    (told,) = [text for text in word(evidence).sentences if text.startswith("Phase 2")]
    assert told.startswith("Phase 2 ended worse than it began: ")
    assert "share of “7” 0." in told
    assert "FID 30 → 60 (when phase 1 ended → now)." in told


@pytest.mark.parametrize(
    ("seven", "fid", "told", "todo"),
    [
        (1.0, {"fid": 20}, "worse than it began by itself, but better once corrected by drs: ",
         "Take the corrected samples (--samples drs)."),
        (1.6, {"fid": 20, "recall": 0.3}, "worse than it began by itself, but better in part once ",
         "Take the corrected samples (--samples drs), which come much nearer; or weight less"),
        (4.0, {"fid": 50}, "worse than it began: ", "Weight less (--dia-max-ratio)"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("steered", [False, True])
def test_what_a_correction_mends_is_said(seven, fid, told, todo, steered) -> None:
    evidence = planted(
        3, times({7: 5.0}), before=times({7: 0.1}), rated={7: 2.0}, drawn=times({7: 6.0}),
        drs=times({7: seven}), steered=steered,
        metrics={"before": {"fid": 30, "recall": 0.5}, "after": {"fid": 6000}, "drs": fid},
    )  # fmt: skip
    verdict = word(evidence)
    (sentence,) = [text for text in verdict.sentences if text.startswith("Phase 2")]
    assert sentence.startswith(f"Phase 2 ended {told}")
    assert f"FID 30 → 6,000 ({fid['fid']} corrected by drs)" in sentence
    assert verdict.todo[0].startswith(todo)
    # What a run does already is no advice.
    assert ("--dia-rule feedback" in verdict.todo[0]) == (seven > 1 and not steered)


def test_a_group_that_the_weights_took_away_is_named() -> None:
    """Fitting before, halved by phase 2: Dia's doing, and D never said so."""
    drawn = times({7: 0.5, 4: 1.6})
    for seed in SEEDS:
        evidence = planted(seed, times({7: 0.5}), before=SHARES, rated={4: 1.0}, drawn=drawn)
        decision, names = claimed(evidence)
        assert (decision.claim, names) == ("lost", {"7"})
        assert [f.name for f in decision.drawn_less] == ["7"]
    verdict = word(evidence)
    assert verdict.headline.startswith("Phase 2 cost “7”: 3.0\xa0% of the data, ")
    text = " ".join(verdict.sentences)
    assert "Drawn less often in return: “7” 1.4\xa0% of the draws, 3.0\xa0% of the data" in text
    assert "--dia-rule feedback" in verdict.todo[0]


def test_what_was_too_few_to_tell_before_is_not_lost() -> None:
    """Of the few samples of phase 1 that belong to any group, none is a "7", by chance or not."""
    evidence = planted(0, times({7: 0.0}), before=times({7: 0.0}), drawn=SHARES, rated={7: 2.0})
    assert evidence.groups is not None
    unsure = [
        dataclasses.replace(f, state_before="fitting") if f.name == "7" else f
        for f in evidence.groups.findings
    ]
    groups = dataclasses.replace(evidence.groups, findings=tuple(unsure))
    decision = decide(dataclasses.replace(evidence, groups=groups))
    assert decision.claim == "short"
    assert [(f.name, fate) for f, fate in decision.fates] == [("7", "short as before")]


def test_of_several_groups_it_is_said_what_the_count_agrees_about() -> None:
    """As a small DCGAN on a folder of digits did: D rates five groups, two of which were rare."""
    before = times({0: 0.7, 3: 1.2, 7: 0.5, 8: 0.5, 5: 1.3})
    evidence = planted(
        0, times({0: 1.5, 3: 1.0, 7: 1.0, 8: 0.4, 5: 0.5}), before=before,
        rated={0: 2.0, 3: 1.0, 7: 1.5}, drawn=times({0: 1.4, 3: 1.2, 7: 1.2, 8: 0.7, 5: 0.9}),
        metrics={"before": {"fid": 35}, "after": {"fid": 38}},
    )  # fmt: skip
    verdict = word(evidence)
    text = " ".join(verdict.sentences)
    assert "The count agrees about “0” and “7”, not about “3”." in text
    assert "For “8” Dia's weights went the wrong way" in text  # it was short before
    assert "Drawn less often in return: “5”" in text  # it was not
    assert "more often in phase 2: “0” 1" in text
    helped = next(sentence for sentence in verdict.sentences if "Phase 2 ended" in sentence)
    assert helped.startswith("Phase 2 ended better in part: share of “5”")  # what it cost …
    assert "share of “7”" in helped  # … and what it mended
    assert helped in verdict.sentences[:3]  # which the first screen shows


@pytest.mark.parametrize(
    ("records", "window", "flag"), [(9, 50, "record-every"), (50, 50, "window")]
)
def test_few_records_are_a_reason_and_have_a_remedy(records: int, window: int, flag: str) -> None:
    evidence = planted(0, times({4: 1.7}), rated={4: 1.0}, records=records, window=window)
    said = word(evidence)
    assert f"average over more records (--dia-{flag})" in " ".join(said.todo)
    assert ("a sample has only 9 records" in " ".join(said.sentences)) == (records == 9)


def test_a_group_that_was_mended_is_said_to_be() -> None:
    for seed in SEEDS:
        evidence = planted(
            seed, SHARES, before=times({7: 0.2}), rated={7: 1.5}, drawn=times({7: 2.0}),
            metrics={"before": {"fid": 30.0}, "after": {"fid": 25.0}},
        )  # fmt: skip
        decision, names = claimed(evidence)
        assert (decision.claim, names) == ("recovered", {"7"})
    verdict = word(evidence)
    assert verdict.headline == (
        "“7” was made too rarely when phase 1 ended; now it is made often enough."
    )
    assert verdict.tone == "ok"
    text = " ".join(verdict.sentences)
    assert "Phase 2 ended better than it began: share of “7” 0." in text
    assert "is told by a run of the same length with --sampler uniform" in text


def test_shares_at_the_edge_that_only_chance_moved_are_no_outcome_of_phase_2() -> None:
    """Three groups are made at 80 % of their share before and after: now short, now fitting."""
    edge = times({1: 0.8, 2: 0.8, 7: 0.8})
    evidence = [planted(seed, edge, before=edge, rated={1: 1.0}, drawn=SHARES) for seed in SEEDS]
    decisions = [decide(each) for each in evidence]
    crossed = [
        any(f.was_short and f.state == "fitting" for f in each.groups.findings)
        for each in evidence
        if each.groups is not None
    ]
    assert sum(crossed) >= 5  # else nothing was tried
    assert not [d for d in decisions if d.claim in ("recovered", "lost")]
    assert sum(any(fate != "short as before" for _, fate in d.fates) for d in decisions) <= 1


def test_a_dead_discriminator_ends_it() -> None:
    sick = {"name": "discriminator_dead", "step": 40, "evidence": "All equal.", "advice": "Mend."}
    verdict = word(planted(0, times({7: 0.0}), rated={4: 2.0}, health=[sick]))
    assert verdict.headline == "The discriminator is dead: its opinion is worth nothing."
    assert "under-represented" not in " ".join(verdict.sentences)


@pytest.mark.parametrize("known", [0.95, 0.5])
def test_a_classifier_s_count_is_held_against_what_it_makes_of_the_data(known: float) -> None:
    """It takes a part of the rare group for another, which no generator could make up for."""
    rng, alarms = np.random.default_rng(0), 0
    for seed in SEEDS:
        seen = SHARES.copy()
        seen[1] += (1 - known) * seen[7]
        seen[7] *= known
        made = rng.multinomial(NUM, seen) / NUM
        groups = {
            name: {
                "occurrence": made[i], "occurrence_real": SHARES[i],
                "occurrence_real_seen": seen[i],
                "classifier_accuracy": known if i == 7 else 0.99,
            }
            for i, name in enumerate(NAMES)
        }  # fmt: skip
        score = rng.standard_normal(1500)
        group = rng.integers(0, 10, 1500)
        diagnosis = Diagnosis(score, score**2, score, PROBABILITY, group * 0 + 9, group)
        evidence = gather(
            diagnosis, {"num_generated": NUM, "groups": groups}, NAMES, seed=seed, permutations=200
        )
        alarms += decide(evidence).claim != "even"
    assert alarms <= 1
    verdict = word(evidence)
    text = " ".join(verdict.sentences)
    assert "A classifier that was trained on the data counted the groups" in text
    doubted = known < 0.8
    assert ("80 % of the real samples of “7”" in text) == doubted
    which = "No group that could be counted" if doubted else "No group"
    assert verdict.headline == f"{which} is under-represented."
    assert f"The generator makes n{which[1:]} clearly less often" in text
