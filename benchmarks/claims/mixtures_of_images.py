"""Tang (2020), tables I and II: more generators on CIFAR-10."""

from __future__ import annotations

from benchmarks.claims.declared import PLAIN, Claim, Column, Method, Row, Scale
from benchmarks.claims.real_images import row

_TABLE_1 = {1: (9.61, 4.57), 2: (9.83, 4.46), 5: (9.98, 3.95), 10: (10.21, 3.60)}


def _name(count: int) -> str:
    return f"{count} G, {count} D"


METHODS = {
    _name(count): Method(
        {"PLUGINS.mix_gan.generators": count, "PLUGINS.mix_gan.discriminators": count}
    )
    for count in _TABLE_1
}
PUBLISHED: dict[tuple[str, str, str], Row] = {
    ("", _name(count), PLAIN): {"inception_score": score, "fid": fid}
    for count, (score, fid) in _TABLE_1.items()
}

CLAIM = Claim(
    name="mixtures_of_images",
    title="More generators and discriminators make better images of CIFAR-10",
    source="Tang 2020, table I",
    measured="Inception score and FID to the training set with the paper's networks and steps.",
    failure="FID does not fall with the number of generators.",
    columns=(
        Column("IS ↑", "inception_score", ".2f"),
        Column("FID ↓", "fid", ".2f"),
    ),
    scales={
        "full": Scale(
            "cifar10_mixgan",
            {"": {"FOLDER": "cifar10", "RUN.eval_metrics": ["fid", "inception_score"]}},
            METHODS,
            1,
            2e6,
            PUBLISHED,
        )
    },
    row=row,
    elsewhere=(
        "table I's FID to the test set (6.66, 6.23, 5.78, 5.52), and table II's MIX-BigGAN without "
        "labels (10 G, 10 D: IS 9.67, FID 8.17 to the training and 10.26 to the test set), for "
        "which there is no packaged configuration; the other rows of both are quoted from others."
    ),
)
