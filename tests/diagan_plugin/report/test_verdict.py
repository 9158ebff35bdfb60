from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from scipy import stats

from diagan_plugin.report.evidence import Evidence
from diagan_plugin.report.findings import ALPHA, MIN_EFFECT, GroupDiagnosis, SampleDiagnosis
from diagan_plugin.report.first_screen import first_screen
from diagan_plugin.report.naming import listing
from diagan_plugin.report.permutation import max_permutation_p
from diagan_plugin.report.verdict import (
    diagnose_groups,
    diagnose_samples,
    share_interval,
    share_state,
)
from diagan_plugin.report.verdict_wording import word
from gan_registry.report.document import Verdict

Array = np.ndarray[Any, Any]
FEW = 300  # permutations, where p need not be finer than 1/301


def group_verdict(found: GroupDiagnosis, *, weighted: bool, **more: Any) -> Verdict:
    return word(Evidence(groups=found, weighted=weighted, **more))


def sample_verdict(found: SampleDiagnosis, *, weighted: bool) -> Verdict:
    return word(Evidence(samples=found, weighted=weighted))


def imbalanced(
    seed: int, shift: float, num: int = 2000, share: float = 0.05
) -> tuple[Array, Array]:
    """Scores of two groups whose rare one lies `shift` standard deviations higher."""
    rng = np.random.default_rng(seed)
    group = (np.arange(num) < share * num).astype(np.int64)
    rng.shuffle(group)
    return rng.standard_normal(num) + shift * group, group


def diagnosed(*args: Any, **options: Any) -> GroupDiagnosis:
    found = diagnose_groups(*args, **options)
    assert found is not None
    return found


@pytest.mark.parametrize("seed", range(5))
def test_a_planted_group_is_found(seed: int) -> None:
    score, group = imbalanced(seed, 0.8)
    found = diagnosed(score, group, names=("red", "green"), seed=seed)
    (green,) = found.standing_out
    assert green.name == "green"
    assert green.effect == pytest.approx(0.8, abs=0.35)
    assert green.p_value == 1 / 2001


def test_effect_is_the_standardised_difference() -> None:
    rng = np.random.default_rng(0)
    group = rng.integers(0, 4, 500)
    score = rng.gamma(2.0, size=500) + group
    findings = diagnosed(score, group, permutations=10).findings
    assert sorted(finding.group for finding in findings) == [0, 1, 2, 3]
    for finding in findings:
        inside, rest = score[group == finding.group], score[group != finding.group]
        # The two-sample t of another library, turned into the standardised difference.
        t = stats.ttest_ind(inside, rest).statistic
        assert finding.effect == pytest.approx(t * np.sqrt(1 / len(inside) + 1 / len(rest)))
        assert finding.mean_score == pytest.approx(inside.mean())
        assert finding.rest_score == pytest.approx(rest.mean())


@pytest.mark.parametrize("groups", [2, 10, 25])
def test_shuffled_groups_claim_nothing(groups: int) -> None:
    """Without the effect size, false alarms stay near alpha; with it there are none here."""
    seeds, alarms, smallest = 60, 0, []
    for seed in range(seeds):
        rng = np.random.default_rng([groups, seed])
        score = np.exp(rng.standard_normal(800))  # skewed, as scores are
        group = rng.integers(0, groups, 800)
        found = diagnosed(score, group, seed=seed, permutations=FEW, min_effect=0.0)
        smallest.append(min(finding.p_value for finding in found.findings))
        alarms += bool(found.standing_out)
    # 60 seeds at 1 %: 5 or more alarms would have a chance of 0.04 %.
    assert alarms <= 4
    # The p-values are those of a fair test: neither far too small nor far too large.
    assert stats.kstest(smallest, "uniform").pvalue > 1e-3


@pytest.mark.parametrize(
    ("count", "state"), [(33, "fitting"), (25, "too rare"), (68, "fitting"), (80, "too often")]
)
def test_a_share_has_to_be_beyond_chance_for_all_groups_together(count: int, state: str) -> None:
    """Of 20 groups with 50 of 1,000 each, one with 33 is no news; of 2 it would be."""
    groups, total = 20, 1000
    lower, upper = stats.binom.cdf(count, total, 0.05), stats.binom.sf(count - 1, total, 0.05)
    p = min(lower, upper)
    assert p <= ALPHA
    assert (p <= ALPHA / groups) == (state != "fitting")
    assert share_state(0.05, count, total) != "fitting"  # where it is the only one
    rng = np.random.default_rng(0)
    made = np.full(groups, (total - count) / (groups - 1) / total)
    made[7] = count / total
    found = diagnosed(
        rng.standard_normal(600), np.arange(600) % groups, generated={"": made},
        num_generated=total, permutations=FEW,
    )  # fmt: skip
    states = {finding.group: finding.state for finding in found.findings}
    assert states.pop(7) == state
    assert set(states.values()) == {"fitting"}


