"""The folders that trials are made on hold what they are said to."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from benchmarks.trials import RARE, make_digits


def test_the_folder_of_digits_has_a_rare_class_noise_and_wrong_labels(tmp_path: Path):
    make_digits(tmp_path / "digits")
    paths = sorted((tmp_path / "digits").rglob("*.png"))
    kinds = {
        kind: [p for p in paths if p.name.startswith(kind)] for kind in ("digit", "noise", "wrong")
    }
    assert {kind: len(found) for kind, found in kinds.items()} == {
        "digit": 1658, "noise": 15, "wrong": 10,
    }  # fmt: skip
    of_class = [p.parent.name for p in paths]
    assert 0.025 < of_class.count(RARE["digits"]) / len(paths) < 0.035
    assert {*of_class} == {*"0123456789"}
    with Image.open(kinds["digit"][0]) as image:
        assert (image.size, image.mode) == ((16, 16), "L")
        smooth = np.asarray(image, float)
    with Image.open(kinds["noise"][0]) as image:
        rough = np.asarray(image, float)
    assert np.corrcoef(smooth[:, 1:].ravel(), smooth[:, :-1].ravel())[0, 1] > 0.6
    assert abs(np.corrcoef(rough[:, 1:].ravel(), rough[:, :-1].ravel())[0, 1]) < 0.3
