"""Claim 5: what has the highest scores is what the generator makes worst."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from benchmarks.claims.declared import Claim, Column, Method, Part, Row, Rows, Scale, Settings
from benchmarks.claims.methods import QUICK
from diagan_plugin.report import DIAGNOSIS_FILE
from diagan_plugin.report.diagnosis import Diagnosis
from gan_registry.evaluation.sources import PlainSource, collect
from gan_registry.features.base import FeatureContext
from gan_registry.features.choose import extractor_for
from gan_registry.features.store import BATCH, extract, real_features
from gan_registry.files import cache_folder
from gan_registry.metrics.partial_fid import partial_fid_of_extremes
from gan_registry.training.run import Run

SHARES = (0.1, 0.2)


def measure(run: Run, result: dict[str, Any]) -> dict[str, Any]:
    """Measures the FID of the training samples of lowest and of highest score."""
    assert run.folder is not None
    score = Diagnosis.load(run.folder / DIAGNOSIS_FILE).score
    context = FeatureContext(run.dataset, run.device, cache_folder())
    extractor = extractor_for(run.config.RUN.eval_features, run.plugins.catalogs, context)
    real = real_features(extractor, run.dataset, cache=cache_folder(), device=run.device)
    samples = collect(PlainSource(run), run.config.RUN.num_eval)
    parts = [samples[start : start + BATCH] for start in range(0, len(samples), BATCH)]
    fake = torch.cat([extract(extractor, part.to(run.device)).features for part in parts])
    values: dict[str, Any] = {"fid": result["metrics"].get("fid")}
    for share in SHARES:
        found = partial_fid_of_extremes(real.features, fake, score, share)
        values[_kind(share)] = {"lowest": found.lowest, "highest": found.highest}
    return values


def _kind(share: float) -> str:
    return f"{share:.0%} at each end"


def row(values: Mapping[str, Any], kind: str) -> Row:
    """Reads the two distances, and how many times as large the second is."""
    found = values[kind]
    return {**found, "ratio": found["highest"] / found["lowest"], "fid": values["fid"]}


def verdict(rows: Rows) -> list[Part]:
    """Counts the seeds in which the highest scores are made worst."""
    parts = []
    for (case, _, kind), by_seed in rows.items():
        worse = [(row["ratio"] or 0.0) > 1 for row in by_seed.values()]
        text = f"{case}, {kind}: the highest scores' partial FID is above the lowest's in"
        parts.append(Part(all(worse), f"{text} {sum(worse)} of {len(worse)} seeds"))
    return parts


CASES: dict[str, Settings] = {
    "coloured digits, 95 %": {},
    "CIFAR-10 images": {
        "CONFIG": "cifar10_sngan_small", "FOLDER": "cifar10", "DATA.name": "image_folder",
        "DATA.options": {"split": "train"},
    },
}  # fmt: skip

CLAIM = Claim(
    name="score_extremes",
    title="What has the highest scores is what the generator makes worst",
    source="Lee et al. 2021, section 4.2 (CIFAR-10: 94.64 against 22.43)",
    measured=(
        "FID of the tenth, and of the fifth, of the training samples that has the lowest and the "
        "highest scores, against all generated samples, under uniform sampling. The paper does not "
        "say how large its groups are."
    ),
    failure="The highest scores' partial FID is not above the lowest's in every seed.",
    columns=(
        Column("lowest scores", "lowest", ".3g"),
        Column("highest scores", "highest", ".3g"),
        Column("highest / lowest ↑", "ratio", ".2f"),
        Column("FID of all", "fid", ".3g"),
    ),
    scales={
        "small": Scale(
            "colored_digits",
            CASES,
            {"vanilla": Method({"PLUGINS.dia.diagnose": True}, None, tuple(map(_kind, SHARES)))},
            4,
            240,
        )
    },
    row=row,
    measure=measure,
    verdict=verdict,
    quick={**QUICK, "OPTIMIZATION.total_steps": 8, "PLUGINS.dia.record_every": 2},
)
