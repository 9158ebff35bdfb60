"""Lee et al. (2021), table 6: faces with rare attributes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from benchmarks.claims.declared import PLAIN, Claim, Column, Row, Scale, Settings
from benchmarks.claims.methods import FEEDBACK, PAPER, WITHOUT

# Name: LDRV with and without it, score with and without it; O and R, vanilla; O and R, Dia.
_TABLE_6 = {
    "Bald": (0.271, 0.184, 2.938, 2.221, 0.678, 0.353, 0.836, 0.393),
    "Double_Chin": (0.219, 0.184, 2.525, 2.224, 0.440, 0.411, 0.522, 0.461),
    "Eyeglasses": (0.254, 0.181, 2.783, 2.200, 3.300, 0.400, 4.053, 0.449),
    "Gray_Hair": (0.211, 0.185, 2.450, 2.228, 2.273, 0.402, 2.369, 0.436),
    "Mustache": (0.242, 0.183, 2.699, 2.218, 0.157, 0.391, 0.228, 0.433),
    "Pale_Skin": (0.190, 0.186, 2.240, 2.238, 0.346, 0.380, 0.453, 0.427),
    "Wearing_Hat": (0.357, 0.177, 3.651, 2.164, 2.307, 0.380, 3.595, 0.408),
}

_METRICS = ["partial_recall", "occurrence_classifier"]
CASES: dict[str, Settings] = {
    name: {"FOLDER": "celeba", "DATA.options.attribute": name, "RUN.eval_metrics": _METRICS}
    for name in _TABLE_6
}


def _published() -> dict[tuple[str, str, str], Row]:
    found: dict[tuple[str, str, str], Row] = {}
    keys = ("ldrv_with", "ldrv_without", "score_with", "score_without")
    for name, numbers in _TABLE_6.items():
        found[name, "vanilla", PLAIN] = {"share": numbers[4] / 100, "minor_recall": numbers[5]}
        found[name, "paper", PLAIN] = {
            **dict(zip(keys, numbers[:4], strict=True)),
            "share": numbers[6] / 100,
            "minor_recall": numbers[7],
        }
    return found


def row(values: Mapping[str, Any], kind: str) -> Row:
    """Reads the faces with and without the attribute."""
    groups = sorted(values["groups"].values(), key=lambda group: float(group["share_data"]))
    with_it, without = groups[0], groups[-1]
    return {
        "ldrv_with": with_it.get("ldrv"), "ldrv_without": without.get("ldrv"),
        "score_with": with_it.get("score"), "score_without": without.get("score"),
        "share": with_it.get("occurrence"),
        "minor_recall": with_it.get("partial_recall"),
    }  # fmt: skip


CLAIM = Claim(
    name="celeba_attributes",
    title="Faces with rare attributes score higher, and Dia makes more of them, and better",
    source="Lee et al. 2021, table 6",
    measured=(
        "LDRV and score of faces with and without an attribute, its share among generated faces by "
        "a classifier, and its partial recall; SNGAN with the paper's steps."
    ),
    failure="An attribute is generated more rarely, or covered worse, than without Dia.",
    columns=(
        Column("LDRV with", "ldrv_with"),
        Column("without", "ldrv_without"),
        Column("score with", "score_with"),
        Column("without", "score_without"),
        Column("share ↑", "share", ".3%"),
        Column("partial recall ↑", "minor_recall"),
    ),
    scales={
        "full": Scale(
            "celeba_sngan",
            CASES,
            {
                "vanilla": WITHOUT,
                "paper": replace(PAPER, kinds=(PLAIN,)),
                "feedback": replace(FEEDBACK, kinds=(PLAIN,)),
            },
            1,
            2e6,
            _published(),
        )
    },
    row=row,
)
