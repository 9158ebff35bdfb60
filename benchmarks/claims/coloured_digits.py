"""Claim 4 on scikit-learn's digits: a colour that G misses comes back, and nobody pays for it."""

from __future__ import annotations

import math
import statistics

from benchmarks.claims.declared import PLAIN, Claim, Rows, Scale
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

LEVELS = {f"{level} %": {"DATA.options.ratio": level / 100} for level in (95, 97, 99)}

AIMS = {"95 %": 14, "97 %": 13, "99 %": 12}
"""Pairs of 16 that the rule is to win."""


def verdict(rows: Rows) -> str:
    """Says for each level how far `feedback` is from what is asked of it."""
    parts = []
    for case, aim in AIMS.items():
        plain = rows.get((case, "feedback", PLAIN), {})
        without = rows.get((case, "vanilla", PLAIN), {})
        paper = rows.get((case, "paper", "drs"), {})
        pairs = [won(plain[seed], without[seed]) for seed in plain if seed in without]
        both = [(plain[seed], paper[seed]) for seed in plain if seed in paper]
        if not pairs or not both:
            continue
        better = sum((ours["fid"] or math.inf) < (theirs["fid"] or 0.0) for ours, theirs in both)
        recalls = [
            statistics.median(row["minor_recall"] or 0.0 for row in side)
            for side in zip(*both, strict=True)
        ]
        parts.append(
            f"{case}: `feedback`, plain, has won {sum(pairs)} of {len(pairs)} pairs (aim: {aim} of "
            f"16); its FID is below that of `paper` after DRS in {better} of {len(both)} (14 of "
            f"16); the median of the rare colour's recall is {recalls[0]:.2f}, that of `paper` "
            f"after DRS {recalls[1]:.2f} (0.7 times that)"
        )
    return "; ".join(parts) + "." if parts else "nothing yet."


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
    columns=GROUPS,
    scales={"small": Scale("colored_digits", LEVELS, OURS, 8, 60)},
    row=groups_row,
    compared=("vanilla", PLAIN),
    won=won,
    verdict=verdict,
    plot=marks((SHARE, MINOR_RECALL, MAJOR_RECALL, FID, PRECISION), "truth", log=("fid",)),
    quick=QUICK,
)
