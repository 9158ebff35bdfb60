"""Claim 4 on scikit-learn's digits: a colour that G misses comes back, and nobody pays for it."""

from __future__ import annotations

import math
import statistics

from benchmarks.claims.declared import PLAIN, Claim, Part, Rows, Scale, Settings
from benchmarks.claims.findings import pairs_won
from benchmarks.claims.methods import OURS, QUICK
from benchmarks.claims.pairs import won
from benchmarks.claims.plots import marks
from benchmarks.claims.rows import (
    FID,
    GROUPS,
    MAJOR_RECALL,
    MINOR_RECALL,
    PAIR_RULE,
    PRECISION,
    SHARE,
    groups_row,
)

LEVELS: dict[str, Settings] = {
    f"{level} %": {"DATA.options.ratio": level / 100} for level in (95, 97, 99)
}
LONGER = {
    f"{case}, twice the steps": {**LEVELS[case], "OPTIMIZATION.total_steps": 9000}
    for case in ("97 %", "99 %")
}
"""Not of the aims: whether what fails wants only time."""

AIMS = {"95 %": 14, "97 %": 13, "99 %": 12}
"""Pairs of 16 that the rule is to win."""


def verdict(rows: Rows) -> list[Part]:
    """Holds for each level what `feedback` reaches against what is asked of it."""
    return [part for case, aim in AIMS.items() for part in _of_level(rows, case, aim)]


def _of_level(rows: Rows, case: str, aim: int) -> list[Part]:
    plain, paper = rows.get((case, "feedback", PLAIN), {}), rows.get((case, "paper", "drs"), {})
    pairs = pairs_won(rows, case, ("feedback", PLAIN), ("vanilla", PLAIN), won)
    if not pairs:
        return [Part(None, f"{case}: not run")]
    parts = [
        Part(
            sum(pairs) / len(pairs) >= aim / 16,
            f"{case}: `feedback`, plain, has won {sum(pairs)} of {len(pairs)} pairs ({aim} of 16 "
            "are needed)",
        )
    ]
    both = [(plain[seed], paper[seed]) for seed in plain if seed in paper]
    if not both:
        return parts
    better = sum((ours["fid"] or math.inf) < (theirs["fid"] or 0.0) for ours, theirs in both)
    ours, theirs = (
        statistics.median(row["minor_recall"] or 0.0 for row in side)
        for side in zip(*both, strict=True)
    )
    return [
        *parts,
        Part(
            better / len(both) >= 14 / 16,
            f"{case}: its FID is below that of `paper` after DRS in {better} of {len(both)} (14 of "
            "16 are needed)",
        ),
        Part(
            ours >= 0.7 * theirs,
            f"{case}: the median of the rare colour's recall is {ours:.2f}, that of `paper` after "
            f"DRS {theirs:.2f} (0.7 times that is needed)",
        ),
    ]


CLAIM = Claim(
    name="coloured_digits",
    title="Weighted sampling brings a rare colour back, and the majority does not pay",
    source="Lee et al. 2021, table 5 (Colored MNIST); its replication, table 6; on small digits",
    measured=(
        "Share of the rare colour among 10,000 generated samples, partial recall of both colours, "
        f"FID and precision by a small classifier's features. {PAIR_RULE}"
    ),
    failure=(
        "Fewer pairs won than 14 of 16 at 95 %, 13 at 97 % or 12 at 99 %, for plain samples: then "
        "the rule costs the user something too often."
    ),
    explained=(
        "At 95 % the four pairs of the confirmation that are lost are lost by the frequent "
        "colour's recall alone: it falls by 0.011 in the mean, a third of its spread between "
        "seeds. At 97 % single runs lose the rare colour again: G overshoots late, the weights are "
        "let go, and no steps are left to come back. At 99 % G has made none of the 18 digits in "
        "phase 1, and 1,350 steps are too few to learn them. Time alone is no help: after twice "
        "the steps (4 seeds) 1 of 4 pairs is won at 97 %, and at 99 % G still makes no green. Nor "
        "is it pressure that is wanting: of two of these runs that were looked at, green had 36 % "
        "of the draws of phase 2 in the one (97 %, seed 2) and 9 % in the other (99 %, seed 0), "
        "and G made none. The median recall is lower than that of the published rule, which "
        "presses until the end and pays with FID and the frequent colour."
    ),
    columns=GROUPS,
    scales={"small": Scale("colored_digits", {**LEVELS, **LONGER}, OURS, 8, 60)},
    row=groups_row,
    compared=("vanilla", PLAIN),
    won=won,
    verdict=verdict,
    plot=marks((SHARE, MINOR_RECALL, MAJOR_RECALL, FID, PRECISION), "truth", log=("fid",)),
    quick=QUICK,
)
