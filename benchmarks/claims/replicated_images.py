"""The replication of Dia-GAN on MNIST and Colored MNIST, tables 5 and 6."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from benchmarks.claims.declared import PLAIN, Claim, Column, Row, Scale
from benchmarks.claims.methods import OURS
from benchmarks.claims.rows import FID
from benchmarks.claims.training import by_kind

_SAME = {"FOLDER": "mnist", "RUN.eval_metrics": ["fid", "epsilon_ball"]}


def row(values: Mapping[str, Any], kind: str) -> Row:
    """Reads the metrics of a kind of samples."""
    metrics, _ = by_kind(values, kind)
    return {key: metrics.get(key) for key in ("fid", "epsilon_precision", "epsilon_recall")}


CLAIM = Claim(
    name="replicated_images",
    title="On MNIST and Colored MNIST Dia has more recall, not a better FID",
    source="the replication, tables 5 and 6",
    measured=(
        "FID, precision and recall by balls of radius 0.4, by a classifier's features, with the "
        "networks and steps of the replication."
    ),
    failure="Recall is not higher than without Dia, in the mean over seeds.",
    columns=(
        FID,
        Column("precision ↑", "epsilon_precision"),
        Column("recall ↑", "epsilon_recall"),
    ),
    scales={
        "full": Scale(
            "mnist_cnn_gan",
            {
                "MNIST": {"CONFIG": "mnist_cnn_gan", **_SAME, "PLUGINS.dia.phase1": 0.5},
                "Colored MNIST, 80 %": {"CONFIG": "colored_mnist_cnn_gan", **_SAME},
            },
            OURS,
            3,
            40_000,
            {
                ("MNIST", "vanilla", PLAIN): {
                    "epsilon_precision": 0.374,
                    "epsilon_recall": 0.371,
                    "fid": 142.84,
                },
                ("MNIST", "paper", PLAIN): {
                    "epsilon_precision": 0.361,
                    "epsilon_recall": 0.401,
                    "fid": 166.77,
                },
                ("Colored MNIST, 80 %", "vanilla", PLAIN): {
                    "epsilon_precision": 0.641,
                    "epsilon_recall": 0.464,
                    "fid": 606.53,
                },
                ("Colored MNIST, 80 %", "paper", PLAIN): {
                    "epsilon_precision": 0.612,
                    "epsilon_recall": 0.475,
                    "fid": 608.83,
                },
            },
        )
    },
    row=row,
)
