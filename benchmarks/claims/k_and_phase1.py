"""Claim 3, its two settings: the weight k of √LDRV, and how long phase 1 takes."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence

from benchmarks.claims.declared import PLAIN, Claim, Method, Part, Row, Rows, Scale
from benchmarks.claims.findings import above, below, deviation, number
from benchmarks.claims.methods import DIA
from benchmarks.claims.rare_modes import COLUMNS, MEASURED, QUICK, RARE
from benchmarks.claims.rows import groups_row

_PAPER = {"PLUGINS.dia.preset": "paper"}


def _whole(**options: float) -> Method:
    settings = {f"PLUGINS.dia.{name}": value for name, value in options.items()}
    return Method({**DIA, **_PAPER, **settings})


FULL = {
    "no Dia": Method(),
    **{f"k = {k:g}, phase 1 of 50%": _whole(k=k, phase1=0.5) for k in (0.0, 0.3, 0.5, 1.0, 2.0)},
    **{f"k = 0.5, phase 1 of {p:.0%}": _whole(k=0.5, phase1=p) for p in (0.3, 0.8, 0.9)},
}
_TABLES_2_AND_3 = {
    "k = 0, phase 1 of 50%": (0.63760, 0.819712, 15.6),
    "k = 0.3, phase 1 of 50%": (0.60038, 0.818848, 16.6),
    "k = 0.5, phase 1 of 50%": (0.62334, 0.788272, 17.0),
    "k = 1, phase 1 of 50%": (0.54594, 0.846656, 20.6),
    "k = 2, phase 1 of 50%": (0.52100, 0.804464, 19.4),
    "k = 0.5, phase 1 of 30%": (0.52748, 0.718160, 12.0),
    "k = 0.5, phase 1 of 80%": (0.57300, 0.802144, 19.4),
    "k = 0.5, phase 1 of 90%": (0.45274, 0.795472, 18.6),
}
PUBLISHED: dict[tuple[str, str, str], Row] = {
    ("", method, PLAIN): dict(zip(("precision", "recall", "modes_covered"), numbers, strict=True))
    for method, numbers in _TABLES_2_AND_3.items()
}


def verdict(rows: Rows) -> list[Part]:
    """Holds the modes covered by each k, and by each phase 1, against each other."""
    names = [method for _, method, kind in rows if kind == PLAIN]
    if any(name in FULL for name in names):
        half = "k = 0.5, phase 1 of 50%"
        none, *some = (f"k = {k}, phase 1 of 50%" for k in ("0", "0.3", "0.5", "1"))
    else:
        half = "phase 1 of 50%"
        none, *some = (f"k = {k}" for k in ("0", "0.3", "1"))

    def modes(name: str, of: Callable[[Sequence[float]], float] = statistics.fmean) -> float | None:
        return number(rows, "", name, PLAIN, "modes_covered", of)

    def noise(name: str) -> float:
        return modes(name, deviation) or 0.0

    best = max(some, key=lambda name: modes(name) or 0.0)
    parts = [
        above(
            f"{best} covers {{mine}} modes, more than {none}, {{other}}, by more than their "
            f"standard deviation, {noise(none):.2g}",
            modes(best), modes(none), slack=-noise(none),
        )
    ]  # fmt: skip
    same_k, _, length = half.rpartition(" ")
    for other in names:
        if other == half or not other.startswith(same_k):
            continue
        parts.append(
            below(
                f"{other} covers {{mine}} modes, no more than those of {length}, {{other}}, by "
                f"their standard deviation, {noise(half):.2g}",
                modes(other), modes(half), slack=noise(half),
            )
        )  # fmt: skip
    return parts


CLAIM = Claim(
    name="k_and_phase1",
    title="A k from 0.3 to 1 and a phase 1 of half the steps are best for a mixture",
    source="the replication, tables 2 and 3 and figures 2 and 3",
    measured=f"{MEASURED} By k with a phase 1 of 80 %, and by the length of phase 1 with k = 1.",
    failure=(
        "By more than the standard deviation over the seeds: no k from 0.3 to 1 covers more modes "
        "than k = 0, or another length of phase 1 covers more modes than 50 %."
    ),
    explained=(
        "The published clip saturates, as in the claim before, and the more so the larger k is, "
        "which raises all scores: the largest weight is 1.3 times the mean with k = 0, 1.03 times "
        "with 1, 1.01 times with 2 (medians). Nothing that is made can depend on such weights."
    ),
    columns=COLUMNS,
    scales={
        "small": Scale(
            "gmm25",
            {"": RARE},
            {
                # k is of no account before phase 2.
                **{
                    f"k = {k:g}": Method(DIA, {**_PAPER, "PLUGINS.dia.k": k}, (PLAIN,))
                    for k in (0.0, 0.3, 1.0, 2.0)
                },
                **{
                    f"phase 1 of {share:.0%}": Method(
                        {**DIA, **_PAPER, "PLUGINS.dia.phase1": share}
                    )
                    for share in (0.3, 0.5, 0.9)
                },
            },
            8,
            30,
        ),
        "full": Scale("gmm25", {"": {}}, FULL, 5, 60, PUBLISHED),
    },
    elsewhere=(
        "the replication's precision and recall are by balls of a fixed radius, and its table 2 "
        "has another run of k = 0.5 with a phase 1 of 50 % (0.639, 0.838, 19.4 modes). Its table 4 "
        "has k = 0.3, 0.5 and 1 once more after 100 epochs (0.646, 0.823, 17.4; 0.639, 0.858, "
        "18.2; 0.499, 0.862, 21.0), and no numbers without Dia."
    ),
    row=groups_row,
    verdict=verdict,
    quick=QUICK,
)
