from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from gan_registry.config.load import validate_config
from gan_registry.datasets.arrays_file import read_arrays
from gan_registry.datasets.base import ArrayDataset
from gan_registry.datasets.celeba import build_celeba
from gan_registry.datasets.colored_digits import build_colored_digits
from gan_registry.datasets.holdout import hold_out
from gan_registry.datasets.image_folder import build_image_folder
from gan_registry.datasets.imbalance import thin
from gan_registry.datasets.opening import open_images


def picture(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("L", (8, 8)).save(path)


def config(**data):
    return validate_config({"DATA": {"img_size": 8, **data}}, "the test")


def test_images_are_called_by_their_path_in_the_data_folder(tmp_path: Path) -> None:
    for name in ("train/cat/b.png", "train/cat/a.png", "train/dog/c d.png", "valid/cat/z.png"):
        picture(tmp_path / name)
    dataset = build_image_folder(config(name="image_folder"), tmp_path)
    assert dataset.sample_names([2, 0]) == ["train/dog/c d.png", "train/cat/a.png"]
    for name in dataset.sample_names(range(3)):
        assert (tmp_path / name).is_file()
    validation = config(name="image_folder", options={"split": "valid"})
    assert build_image_folder(validation, tmp_path).sample_names([0]) == ["valid/cat/z.png"]
    assert open_images(tmp_path).sample_names([0]) == ["train/cat/a.png"]


def test_without_folders_of_splits_paths_begin_with_the_class(tmp_path: Path) -> None:
    picture(tmp_path / "cat" / "a.png")
    dataset = build_image_folder(config(name="image_folder"), tmp_path)
    assert dataset.sample_names([0]) == ["cat/a.png"]


def test_celeba_names_the_folder_of_its_images(tmp_path: Path) -> None:
    root = tmp_path / "celeba"
    picture(root / "img_align_celeba" / "000001.jpg")
    (root / "list_attr_celeba.txt").write_text("1\nBald\n000001.jpg -1\n")
    celeba = config(name="CelebA", options={"split": "all"})
    (name,) = build_celeba(celeba, tmp_path).sample_names([0])
    assert name == "celeba/img_align_celeba/000001.jpg"
    assert (tmp_path / name).is_file()


def test_arrays_are_called_by_their_row(tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", np.zeros((5, 2), np.float32))
    assert read_arrays(tmp_path / "x.npy").sample_names(np.array([4, 0])) == ["row 4", "row 0"]
    with pytest.raises(IndexError, match=r"\[0, 5\)"):
        read_arrays(tmp_path / "x.npy").sample_names([5])


def test_what_is_left_keeps_the_names_it_had() -> None:
    groups = np.arange(40) % 2
    whole = ArrayDataset(
        "test", np.zeros((40, 2), np.float32), groups, num_classes=2, groups=groups,
        group_names=("even", "odd"),
    )  # fmt: skip
    thinned = thin(whole, {"odd": 0.2})
    rows = [f"row {row}" for row in thinned.indices]
    assert thinned.sample_names(range(len(thinned))) == rows
    assert rows != [f"row {row}" for row in range(len(thinned))]
    left, held = hold_out(thinned, 0.2, seed=0)
    names = [part.sample_names(range(len(part))) for part in (left, held)]
    assert sorted(names[0] + names[1]) == sorted(rows)


def test_chosen_digits_keep_their_row() -> None:
    chosen = config(name="colored_digits", options={"digits": [3]})
    dataset = build_colored_digits(chosen, None)
    every = build_colored_digits(config(name="colored_digits"), None)
    assert every.sample_names([7]) == ["row 7"]
    assert every.labels is not None
    rows = np.flatnonzero(every.labels == 3)
    assert dataset.sample_names(range(3)) == [f"row {row}" for row in rows[:3]]