@pytest.mark.parametrize("seed", range(20))
def test_shuffled_groups_with_fair_shares_give_a_clean_verdict(seed: int) -> None:
    score, group = imbalanced(seed, 2.0)
    rng = np.random.default_rng([seed, 1])
    shuffled = rng.permutation(group)
    made = rng.multinomial(10_000, [0.95, 0.05]) / 10_000
    found = diagnosed(score, shuffled, generated={"": made}, seed=seed, permutations=FEW)
    verdict = group_verdict(found, weighted=False)
    assert verdict.headline == "No group is under-represented."
    assert verdict.tone == "ok"


def test_a_tiny_difference_is_not_worth_reporting_however_certain() -> None:
    score, group = imbalanced(0, 0.1, num=200_000, share=0.5)
    found = diagnosed(score, group, permutations=FEW, alpha=0.01)
    top = found.findings[0]
    assert top.p_value <= ALPHA  # it is real …
    assert 0 < top.effect < MIN_EFFECT
    assert found.standing_out == ()  # … and does not matter
    verdict = group_verdict(found, weighted=False)
    assert verdict.headline == "D rates no group as under-represented; no share was measured."
    assert "too little to matter" in verdict.sentences[0]


def test_permutation_p_agrees_with_the_exact_test() -> None:
    values = np.array([0.1, 0.9, 0.4, 1.3, 2.2, 0.2, 3.1])
    slot = np.array([0, 0, 0, 0, 1, 0, 1])
    p = max_permutation_p(values, slot, seed=0, permutations=20_000)
    # With two groups the larger of both statistics is the absolute difference: a two-sided test.
    exact = stats.permutation_test(
        (values[slot == 1], values[slot == 0]),
        lambda a, b, axis: np.abs(np.mean(a, axis=axis) - np.mean(b, axis=axis)),
        n_resamples=np.inf,
        alternative="greater",
    )
    assert p[1] == pytest.approx(exact.pvalue, abs=0.01)
    assert p[0] == 1.0


def test_permutation_p_of_unequal_groups_is_that_of_the_largest_t() -> None:
    rng = np.random.default_rng(4)
    slot = np.repeat([0, 1, 2, 3], [3, 12, 40, 200])
    values = rng.gamma(1.0, size=slot.size) + np.array([0.9, 0.4, 0.3, 0.0])[slot]

    def t(score: Array) -> list[float]:
        return [stats.ttest_ind(score[slot == g], score[slot != g]).statistic for g in range(4)]

    largest = np.array([max(t(rng.permutation(values))) for _ in range(400)])
    expected = (largest[:, None] >= np.array(t(values))).mean(axis=0)
    assert ((expected > 0.02) & (expected < 0.98)).sum() >= 2  # else nothing is compared
    p = max_permutation_p(values, slot, seed=0, permutations=4000)
    assert p == pytest.approx(expected, abs=0.08)  # 3 standard errors of the 400


def test_permutations_follow_from_the_seed_alone() -> None:
    score, group = imbalanced(0, 0.2)
    before = np.random.get_state()[1].copy()  # noqa: NPY002
    first, second = (max_permutation_p(score, group, 7, FEW) for _ in range(2))
    assert (first == second).all()
    assert (np.random.get_state()[1] == before).all()  # noqa: NPY002
    assert (max_permutation_p(score, group, 8, FEW) != first).any()


def test_large_data_is_thinned_but_rare_groups_stay_whole() -> None:
    score, group = imbalanced(3, 1.0, num=300_000, share=0.0002)  # 60 samples
    found = diagnosed(score, group, permutations=FEW)
    assert [finding.group for finding in found.standing_out] == [1]
    assert found.findings[0].size == 60
    fair = diagnosed(np.random.default_rng(5).standard_normal(300_000), group, permutations=FEW)
    assert fair.findings[0].p_value > ALPHA


