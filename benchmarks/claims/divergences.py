"""Claim 9: f-divergences, WGAN, mode seeking and rejection on MNIST: the order of FID."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from typing import Any

from benchmarks.claims.declared import PLAIN, Claim, Column, Method, Part, Row, Rows, Scale
from benchmarks.claims.findings import above, number
from benchmarks.claims.training import by_kind

_MODE_SEEKING = {"LOSS.adv_loss": "logistic", "PLUGINS.mode_seeking.weight": 0.05}

METHODS = {
    "JS": Method({"LOSS.adv_loss": "f_js"}),
    "KL": Method({"LOSS.adv_loss": "f_kl"}),
    "reverse KL": Method({"LOSS.adv_loss": "f_reverse_kl"}),
    "WGAN": Method({"LOSS.adv_loss": "wasserstein", "LOSS.apply_wc": True}),
    "logistic": Method({"LOSS.adv_loss": "logistic"}),
    "mode seeking, λ = 0.1": Method({**_MODE_SEEKING, "PLUGINS.mode_seeking.weight": 0.1}),
    "mode seeking, λ = 0.05": Method(_MODE_SEEKING, None, (PLAIN, "threshold", "interpolation")),
}


def row(values: Mapping[str, Any], kind: str) -> Row:
    """Reads the metrics of a kind of samples."""
    metrics, _ = by_kind(values, kind)
    return {key: metrics.get(key) for key in ("fid", "precision", "recall", "acceptance_rate")}


PUBLISHED: dict[tuple[str, str, str], Row] = {
    ("", "JS", PLAIN): {"fid": 45.53},
    ("", "WGAN", PLAIN): {"fid": 87.55},
    ("", "mode seeking, λ = 0.1", PLAIN): {"fid": 41.01},
    ("", "mode seeking, λ = 0.05", PLAIN): {"fid": 35.84},
    ("", "mode seeking, λ = 0.05", "threshold"): {"fid": 29.0},
    ("", "mode seeking, λ = 0.05", "interpolation"): {
        "fid": 27.72, "precision": 0.49, "recall": 0.16,
    },
}  # fmt: skip

_ORDER = (
    ("WGAN", PLAIN), ("JS", PLAIN), ("mode seeking, λ = 0.1", PLAIN),
    ("mode seeking, λ = 0.05", PLAIN), ("mode seeking, λ = 0.05", "threshold"),
)  # fmt: skip


def verdict(rows: Rows) -> list[Part]:
    """Holds the order of the mean FIDs against the report's."""

    def fid(row: tuple[str, str]) -> float | None:
        return number(rows, "", *row, "fid")

    def shown(row: tuple[str, str]) -> str:
        return row[0] if row[1] == PLAIN else f"{row[0]}, {row[1]}"

    pairs = [
        *itertools.pairwise(_ORDER),
        (("KL", PLAIN), _ORDER[1]),
        (("reverse KL", PLAIN), _ORDER[1]),
    ]
    return [
        above(f"FID of {shown(one)}, {{mine}}, is above that of {shown(two)}, {{other}}",
              fid(one), fid(two))
        for one, two in pairs
    ]  # fmt: skip


CLAIM = Claim(
    name="divergences",
    title="On MNIST, JS is the best divergence, and mode seeking and rejection do better",
    source="the report on f-GANs on MNIST, sections 2 to 5: 45.5, WGAN 87.5, 35.8, 29, 27.7",
    measured=(
        "FID, precision and recall by the features of a classifier, so that only the order can be "
        "compared with the report's, on 10,000 digits with narrow networks; `threshold` and "
        "`interpolation` correct the samples of the mode-seeking GAN."
    ),
    failure=(
        "The order of the mean FIDs is not WGAN > JS > mode seeking λ = 0.1 > λ = 0.05 > "
        "threshold, or another divergence is better than JS."
    ),
    columns=(
        Column("FID ↓", "fid", ".3g"),
        Column("precision ↑", "precision"),
        Column("recall ↑", "recall"),
        Column("accepted", "acceptance_rate", ".2f"),
    ),
    scales={
        "small": Scale("mnist_fgan_small", {"": {"FOLDER": "mnist"}}, METHODS, 4, 400),
        "full": Scale("mnist_fgan", {"": {"FOLDER": "mnist"}}, METHODS, 1, 40_000, PUBLISHED),
    },
    row=row,
    verdict=verdict,
    quick={"OPTIMIZATION.total_steps": 10, "RUN.num_eval": 200},
)
