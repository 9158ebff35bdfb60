"""Claim 6: Dia works with the hinge loss, whose D gives no density ratio."""

from __future__ import annotations

from benchmarks.claims.declared import PLAIN, Claim, Part, Rows, Scale
from benchmarks.claims.findings import below, cases_of, number
from benchmarks.claims.methods import OURS, QUICK
from benchmarks.claims.pairs import won
from benchmarks.claims.rows import GROUPS, PAIR_RULE, groups_row


def verdict(rows: Rows) -> list[Part]:
    """Holds the FID of Dia's corrected samples against that without Dia."""
    return [
        below(
            f"{case}: FID of `{method}`, drs, {{mine}}, is below {{other}} without Dia",
            number(rows, case, method, "drs", "fid"), number(rows, case, "vanilla", PLAIN, "fid"),
        )
        for case in cases_of(rows) for method in ("paper", "feedback")
    ]  # fmt: skip


CLAIM = Claim(
    name="hinge",
    title="Dia helps with the hinge loss, too",
    source="Lee et al. 2021, table 4 (HingeGAN on CIFAR-10 and CelebA)",
    measured=(
        "The coloured digits with the hinge loss in the place of the logistic one: share and "
        f"partial recall of the rare colour, FID. {PAIR_RULE}"
    ),
    failure="FID of Dia's corrected samples is not below that without Dia in the mean over seeds.",
    explained=(
        "With the hinge loss D learns nothing from a real sample that it rates above 1. When phase "
        "1 ends it rates the green digits at 4 to 5, so that drawing them 14 times as often, 72 % "
        "of the draws, changes nothing in D but the digits whose place they take: the published "
        "rule made no green digit in any seed. It can help only with samples that D rates below 1."
    ),
    columns=GROUPS,
    scales={
        "small": Scale(
            "colored_digits",
            {"95 %": {"DATA.options.ratio": 0.95, "LOSS.adv_loss": "hinge"}},
            OURS,
            4,
            60,
        )
    },
    row=groups_row,
    compared=("vanilla", PLAIN),
    won=won,
    verdict=verdict,
    quick=QUICK,
)
