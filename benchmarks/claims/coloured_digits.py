"""Claim 4 on scikit-learn's digits: a colour that G misses comes back, and nobody pays for it."""

from __future__ import annotations

from benchmarks.claims.declared import PLAIN, Claim, Scale
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
    plot=marks((SHARE, MINOR_RECALL, MAJOR_RECALL, FID, PRECISION), "truth", log=("fid",)),
    quick=QUICK,
)