def test_a_missing_mode_is_found_and_named() -> None:
    rng = np.random.default_rng(0)
    group = rng.integers(0, 25, 5000)
    score = 0.2 * rng.standard_normal(5000) + 3.0 * (group == 17) + 1.0 * (group == 3)
    made = np.full(25, 0.96 / 24)
    made[17], made[3] = 0.0, 0.001
    names = [f"mode {number}" for number in range(25)]
    found = diagnosed(score, group, names=names, generated={"": made}, permutations=FEW)
    assert [(f.name, f.states[""]) for f in found.short] == [
        ("mode 17", "missing"),
        ("mode 3", "nearly missing"),
    ]
    verdict = group_verdict(found, weighted=False)
    assert verdict.headline == (
        "The generator never makes “mode 17”, and hardly ever makes “mode 3”."
    )
    assert verdict.tone == "attention"
    assert any("--sampler dia" in sentence for sentence in verdict.todo)


def test_a_missing_mode_is_found_by_the_score_alone() -> None:
    rng = np.random.default_rng(0)
    group = rng.integers(0, 25, 5000)
    score = 0.2 * rng.standard_normal(5000) + 3.0 * (group == 17)
    verdict = group_verdict(diagnosed(score, group, permutations=FEW), weighted=False)
    assert verdict.headline == "D rates “group 17” as under-represented; no share was measured."


def test_a_missing_mode_is_found_even_if_the_score_misses_it() -> None:
    score, group = imbalanced(0, 0.0)
    found = diagnosed(score, group, names=("red", "green"), generated={"": [1.0, 0.0]})
    assert group_verdict(found, weighted=True).headline == "The generator never makes “green”."


def test_too_rare_groups_are_given_in_numbers() -> None:
    score, group = imbalanced(0, 2.0)
    found = diagnosed(
        score,
        group,
        names=("red", "green"),
        generated={"": [0.967, 0.031], "drs": [0.95, 0.048]},
        drawn=[0.86, 0.14],
    )
    verdict = group_verdict(found, weighted=True)
    assert verdict.headline == (
        "“green” is under-represented: 5.0\xa0% of the data, but only 3.1\xa0% of what the "
        "generator makes."
    )
    text = " ".join(verdict.sentences)
    assert "4.8\xa0% after correction by drs" in text
    assert "more often in phase 2: “green” 14.0\xa0% of the draws, 5.0\xa0% of the data" in text
    assert "none of 2,000 random shuffles" in text


@pytest.mark.parametrize(
    ("plain", "drs", "tone", "expected"),
    [
        (0.050, 0.051, "ok", None),
        (0.102, 0.052, "neutral", "Correction by drs brings “green” back to its share."),
        (0.102, 0.020, "attention", "Correction by drs pushes “green” below its share."),
        (0.102, 0.110, "attention", "Correction by drs leaves “green” above its share."),
    ],
)
def test_what_dia_mended_is_said(plain: float, drs: float, tone: str, expected: str | None) -> None:
    score, group = imbalanced(0, 2.0)
    found = diagnosed(
        score,
        group,
        names=("red", "green"),
        generated={"": [1 - plain, plain], "drs": [1 - drs, drs]},
        drawn=[0.8, 0.2],
        permutations=FEW,
    )
    verdict = group_verdict(found, weighted=True)
    assert verdict.tone == tone
    text = " ".join(verdict.sentences)
    assert "20.0\xa0% of the draws" in text
    if expected is None:
        assert "hard for the generator to learn; now it makes enough" in verdict.headline
        assert "Correction" not in text
    else:
        assert "Dia overcorrects: it is 5.0\xa0% of the data and now 10.2\xa0%" in verdict.headline
        assert expected in text


def test_a_group_displaced_by_the_weights_is_not_blamed_on_the_generator() -> None:
    score, group = imbalanced(0, 2.0)
    shares = {"": [0.544, 0.206]}
    options = {"names": ("red", "green"), "generated": shares, "permutations": FEW}
    found = diagnosed(score, group, drawn=[0.57, 0.43], **options)
    verdict = group_verdict(found, weighted=True)
    assert verdict.headline.startswith("“green” was hard to learn; Dia overcorrects")
    assert verdict.headline.endswith("at the expense of “red”.")
    assert verdict.tone == "attention"
    text = " ".join(verdict.sentences)
    assert "Drawn less often in return: “red” 57.0\xa0% of the draws, 95.0\xa0%" in text
    assert "--samples drs" in verdict.todo[0]
    # Without weights the same shares are the generator's own doing.
    plain = group_verdict(diagnosed(score, group, **options), weighted=False)
    assert plain.headline.startswith("“red” is under-represented")


