"""Lee et al. (2021), tables 2 to 4: CIFAR-10, CelebA and FFHQ, at their own size."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from benchmarks.claims.declared import PLAIN, Claim, Column, Row, Scale, Settings
from benchmarks.claims.methods import FEEDBACK, OTHERS, PAPER, WITHOUT
from benchmarks.claims.training import by_kind

_BOTH = (PLAIN, "drs")
METHODS = {
    "vanilla": replace(WITHOUT, kinds=_BOTH),
    "GOLD": replace(OTHERS["GOLD"], kinds=_BOTH),
    "top-k": replace(OTHERS["top-k"], kinds=_BOTH),
    "paper": PAPER,
    "feedback": FEEDBACK,
}

_CIFAR = {"FOLDER": "cifar10", "RUN.eval_metrics": ["fid", "inception_score"]}
_FACES = {"RUN.eval_metrics": ["fid", "precision", "recall"]}
_CELEBA = {"FOLDER": "celeba", **_FACES}

CASES: dict[str, Settings] = {
    "SNGAN, CIFAR-10": {"CONFIG": "cifar10_sngan", **_CIFAR},
    "SSGAN, CIFAR-10": {"CONFIG": "cifar10_ssgan", **_CIFAR},
    "SNGAN, CelebA": {"CONFIG": "celeba_sngan", **_CELEBA},
    "SSGAN, CelebA": {"CONFIG": "celeba_ssgan", **_CELEBA},
    "HingeGAN, CIFAR-10": {"CONFIG": "cifar10_hingegan", **_CIFAR},
    "HingeGAN, CelebA": {"CONFIG": "celeba_hingegan", **_CELEBA},
    "StyleGAN2, FFHQ": {"CONFIG": "ffhq256_stylegan2", "FOLDER": "ffhq", **_FACES},
}

_ROWS = [(method, kind) for method in ("vanilla", "GOLD", "top-k") for kind in _BOTH]
_ROWS.append(("paper", "drs"))
_TABLE_2: dict[str, list[tuple[float, ...]]] = {
    "SNGAN, CIFAR-10": [(26.90, 7.36), (24.54, 7.57), (28.86, 7.21), (24.65, 7.53), (24.45, 7.60),
                        (23.92, 7.70), (19.66, 7.95)],
    "SSGAN, CIFAR-10": [(22.01, 7.65), (20.51, 7.77), (21.90, 7.57), (19.36, 7.79), (20.01, 7.78),
                        (20.09, 7.88), (16.31, 8.14)],
    "SNGAN, CelebA": [(7.12, 0.68, 0.44), (7.04, 0.68, 0.44), (7.31, 0.69, 0.44),
                      (6.97, 0.68, 0.44), (7.35, 0.67, 0.44), (7.35, 0.68, 0.44),
                      (6.70, 0.64, 0.48)],
    "SSGAN, CelebA": [(7.19, 0.68, 0.44), (7.08, 0.68, 0.45), (7.46, 0.68, 0.43),
                      (7.15, 0.67, 0.45), (7.23, 0.67, 0.45), (7.16, 0.68, 0.45),
                      (6.88, 0.66, 0.46)],
}  # fmt: skip
_TABLES_3_AND_4: dict[tuple[str, str, str], tuple[float, ...]] = {
    ("HingeGAN, CIFAR-10", "vanilla", PLAIN): (21.99, 7.67),
    ("HingeGAN, CIFAR-10", "paper", "drs"): (18.74, 8.02),
    ("HingeGAN, CelebA", "vanilla", PLAIN): (6.66,),
    ("HingeGAN, CelebA", "paper", "drs"): (5.98,),
    ("StyleGAN2, FFHQ", "vanilla", PLAIN): (14.07, 0.72, 0.27),
    ("StyleGAN2, FFHQ", "GOLD", PLAIN): (15.53, 0.69, 0.29),
    ("StyleGAN2, FFHQ", "paper", "drs"): (11.89, 0.69, 0.30),
}


def _named(numbers: tuple[float, ...]) -> Row:
    keys = ("fid", "inception_score") if len(numbers) == 2 else ("fid", "precision", "recall")
    return dict(zip(keys, numbers, strict=False))


PUBLISHED = {
    **{
        (case, *which): _named(numbers)
        for case, of in _TABLE_2.items()
        for which, numbers in zip(_ROWS, of, strict=True)
    },
    **{where: _named(numbers) for where, numbers in _TABLES_3_AND_4.items()},
}


def row(values: Mapping[str, Any], kind: str) -> Row:
    """Reads the metrics of a kind of samples."""
    metrics, _ = by_kind(values, kind)
    return {column.key: metrics.get(column.key) for column in COLUMNS}


COLUMNS = (
    Column("FID ↓", "fid", ".2f"),
    Column("IS ↑", "inception_score", ".2f"),
    Column("precision ↑", "precision", ".2f"),
    Column("recall ↑", "recall", ".2f"),
)

CLAIM = Claim(
    name="real_images",
    title="On real images Dia has the best FID, and more recall for a little precision",
    source="Lee et al. 2021, tables 2, 3 and 4",
    measured="FID, Inception score, precision and recall with the networks and steps of the paper.",
    failure="The FID of Dia's corrected samples is not the lowest of a case.",
    columns=COLUMNS,
    scales={"full": Scale("cifar10_sngan", CASES, METHODS, 1, 2e6, PUBLISHED)},
    row=row,
)
