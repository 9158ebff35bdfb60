"""Nobody is harmed where G is healthy: digits that it learns without help."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image
from sklearn.datasets import load_digits

from benchmarks.claims.declared import PLAIN, Claim, Scale, Settings
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
    for number, (image, label) in enumerate(zip(digits.images, digits.target, strict=True)):
        path = target / "train" / str(label) / f"{number:04d}.png"
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray((image / 16 * 255).round().astype(np.uint8)).save(path)
    return target


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
    columns=GROUPS,
    scales={"small": Scale("colored_digits", CASES, OURS, 4, 120)},
    row=groups_row,
    compared=("vanilla", PLAIN),
    won=won,
    data=write_digits,
    quick=QUICK,
)