def test_shares_of_corrected_samples_alone_do_no_harm() -> None:
    score, group = imbalanced(0, 2.0)
    found = diagnosed(score, group, generated={"drs": [0.95, 0.05]}, permutations=FEW)
    for weighted in (True, False):
        assert "under-represented" in group_verdict(found, weighted=weighted).headline


def test_weights_that_do_not_favour_a_group_are_admitted() -> None:
    score, group = imbalanced(0, 2.0)
    found = diagnosed(score, group, drawn=[0.95, 0.05], permutations=FEW)
    text = " ".join(group_verdict(found, weighted=True).sentences)
    assert "did not favour “group 1”" in text


def test_weights_that_went_the_wrong_way_are_admitted() -> None:
    score, group = imbalanced(0, -2.0)  # the discriminator rates the missing group below the rest
    options = {"generated": {"": [1.0, 0.0]}, "permutations": FEW}
    found = diagnosed(score, group, drawn=[0.977, 0.023], **options)
    text = " ".join(group_verdict(found, weighted=True).sentences)
    assert "For “group 1” Dia's weights went the wrong way" in text
    assert "not above the rest: “group 1” 2.3\xa0% of the draws, 5.0\xa0% of the data" in text
    assert "favour “group 1”" not in text


def test_samples_of_no_group_do_not_make_every_group_look_rare() -> None:
    rng = np.random.default_rng(0)
    group = rng.integers(0, 25, 5000)
    found = diagnosed(
        rng.standard_normal(5000), group, generated={"": np.full(25, 0.6 / 25)}, permutations=FEW
    )
    assert found.short == ()
    verdict = group_verdict(found, weighted=False)
    assert "40.0\xa0% of the generated samples belong to no known group" in verdict.sentences[-1]
    nothing = diagnosed(
        rng.standard_normal(5000), group, generated={"": np.zeros(25)}, permutations=FEW
    )
    assert "Nothing that the generator makes" in group_verdict(nothing, weighted=False).headline


@pytest.mark.parametrize(
    ("count", "total", "state"),
    [
        (0, 10_000, "missing"),
        (0, 50, "fitting"),  # none of 50 is no surprise at 5 %
        (20, 10_000, "nearly missing"),
        (310, 10_000, "too rare"),
        (31, 1000, "too rare"),
        (3, 100, "fitting"),
        (450, 10_000, "fitting"),  # real, but within a fifth
        (500, 10_000, "fitting"),
        (900, 10_000, "too often"),
    ],
)
def test_share_state(count: int, total: int, state: str) -> None:
    assert share_state(0.05, count, total) == state


def test_unknown_groups_and_missing_scores_are_left_out() -> None:
    score, group = imbalanced(0, 2.0)
    score[:100] = np.nan
    score[100] = np.inf
    group[200:300] = -1
    found = diagnosed(score, group, permutations=FEW)
    assert sum(f.size for f in found.findings) == 1799
    assert [f.group for f in found.standing_out] == [1]
    assert sum(f.share_data for f in found.findings) == pytest.approx(0.95)  # of the data


@pytest.mark.parametrize(
    ("score", "group"),
    [([], []), ([1.0], [0]), ([1.0, 2.0], [0, 0]), ([1.0, 2.0], [-1, 0]), ([np.nan, 1.0], [0, 1])],
)
def test_fewer_than_two_groups_are_no_comparison(score: list[float], group: list[int]) -> None:
    assert diagnose_groups(score, group) is None


def test_constant_scores_claim_nothing() -> None:
    found = diagnosed(np.ones(100), np.arange(100) % 3, permutations=FEW)
    assert found.standing_out == ()
    assert all(f.p_value == 1.0 and f.effect == 0.0 for f in found.findings)
    apart = diagnosed(np.arange(100) % 2 * 1.0, np.arange(100) % 2, permutations=FEW)
    assert "over 100 standard deviations" in " ".join(
        group_verdict(apart, weighted=False).sentences
    )


def recorded(seed: int, true_spread: float, outliers: int) -> dict[str, Array]:
    """LDR statistics of 1,000 samples from 50 simulated records."""
    rng = np.random.default_rng(seed)
    centre = true_spread * rng.standard_normal(1000)
    centre[:outliers] += 8 * max(true_spread, 0.2)
    records = centre + rng.standard_normal((50, 1000))
    mean, variance = records.mean(axis=0), records.var(axis=0, ddof=1)
    score = mean + 0.3 * np.sqrt(variance)
    return {"score": score, "ldrm": mean, "ldrv": variance, "count": np.full(1000, 50)}


