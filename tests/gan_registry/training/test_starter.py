"""A first configuration for somebody's own images: what it says of them, and that it trains."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from small_runs import manager

from gan_registry.cli.main import main
from gan_registry.config.load import load_config
from gan_registry.errors import UserError
from gan_registry.training import starter as module
from gan_registry.training.cost import Cost
from gan_registry.training.starter import Starter, look_at, starter

RNG = np.random.default_rng(0)


def images(
    folder: Path, count: int, side: int = 10, colour: bool = False, ext: str = "png"
) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(count):
        pixels = RNG.integers(0, 256, (side, side + 2, 3), dtype=np.uint8)
        pixels = pixels if colour else pixels[..., 0]
        Image.fromarray(pixels).save(folder / f"{number}.{ext}")


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Lets a step take a millisecond a pixel of the side; returns the sizes that were tried."""
    tried: list[int] = []

    def measure(run: Any) -> Cost:
        tried.append(run.config.DATA.img_size)
        return Cost(0.001 * tried[-1], 0.0)

    monkeypatch.setattr(module, "measure", measure)
    return tried


def made(path: Path) -> Starter:
    return starter(path, manager(), "cpu")


def test_the_config_for_a_folder_of_classes_trains(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    images(tmp_path / "my cats" / "a", 30)
    images(tmp_path / "my cats" / "b", 10)
    assert main(["init", "--data", "my cats", "--device", "cpu"]) == 0
    out = capsys.readouterr().out.splitlines()
    assert out[0] == "found   40 images, about 10 px, grey, 2 classes"
    assert re.match(r"wrote   my_cats.yaml: dcgan at 8 px, 1,000 steps: about .* on cpu", out[1])
    assert out[2] == "next    gan-registry train --config my_cats.yaml"
    text = Path("my_cats.yaml").read_text(encoding="utf-8")
    assert "# Classes: a (30), b (10)." in text
    train = ["train", "--config", "my_cats.yaml", "--steps", "2", "--num-eval", "20", "--quiet"]
    monkeypatch.chdir(tmp_path.parent)  # the folder is found from anywhere
    train[2] = str(tmp_path / "my_cats.yaml")
    assert main([*train, "--device", "cpu", "--out", str(tmp_path / "run")]) == 0
    assert "in the data" not in capsys.readouterr().err
    assert (tmp_path / "run" / "report.html").is_file()


@pytest.mark.parametrize(
    ("side", "size"), [(5, 8), (8, 8), (10, 8), (27, 16), (28, 28), (33, 32), (300, 32)]
)
def test_the_size_fits_the_images_and_the_machine(
    side: int, size: int, tmp_path: Path, quick: list[int]
) -> None:
    images(tmp_path, 3, side)
    assert f"img_size: {size}  #" in made(tmp_path).text
    assert quick == [size]


def test_smaller_networks_are_taken_where_large_ones_take_too_long(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    images(tmp_path, 64, 40)
    seconds = {32: 9.0, 28: 3.0, 16: 0.1, 8: 0.01}
    monkeypatch.setattr(module, "measure", lambda run: Cost(seconds[run.config.DATA.img_size], 0.0))
    text = made(tmp_path).text
    assert "img_size: 16" in text
    assert "total_steps: 1000" in text  # 500 epochs are fewer


@pytest.mark.parametrize(
    ("seconds", "count", "steps"),
    [(0.01, 64_000, 20_000), (0.1, 64_000, 18_000), (0.11, 64_000, 16_000), (1e-4, 320, 2_500)],
)
def test_the_length_fits_the_time_and_the_data(seconds: float, count: int, steps: int) -> None:
    found = module.Found(Path("x"), "image_folder", count, 8, 1, {}, {}, True)
    assert module._steps(found, Cost(seconds, 0.0)) == steps


def test_colour_is_told_by_the_pixels_also_of_grey_jpegs(tmp_path: Path) -> None:
    images(tmp_path / "colour", 3, colour=True)
    images(tmp_path / "grey", 3, ext="jpg")
    for path in (tmp_path / "grey").iterdir():
        Image.open(path).convert("RGB").save(path)
    assert look_at(tmp_path / "colour").channels == 3
    assert look_at(tmp_path / "grey").options["channels"][0] == 1
    Image.new("RGB", (9, 9), "red").save(tmp_path / "grey" / "one.png")
    assert look_at(tmp_path / "grey").channels == 3


def test_what_the_folder_needs_is_set(tmp_path: Path, quick: list[int]) -> None:
    images(tmp_path / "train" / "a", 3, colour=True)
    images(tmp_path / "train", 2, colour=True)
    (tmp_path / "train" / "broken.png").write_bytes(b"no image")
    config = tmp_path / "c.yaml"
    with pytest.warns(UserWarning, match="broken"):
        config.write_text(made(tmp_path).text)
    options = load_config(str(config)).DATA.options
    assert options == {"labels": "none", "skip_corrupt": True}
    assert load_config(str(config)).OPTIMIZATION.batch_size == 4


@pytest.mark.parametrize("shape", [(50, 16, 16), (50, 16, 16, 3), (50, 3)])
def test_a_file_of_images_or_points(shape: tuple[int, ...], tmp_path: Path) -> None:
    kind = np.float32 if len(shape) == 2 else np.uint8
    x = (255 * RNG.random(shape)).astype(kind)
    np.savez(tmp_path / "x.npz", x=x, y=np.arange(50) % 2)
    starter_config = made(tmp_path / "x.npz")
    assert "50 points, of 3 numbers" in starter_config.text or "about 16 px" in starter_config.text
    assert "# Classes: 0 (25), 1 (25)." in starter_config.text
    config = tmp_path / "c.yaml"
    config.write_text(starter_config.text)
    assert main(["train", "--config", str(config), "--steps", "1", "--num-eval", "20", "--quiet",
                 "--device", "cpu", "--out", str(tmp_path / "run")]) == 0  # fmt: skip


def test_a_gpu_is_given_residual_networks() -> None:
    found = module.Found(Path("x"), "image_folder", 9, 100, 3, {}, {}, True)
    assert module._candidates(found, "cuda")[:2] == [("sngan", 64), ("sngan", 32)]
    assert module._candidates(found, "cpu")[0] == ("dcgan", 32)
    for backbone, size in module._candidates(found, "cuda"):
        assert f"backbone: {backbone} " in module._text(found, backbone, size, 1000, "")


def empty(folder: Path) -> Path:
    folder.mkdir()
    return folder


def broken(folder: Path) -> Path:
    (empty(folder) / "x.png").write_bytes(b"no image")
    return folder


def beside(folder: Path) -> Path:
    np.save(empty(folder) / "x.npy", np.zeros((3, 8, 8), np.uint8))
    return folder


def file_of(folder: Path, *shape: int) -> Path:
    np.save(empty(folder) / "x.npy", np.zeros(shape, np.uint8))
    return folder / "x.npy"


def alone(folder: Path) -> Path:
    images(folder, 1)
    return folder


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda folder: folder, "does not exist"),
        (empty, "There is no image in"),
        (broken, "None of the images in .* can be read, e.g. x.png"),
        (beside, "it has x.npy: give that file"),
        (lambda folder: file_of(folder, 3, 9, 9), "9×9 px; no backbone here takes these"),
        (lambda folder: file_of(folder, 3, 8, 16), "16×8 px; no backbone here takes these"),
        (lambda folder: empty(folder) / "x.npz", "x.npz"),
        (alone, "holds 1 sample"),
    ],
)
def test_a_wrong_folder_is_one_line(
    make: Any, says: str, tmp_path: Path, capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    path = make(tmp_path / "data")
    assert main(["init", "--data", str(path), "--out", "c.yaml"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert re.search(says, line)
    assert not Path("c.yaml").exists()


def test_nothing_is_written_over(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "c.yaml").write_text("mine")
    out = ["--out", str(tmp_path / "c.yaml")]
    assert main(["init", "--data", str(tmp_path), *out]) == 2
    assert "is there already" in capsys.readouterr().err
    assert (tmp_path / "c.yaml").read_text() == "mine"
    assert main(["init", "--data", str(tmp_path), "--out", str(tmp_path / "c.txt")]) == 2
    assert "must end in .yaml" in capsys.readouterr().err


def test_a_name_that_yaml_cannot_hold_is_refused(tmp_path: Path) -> None:
    folder = Path(os.fsdecode(os.fsencode(tmp_path) + b"/\xe9"))
    try:
        images(folder, 3)
    except OSError:
        pytest.skip("this file system takes no such name")
    with pytest.raises(UserError, match="no UTF-8"):
        made(folder)


@pytest.mark.parametrize("given", ["image_folder", "arrays_file", "."])
def test_whoever_takes_data_for_a_config_is_led_to_init(
    given: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["train", "--config", given]) == 2
    assert "'gan-registry init --data FOLDER' writes one" in capsys.readouterr().err
