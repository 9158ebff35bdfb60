"""Claim 4, all methods and all measures of the rare group, on digits and on Colored MNIST."""

from __future__ import annotations

from benchmarks.claims.declared import PLAIN, Claim, Column, Row, Scale, Settings
from benchmarks.claims.methods import OTHERS, OURS, QUICK
from benchmarks.claims.pairs import won
from benchmarks.claims.plots import marks
from benchmarks.claims.rows import (
    FID,
    MAJOR_RECALL,
    MINOR_PRECISION,
    MINOR_RECALL,
    PAIR_RULE,
    PRECISION,
    SHARE,
    TRUTH,
    groups_row,
)

_METRICS = {
    "RUN.eval_metrics": [
        "fid", "precision", "recall", "partial_recall", "group_precision", "partial_fid",
        "reconstruction_error",
    ]
}  # fmt: skip
METHODS = {**OURS, **OTHERS}

_MNIST = {"CONFIG": "colored_mnist_small", "FOLDER": "mnist"}

CASES: dict[str, Settings] = {
    "coloured digits, 95 %": {**_METRICS, "DATA.options.ratio": 0.95},
    "coloured digits, 99 %": {**_METRICS, "DATA.options.ratio": 0.99},
    "coloured digits, 90 %": {**_METRICS, "DATA.options.ratio": 0.90},
    "Colored MNIST, 95 %": {**_METRICS, **_MNIST, "DATA.options.ratio": 0.95},
    "Colored MNIST, 99 %": {**_METRICS, **_MNIST, "DATA.options.ratio": 0.99},
    "Colored MNIST, 90 %": {**_METRICS, **_MNIST, "DATA.options.ratio": 0.90},
}

_FULL = {
    "RUN.eval_metrics": ["fid", "partial_recall", "partial_fid", "reconstruction_error_published"]
}
FULL: dict[str, Settings] = {
    f"{title}, {level} %": {"CONFIG": f"{config}_{level}", "FOLDER": folder, **_FULL}
    for title, config, folder in (
        ("Colored MNIST", "colored_mnist", "mnist"),
        ("MNIST-FMNIST", "mnist_fmnist", "mnist_fmnist"),
    )
    for level in (99, 95, 90)
}  # fmt: skip

_TABLE_5 = {
    "vanilla": (0.838, 0.236, 0.218, 0.290, 0.227, 0.215),
    "GOLD": (0.813, 0.297, 0.200, 0.296, 0.241, 0.218),
    "top-k": (0.831, 0.210, 0.223, 0.281, 0.232, 0.221),
    "PacGAN": (0.810, 0.244, 0.233, 0.313, 0.251, 0.225),
    "Inclusive GAN": (0.812, 0.274, 0.216, 0.283, 0.230, 0.220),
    "paper": (0.224, 0.204, 0.197, 0.264, 0.219, 0.206),
}
PUBLISHED: dict[tuple[str, str, str], Row] = {
    (case, method, "drs" if method == "paper" else PLAIN): {"minor_error": error}
    for method, errors in _TABLE_5.items()
    for case, error in zip(FULL, errors, strict=True)
}

CLAIM = Claim(
    name="minority_quality",
    title="Dia makes the minority best of all methods, the more so the rarer it is",
    source="Lee et al. 2021, table 5; its replication, table 6",
    measured=(
        "Reconstruction error (RE) of the rare colour's training samples by an autoencoder trained "
        "on generated ones, its share, partial recall, and FID of its training samples against all "
        f"generated ones. {PAIR_RULE} No method was tuned."
    ),
    failure=(
        "RE of the rare colour is not lowest for Dia, in the mean over seeds, at 99 or at 95 %; or "
        "its share or partial recall is not above that of the run without it."
    ),
    columns=(
        Column("rare RE ↓", "minor_error"),
        TRUTH,
        SHARE,
        MINOR_RECALL,
        MAJOR_RECALL,
        Column("rare partial FID ↓", "minor_fid", ".3g"),
        FID,
        PRECISION,
        MINOR_PRECISION,
    ),
    scales={
        "small": Scale("colored_digits", CASES, METHODS, 4, 240),
        "full": Scale("colored_mnist_95", FULL, METHODS, 1, 40_000, PUBLISHED),
    },
    row=groups_row,
    compared=("vanilla", PLAIN),
    won=won,
    plot=marks((SHARE, MINOR_RECALL, MAJOR_RECALL, FID, PRECISION), "truth", log=("fid",)),
    quick=QUICK,
)
