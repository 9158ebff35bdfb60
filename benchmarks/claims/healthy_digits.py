"""Nobody is harmed where G is healthy: digits that it learns without help."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image
from sklearn.datasets import load_digits

from benchmarks.claims.declared import PLAIN, Claim, Part, Rows, Scale, Settings
from benchmarks.claims.findings import above, below, cases_of, deviation, number
from benchmarks.claims.methods import OURS, QUICK
from benchmarks.claims.pairs import won
from benchmarks.claims.rows import GROUPS, groups_row

CASES: dict[str, Settings] = {
    "balanced colours": {"DATA.options.ratio": 0.5},
    "one digit at 3 %": {
        "DATA.name": "image_folder", "DATA.img_size": 16, "DATA.options": {},
        "DATA.minority": {"7": 0.03}, "OPTIMIZATION.total_steps": 4000,
        "PLUGINS.dia.phase1": 0.75,
        # No rule tells a digit: a classifier does.
        "RUN.eval_metrics": [
            "fid", "precision", "recall", "partial_recall", "occurrence_classifier",
        ],
    },
}  # fmt: skip


def write_digits(folder: Path) -> Path:
    """Writes scikit-learn's 1,797 digits as PNGs, a folder a class; returns the folder."""
    target = folder / "digits"
    digits = load_digits()
    for index, (image, label) in enumerate(zip(digits.images, digits.target, strict=True)):
        path = target / "train" / str(label) / f"{index:04d}.png"
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray((image / 16 * 255).round().astype(np.uint8)).save(path)
    return target


def verdict(rows: Rows) -> list[Part]:
    """Holds each rule's samples against those without Dia, within the spread of these."""
    parts = []
    for case in cases_of(rows):
        for method, kind in (("paper", "drs"), ("feedback", PLAIN)):
            parts += _of_rule(rows, case, method, kind)
    return parts


def _of_rule(rows: Rows, case: str, method: str, kind: str) -> list[Part]:
    def both(key: str) -> tuple[float | None, float | None]:
        rule = number(rows, case, method, kind, key)
        return rule, number(rows, case, "vanilla", PLAIN, key)

    def noise(key: str) -> float:
        return number(rows, case, "vanilla", PLAIN, key, deviation) or 0.0

    name = f"{case}, `{method}`, {kind}"
    (share, share_0), truth = both("share"), both("truth")[1] or 0.0
    parts = [
        below(f"{name}: FID {{mine}} is no worse than {{other}} without Dia (± {noise('fid'):.2g})",
              *both("fid"), slack=noise("fid"))
    ]  # fmt: skip
    if share is not None and share_0 is not None:
        off = abs(share - truth) <= abs(share_0 - truth) + noise("share")
        parts.append(
            Part(
                off,
                f"{name}: the rare group's share, {share:.1%}, is as near to {truth:.1%} as "
                f"{share_0:.1%} (± {noise('share'):.1%})",
            )
        )
    for key, what in (("minor_recall", "rare group's"), ("major_recall", "other groups'")):
        text = f"{name}: the {what} recall, {{mine}}, is no worse than {{other}}"
        parts.append(above(f"{text} (± {noise(key):.2g})", *both(key), slack=noise(key)))
    return parts


CLAIM = Claim(
    name="healthy_digits",
    title="Where the generator is healthy, nothing gets worse",
    source="this project: what a default may not do",
    measured=(
        "The same as for the coloured digits, where half of them are green, and where the digits "
        "are grey, of 16 pixels, and one of ten classes is thinned to 3 % of the images."
    ),
    failure=(
        "The mean FID, or the share or the partial recall of a group, is worse than without Dia by "
        "more than the standard deviation over the seeds."
    ),
    explained=(
        "Where the colours are balanced next to nothing was missed in phase 1 (0.6 to 1.4 %), so "
        "that `feedback` weights nothing: its plain samples are those of the run without Dia, to "
        "the last digit. Of the digit at 3 % a little is missed, and the rule acts by a part of "
        "its strength. `paper` weights in any case, by what is noise there."
    ),
    columns=GROUPS,
    scales={"small": Scale("colored_digits", CASES, OURS, 4, 120)},
    row=groups_row,
    compared=("vanilla", PLAIN),
    won=won,
    verdict=verdict,
    data=write_digits,
    quick=QUICK,
)