@pytest.mark.parametrize("seed", range(20))
def test_samples_within_the_noise_claim_nothing(seed: int) -> None:
    noise = diagnose_samples(**recorded(seed, 0.0, 0))
    assert noise.indices.size == 0
    assert noise.reliability < 0.25
    spread = diagnose_samples(**recorded(seed, 1.0, 0))  # real differences, but no tail
    assert spread.indices.size == 0
    assert spread.reliability == pytest.approx(1 / (1 + 1 / 50), abs=0.02)


@pytest.mark.parametrize("seed", range(5))
def test_samples_that_stand_out_are_named(seed: int) -> None:
    data = recorded(seed, 0.5, 20)
    data["score"][999] = np.nan
    found = diagnose_samples(**data)
    assert set(range(20)) <= set(found.indices.tolist())
    assert found.indices.size <= 25
    assert (np.diff(data["score"][found.indices]) <= 0).all()
    verdict = sample_verdict(found, weighted=True)
    assert "of 999 training samples" in verdict.headline
    assert f"#{found.indices[0]}" in verdict.sentences[0]
    assert any("Dia answered" in sentence for sentence in verdict.sentences)


def test_nothing_recorded_says_so() -> None:
    found = diagnose_samples([], [], [], [])
    assert "Nothing was recorded" in sample_verdict(found, weighted=False).headline
    unseen = diagnose_samples([np.nan] * 3, [np.nan] * 3, [np.nan] * 3, [0] * 3)
    assert unseen.num_samples == 0


def test_listing() -> None:
    assert listing(["a"]) == "“a”"
    assert listing(["a", "b"]) == "“a” and “b”"
    assert listing(list("abcd")) == "“a”, “b”, “c” and “d”"
    assert listing(list("abcdef")) == "“a”, “b”, “c” and 3 others"


def test_lengths_must_agree() -> None:
    with pytest.raises(ValueError, match="groups"):
        diagnose_groups([1.0, 2.0], [0])


@pytest.mark.parametrize("made", [[0.99, 0.01], [0.0, 0.0]])
def test_what_could_not_be_counted_is_not_called_fair(made: list[float]) -> None:
    score, group = imbalanced(0, 0.0)
    for accuracy in ([0.99, 0.3], [0.7, 0.3]):
        found = diagnosed(
            score, group, names=("red", "green"), generated={"": made}, seen=[0.95, 0.05],
            accuracy=accuracy, permutations=FEW,
        )  # fmt: skip
        verdict = group_verdict(found, weighted=False)
        text = " ".join(verdict.sentences)
        assert verdict.tone != "ok"
        assert "makes no group clearly" not in text
        shown = str(first_screen(verdict, Evidence(groups=found)))
        assert "“green” of what is generated" not in shown
        if sum(made) and accuracy[0] > 0.9:
            assert verdict.headline == "No group that could be counted is under-represented."
            assert "makes no group that could be counted clearly less often" in text
            assert "“red” of what is generated" in shown
        elif sum(made):
            assert verdict.headline == (
                "D rates no group as under-represented; none could be counted."
            )


def test_samples_of_no_known_group_are_of_the_data_too() -> None:
    score, group = imbalanced(0, 0.0)
    group[np.arange(len(group)) % 2 == 0] = -1
    data = [(group == number).mean() for number in (0, 1)]
    # Drawn as they lie in the data; generated samples belong to a group more often.
    found = diagnosed(
        score, group, names=("red", "green"), generated={"": [1.9 * s for s in data]}, drawn=data,
        permutations=FEW,
    )  # fmt: skip
    assert len(found.findings) == 2
    for finding in found.findings:
        assert finding.share_data == data[finding.group]
        assert finding.state == "fitting"
        assert not finding.was_favoured
        assert not finding.was_displaced


def test_a_single_group_is_not_called_none() -> None:
    score, group = imbalanced(0, 0.0)
    assert diagnose_groups(score, 0 * group) is None
    found = diagnose_samples(score, score, score**2, np.full(len(score), 9))
    assert "No two groups of this data set are known" in " ".join(
        sample_verdict(found, weighted=False).sentences
    )


@pytest.mark.parametrize(("count", "total"), [(0, 10), (1, 10), (10, 10), (123, 10_000)])
def test_intervals_of_shares_are_wilsons(count: int, total: int) -> None:
    expected = stats.binomtest(count, total).proportion_ci(method="wilson")
    found = share_interval(count / total, total)
    assert found == pytest.approx((expected.low, expected.high), rel=1e-12)
