"""Claim 1: the LDRM of training samples tells which modes the generator misses."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import spearmanr
from sklearn.metrics import roc_auc_score

from benchmarks.claims.declared import Claim, Column, Method, Part, Row, Rows, Scale, Settings
from benchmarks.claims.findings import below, number
from benchmarks.claims.rare_modes import QUICK
from diagan_plugin.report import DIAGNOSIS_FILE
from diagan_plugin.report.diagnosis import Diagnosis
from gan_registry.training.run import Run

LDRM, ONE, LDRV, SCORE = "LDRM", "LDR of the last record", "LDRV", "score"
_MISSED = 0.25
"""A mode with less than this part of its share of the samples is missed."""


def measure(run: Run, result: dict[str, Any]) -> dict[str, Any]:
    """Compares statistics of the modes with how often each is generated."""
    assert run.folder is not None
    found = Diagnosis.load(run.folder / DIAGNOSIS_FILE)
    groups = list(result["groups"].values())
    made = np.asarray([group["share_generated"] for group in groups])
    in_data = np.asarray([group["share_data"] for group in groups])
    missed = made < _MISSED * in_data
    of_subset = found.group[found.history_indices]
    history = np.stack([_by_mode(record, of_subset, len(groups)) for record in found.history])
    by_mode = {
        LDRM: _by_mode(found.ldrm, found.group, len(groups)),
        ONE: history[-1],
        LDRV: _by_mode(found.ldrv, found.group, len(groups)),
        SCORE: _by_mode(found.score, found.group, len(groups)),
    }
    values: dict[str, Any] = {
        "missed": int(missed.sum()), "modes_covered": result["metrics"]["modes_covered"],
        "generated": made.tolist(),
    }  # fmt: skip
    for name, of in by_mode.items():
        both = missed.any() and not missed.all()
        values[name] = {
            "correlation": float(spearmanr(of, made).statistic),
            "of_ratio": float(spearmanr(of, made / in_data).statistic),
            "area": float(roc_auc_score(missed, of)) if both else None,
        }
    if run.seed == 0:  # one picture is enough
        values["steps"] = found.history_steps.tolist()
        values["heat"] = [[float(f"{x:.3g}") for x in record] for record in history]
    return values


def _by_mode(values: NDArray[Any], group: NDArray[np.int64], modes: int) -> NDArray[np.float64]:
    return np.asarray([values[group == mode].mean() for mode in range(modes)], np.float64)


def row(values: Mapping[str, Any], kind: str) -> Row:
    """Reads one statistic's numbers."""
    return {**values[kind], "missed": values["missed"], "modes_covered": values["modes_covered"]}


def verdict(rows: Rows) -> list[Part]:
    """Holds LDRM's correlation against −0.5 and against that of one record."""
    parts = []
    for case in CASES:
        ldrm, one = (number(rows, case, "vanilla", kind, "correlation") for kind in (LDRM, ONE))
        text = f"{case}: LDRM's mean correlation, {{mine}}, is below"
        parts.append(below(f"{text} −0.5", ldrm, -0.5, ".2f"))
        parts.append(below(f"{text} that of one record, {{other}}", ldrm, one, ".2f"))
    return parts


def plot(rows: Rows, contents: list[dict[str, Any]], path: Path) -> None:
    """Draws the LDR of each mode over the steps beside what is generated of it."""
    from matplotlib.figure import Figure

    shown = [content for content in contents if "heat" in content["values"]]
    if not shown:
        return
    figure = Figure((9, 3.5 * len(shown)), layout="constrained")
    axes = figure.subplots(len(shown), 2, width_ratios=(4, 1), squeeze=False, sharey="row")
    for (heat, bars), content in zip(axes, shown, strict=True):
        values = content["values"]
        image = heat.pcolormesh(
            values["steps"], range(len(values["generated"])), np.asarray(values["heat"]).T,
            cmap="coolwarm", vmin=-3, vmax=3, shading="nearest",
        )  # fmt: skip
        heat.set(xlabel="step", ylabel="mode", title=f"LDR, {content['case']}")
        figure.colorbar(image, ax=heat)
        bars.barh(range(len(values["generated"])), values["generated"], color="grey")
        bars.set(xlabel="share generated")
    figure.savefig(path, dpi=100)


_RARE = {"DATA.options.rare_modes": [3, 6, 12, 16, 23], "DATA.options.rare_share": 0.1}
CASES: dict[str, Settings] = {"25 equal modes": {}, "five modes a tenth as frequent": _RARE}

CLAIM = Claim(
    name="missing_modes",
    title="The LDRM of training samples tells which modes the generator misses",
    source="Lee et al. 2021, figure 2; its replication, figure 1",
    measured=(
        "25 Gaussians: Spearman's rank correlation over the modes of a statistic, averaged over "
        "the training samples of each mode, with the share of the mode among 10,000 generated "
        "samples; and the area under the ROC curve by which it tells modes with less than a "
        "quarter of their share. LDRM, LDRV and score are of the last 50 records."
    ),
    failure=(
        "LDRM's correlation is above −0.5 in the mean over seeds, or LDRM does no better than the "
        "LDR of one record."
    ),
    explained=(
        "Where modes differ in size, the share generated is the wrong thing to hold LDRM against: "
        "it estimates the log of p_data/p_g, and with the share generated over that of the data "
        "its rank correlation is as high as where all are equal, nearly. The last record does as "
        "well as the mean of 50, as the generator moves on while they are made. LDRV says nothing "
        "of missing modes; it is not claimed to."
    ),
    columns=(
        Column("rank correlation with the share generated ↓", "correlation", ".2f"),
        Column("with that over its share of the data ↓", "of_ratio", ".2f"),
        Column("area for missed modes ↑", "area", ".2f"),
        Column("modes missed", "missed", ".1f"),
        Column("modes covered", "modes_covered", ".1f"),
    ),
    scales={
        "small": Scale(
            "gmm25",
            CASES,
            {"vanilla": Method({"PLUGINS.dia.diagnose": True}, None, (LDRM, ONE, LDRV, SCORE))},
            8,
            60,
        )
    },
    row=row,
    measure=measure,
    verdict=verdict,
    plot=plot,
    quick=QUICK,
)
