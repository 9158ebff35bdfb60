"""Claim 2: LDRV is higher for samples of minor groups, which are covered badly."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from typing import Any

import numpy as np
from scipy.stats import spearmanr
from sklearn.metrics import roc_auc_score

from benchmarks.claims.declared import Claim, Column, Method, Part, Row, Rows, Scale, Settings
from benchmarks.claims.findings import above, cases_of, number
from benchmarks.claims.laplace_vs_measured import estimate_ldrv
from benchmarks.claims.methods import QUICK
from diagan_plugin.report import DIAGNOSIS_FILE
from diagan_plugin.report.diagnosis import Diagnosis
from gan_registry.training.run import Run

MEASURED, LAPLACE = "LDRV", "Laplace estimate"
_PRIOR_VARIANCE = 0.01


def measure(run: Run, result: dict[str, Any]) -> dict[str, Any]:
    """Compares LDRV and its estimate from one sweep between two groups."""
    assert run.folder is not None
    found = Diagnosis.load(run.folder / DIAGNOSIS_FILE)
    known = np.isfinite(found.ldrv)
    group = found.group[known]
    minor = group == np.bincount(group).argmin()
    of = {MEASURED: found.ldrv[known], LAPLACE: estimate_ldrv(run, _PRIOR_VARIANCE)[known]}
    shares = [one["share_data"] for one in result["groups"].values()]
    recalls = [one["partial_recall"] for one in result["groups"].values()]
    both = {
        "minor_recall": recalls[int(np.argmin(shares))],
        "major_recall": recalls[int(np.argmax(shares))],
    }
    return {
        name: {
            "minor": float(values[minor].mean()),
            "major": float(values[~minor].mean()),
            "area": float(roc_auc_score(minor, values)),
            "correlation": float(spearmanr(values, of[MEASURED]).statistic),
            **both,
        }
        for name, values in of.items()
    }


def row(values: Mapping[str, Any], kind: str) -> Row:
    """Reads the numbers of LDRV, or of its estimate."""
    found: Row = values[kind]
    return {**found, "ratio": (found["minor"] or 0.0) / (found["major"] or float("nan"))}


def verdict(rows: Rows) -> list[Part]:
    """Holds LDRV of one group against the other's, and the recalls' gaps by level."""

    def mean(case: str, key: str) -> float | None:
        return number(rows, case, "vanilla", MEASURED, key)

    parts = [
        above(
            f"{case}: the minor group's mean LDRV, {{mine}}, is above the major one's, {{other}}",
            mean(case, "minor"), mean(case, "major"),
        )
        for case in cases_of(rows)
    ]  # fmt: skip
    gaps: dict[str, dict[str, float]] = {}
    for case in cases_of(rows):
        data, _, level = case.rpartition(", ")
        major, minor = mean(case, "major_recall"), mean(case, "minor_recall")
        if major is not None and minor is not None:
            gaps.setdefault(data, {})[level] = major - minor
    for data, of in gaps.items():
        levels = sorted(of)
        for one, two in itertools.pairwise(levels):
            parts.append(
                above(
                    f"{data}: the major group's recall is above the minor one's by {{mine}} at "
                    f"{two}, more than the {{other}} at {one}",
                    of[two], of[one], ".2f",
                )
            )  # fmt: skip
    return parts


_MNIST = {
    "CONFIG": "colored_mnist_small", "FOLDER": "mnist", "RUN.eval_metrics": ["partial_recall"],
}  # fmt: skip

CASES: dict[str, Settings] = {
    "Gaussian, 90 %": {"CONFIG": "gaussian"},
    **{f"coloured digits, {p} %": {"DATA.options.ratio": p / 100} for p in (90, 95, 99)},
    **{f"Colored MNIST, {p} %": {**_MNIST, "DATA.options.ratio": p / 100} for p in (90, 99)},
}

_METHODS = {"vanilla": Method({"PLUGINS.dia.diagnose": True}, None, (MEASURED, LAPLACE))}
_RECALL = {"RUN.eval_metrics": ["partial_recall"]}

FULL: dict[str, Settings] = {
    "Gaussian, 90 %": {"CONFIG": "gaussian"},
    **{
        f"{title}, {level} %": {"CONFIG": f"{config}_{level}", "FOLDER": config_folder, **_RECALL}
        for title, config, config_folder in (
            ("Colored MNIST", "colored_mnist", "mnist"),
            ("MNIST-FMNIST", "mnist_fmnist", "mnist_fmnist"),
        )
        for level in (90, 95, 99)
    },
}
PUBLISHED: dict[tuple[str, str, str], Row] = {
    ("Gaussian, 90 %", "vanilla", MEASURED): {"major": 0.001, "minor": 0.098},
    ("Colored MNIST, 90 %", "vanilla", MEASURED): {"major": 0.077, "minor": 0.186},
    ("MNIST-FMNIST, 90 %", "vanilla", MEASURED): {"major": 0.082, "minor": 0.115},
}

CLAIM = Claim(
    name="minorities",
    title="LDRV is higher for samples of minor groups, and these are covered worse",
    source="Lee et al. 2021, table 1, equations 3 to 6 and figure 1e; its replication, table 1",
    measured=(
        "Mean LDRV of the last 50 records over the samples of the minor and of the major group, "
        "the area under the ROC curve by which LDRV tells the minor group, and both for the "
        "estimate of LDRV from one sweep by Laplace's approximation (prior variance "
        f"{_PRIOR_VARIANCE:g}), with its rank correlation with LDRV; partial recall of both groups."
    ),
    failure=(
        "The minor group's LDRV is not higher in the mean over seeds, or the gap between the "
        "recalls does not grow with the level."
    ),
    explained=(
        "LDRV tells the minor group in every case, and so does its estimate from one sweep. From "
        "95 % on the rare colour of the digits is not made at all: the gap between the recalls is "
        "then the frequent colour's own, and cannot grow any more."
    ),
    columns=(
        Column("minor", "minor", ".3g"),
        Column("major", "major", ".3g"),
        Column("minor / major ↑", "ratio", ".2f"),
        Column("area for the minor group ↑", "area"),
        Column("rank correlation with LDRV", "correlation", ".2f"),
        Column("minor recall", "minor_recall"),
        Column("major recall", "major_recall"),
    ),
    scales={
        "small": Scale("colored_digits", CASES, _METHODS, 8, 120),
        "full": Scale("colored_mnist_90", FULL, _METHODS, 1, 40_000, PUBLISHED),
    },
    elsewhere=(
        "figure 1e has its recalls as curves only. The replication's table 1 has 0.019 (major) and "
        "0.185 (minor) for the Gaussian."
    ),
    row=row,
    measure=measure,
    verdict=verdict,
    quick=QUICK,
)
