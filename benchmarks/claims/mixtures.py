"""Claim 8: more generators help, larger ones do not; less data do harm."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from benchmarks.claims.declared import (
    PLAIN,
    Claim,
    Column,
    Method,
    Part,
    Row,
    Rows,
    Scale,
    Settings,
)
from benchmarks.claims.findings import above, below, cases_of, number


def _mix(generators: int, discriminators: int) -> Method:
    return Method(
        {
            "LOSS.objective": "mix_plus",
            "PLUGINS.mix_plus_gan.generators": generators,
            "PLUGINS.mix_plus_gan.discriminators": discriminators,
        }
    )


METHODS = {
    "1 G, 1 D": Method(),
    "1 G, 1 D, twice as wide": Method({"MODEL.hidden_dim": 256}),
    "1 G, 1 D, two layers more": Method({"MODEL.num_layers": 5}),
    "3 G, 1 D": _mix(3, 1),
    "3 G, 3 D": _mix(3, 3),
    "5 G, 5 D": _mix(5, 5),
}

_SAME = {"OPTIMIZATION.batch_size": 60, "RUN.eval_metrics": ["fid", "judge"]}  # 3 and 5 divide it

_FEW: dict[str, Settings] = {
    f"{count:,} samples": {"DATA.options.num_samples": count} for count in (20_000, 2_000, 500)
}


_FULL = {"OPTIMIZATION.batch_size": 250, "RUN.num_eval": 50_000,
         "RUN.eval_metrics": ["fid", "judge_published", "critic_published"]}  # fmt: skip
FULL: dict[str, Settings] = {
    "3 Gaussians (figures 3, 8, 9)": _FULL,
    "a network's output (figure 10)": {"CONFIG": "random_network_1024", **_FULL},
    **{
        f"3 Gaussians, {count:,} samples (figure 11)": {
            **_FULL, "DATA.options.num_samples": count,
        }
        for count in (100_000, 10_000)
    },
}  # fmt: skip
FULL_METHODS = {
    **METHODS,
    "1 G, 1 D, twice as wide": Method({"MODEL.hidden_dim": 2048}),
    "10 G, 10 D": _mix(10, 10),
}


def row(values: Mapping[str, Any], kind: str) -> Row:
    """Reads the metrics."""
    keys = ("fid", "judge_accuracy", "modes_covered", "high_quality")
    return {key: values["metrics"].get(key) for key in keys}


def verdict(rows: Rows) -> list[Part]:
    """Holds more generators against one, and less data against more."""

    def fid(case: str, method: str) -> float | None:
        return number(rows, case, method, PLAIN, "fid")

    cases = cases_of(rows)
    if not cases:
        return []
    most, text = cases[0], f"{cases[0]}: the Fréchet distance of 3 G, 3 D, {{mine}}, is"
    parts = [
        below(f"{text} below {{other}} of {other}", fid(most, "3 G, 3 D"), fid(most, other))
        for other in list(METHODS)[:3]
    ]
    for less in cases[1:]:
        for method in ("1 G, 1 D", "3 G, 3 D"):
            text = f"{method}: the distance with {less}, {{mine}}, is above {{other}} with {most}"
            parts.append(above(text, fid(less, method), fid(most, method)))
    return parts


CLAIM = Claim(
    name="mixtures",
    title="More generators help, a larger one does not, and less data do harm",
    source="Tang 2020, figures 3, 8, 9 and 11",
    measured=(
        "Three Gaussians in 64 dimensions: Fréchet distance of the samples, accuracy of a judge "
        "that is trained to tell them from the data (0.5: it cannot), modes covered. The size of "
        "the training set is varied for all methods."
    ),
    failure=(
        "3 G, 3 D has no smaller Fréchet distance than 1 G, 1 D at 20,000 samples, a wider or "
        "deeper one is better than that, or fewer samples are better, in the mean over seeds."
    ),
    columns=(
        Column("Fréchet distance ↓", "fid"),
        Column("judge's accuracy ↓", "judge_accuracy"),
        Column("modes ↑", "modes_covered", ".1f"),
        Column("in a mode ↑", "high_quality", ".1%"),
    ),
    scales={
        "small": Scale(
            "gaussians_1024_small",
            {name: {**_SAME, **of} for name, of in _FEW.items()},
            METHODS,
            4,
            150,
        ),
        "full": Scale("gaussians_1024", FULL, FULL_METHODS, 1, 2e6),
    },
    elsewhere=(
        "the paper has no numbers for these, only curves and bars; figures 4 to 7, which generator "
        "makes what, are drawn by no claim."
    ),
    row=row,
    verdict=verdict,
    quick={"OPTIMIZATION.total_steps": 5, "RUN.num_eval": 200, "RUN.eval_metrics": ["fid"]},
)
