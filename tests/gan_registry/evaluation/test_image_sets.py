from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from gan_registry.cli.main import main
from gan_registry.metrics.frechet import fid


@pytest.fixture(autouse=True)
def cache(monkeypatch, tmp_path: Path) -> None:
    monkeypatch.setenv("GAN_REGISTRY_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("GAN_REGISTRY_DISABLE", "dia")  # the host alone


def pictures(seed: int, count: int = 40, size: int = 8, channels: int = 3) -> np.ndarray:
    shape = (count, size, size, channels)
    return np.random.default_rng(seed).integers(0, 256, shape).astype(np.uint8)


def write(folder: Path, images: np.ndarray) -> Path:
    folder.mkdir()
    for number, image in enumerate(images):
        Image.fromarray(image.squeeze()).save(folder / f"{number:03d}.png")
    return folder


def save(path: Path, **arrays: Any) -> Path:
    np.savez(path, **arrays)
    return path


@pytest.fixture
def call(capsys):
    def run(real: Path, fake: Path, *arguments: str) -> tuple[int, str, str]:
        capsys.readouterr()
        code = main(["evaluate", "--images", str(real), str(fake), *arguments])
        printed = capsys.readouterr()
        return code, printed.out, printed.err

    return run


@pytest.fixture
def measure(call):
    def run(real: Path, fake: Path, *arguments: str) -> dict[str, Any]:
        code, out, err = call(real, fake, "--json", *arguments)
        assert code == 0, err
        result: dict[str, Any] = json.loads(out)
        return result

    return run


@pytest.fixture
def refused(call):
    def run(real: Path, fake: Path, *arguments: str) -> str:
        code, _, err = call(real, fake, *arguments)
        assert code == 2, err
        assert len(err.splitlines()) == 1, err
        return err

    return run


def test_a_set_is_like_itself_and_like_the_same_in_another_form(measure, tmp_path: Path):
    images = pictures(0)
    folder, file = write(tmp_path / "a", images), save(tmp_path / "a.npz", x=images)
    np.save(tmp_path / "a.npy", images)
    for fake in (folder, file, tmp_path / "a.npy"):
        result = measure(folder, fake, "--features", "raw", "--metrics", "fid,precision,recall")
        assert result["metrics"]["fid"] == pytest.approx(0.0, abs=1e-6)
        assert result["metrics"]["precision"] == result["metrics"]["recall"] == 1.0
        assert (result["num_generated"], result["num_real"]) == (40, 40)


def test_numbers_are_those_of_the_pixels(call, measure, tmp_path: Path):
    real, fake = pictures(0, 50), pictures(1, 30) // 2
    paths = save(tmp_path / "real.npz", x=real), write(tmp_path / "fake", fake)
    result = measure(*paths, "--features", "raw", "--metrics", "fid")
    flat = [
        (images.transpose(0, 3, 1, 2) / 127.5 - 1).astype(np.float32).reshape(len(images), -1)
        for images in (real, fake)
    ]
    assert result["metrics"]["fid"] == pytest.approx(fid(*flat), rel=1e-5)
    assert result["metrics"]["fid"] == pytest.approx(
        measure(*reversed(paths), "--features", "raw", "--metrics", "fid")["metrics"]["fid"]
    )
    few = measure(*paths, "--features", "raw", "--num", "20", "--num-real", "25")
    assert (few["num_generated"], few["num_real"]) == (20, 25)
    assert few["eval_metrics"] == ["fid", "kid", "precision", "recall", "density", "coverage"]
    assert few["directions"]["recall"] == "up"
    code, out, err = call(*paths, "--features", "raw")
    assert code == 0
    assert "fid ↓" in out
    assert "(30 generated samples against 50 real ones, by the features raw)" in out
    assert "biased" in err


def test_labels_and_groups_of_files_count(measure, tmp_path: Path):
    x = pictures(0, 60)
    groups = np.arange(60) % 2
    x[groups == 1] //= 4  # dark ones
    names = np.array(["bright", "dark"])
    real = save(tmp_path / "real.npz", x=x, groups=groups, group_names=names)
    fake = save(
        tmp_path / "fake.npz", x=x[groups == 0], groups=np.zeros(30, int), group_names=names[:1]
    )
    result = measure(real, fake, "--metrics", "recall,partial_recall")
    assert result["features"]["name"] == "classifier"
    assert result["groups"]["dark"]["partial_recall"] < 0.05
    assert result["groups"]["bright"]["partial_recall"] == 1.0
    assert result["groups"]["bright"]["share_data"] == 0.5
    same = measure(real, real, "--features", "raw")
    assert same["eval_metrics"][-2:] == ["partial_recall", "group_precision"]
    assert same["groups"]["dark"]["precision"] == same["groups"]["dark"]["share_generated"] * 2


def test_points_are_measured_as_they_are(measure, tmp_path: Path):
    rng = np.random.default_rng(0)
    real, fake = rng.normal(size=(4000, 2)), rng.normal((3.0, 0.0), size=(4000, 2))
    result = measure(
        save(tmp_path / "a.npz", x=real), save(tmp_path / "b.npz", x=fake), "--metrics", "fid"
    )
    assert result["features"]["name"] == "raw"
    assert result["metrics"]["fid"] == pytest.approx(9.0, abs=0.5)


def test_images_without_labels_are_seen_by_inception_or_as_asked(refused, tmp_path, monkeypatch):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    monkeypatch.setattr(
        "gan_registry.features.weights.urllib.request.urlopen", lambda *_, **__: 1 / 0
    )
    monkeypatch.setitem(__import__("sys").modules, "pytorch_fid.inception", None)
    folder = write(tmp_path / "a", pictures(0))
    error = refused(folder, folder)
    assert "inception" in error
    assert "--features raw" in error


def test_sets_that_do_not_fit_say_how_to_mend_it(refused, measure, tmp_path: Path):
    colour = write(tmp_path / "colour", pictures(0))
    grey = write(tmp_path / "grey", pictures(1, channels=1))
    large = write(tmp_path / "large", pictures(2, size=12))
    points = save(tmp_path / "points.npz", x=np.zeros((9, 2)))
    assert "3 channels" in refused(colour, grey)
    assert "--channels 1 or 3" in refused(colour, grey)
    assert "--img-size N" in refused(colour, large)
    assert "cannot be compared" in refused(colour, points)
    options = ("--features", "raw", "--metrics", "kid")
    measure(colour, grey, *options, "--channels", "1")
    measure(colour, large, *options, "--img-size", "8")


def test_bad_input_is_named(refused, measure, tmp_path: Path):
    good = write(tmp_path / "good", pictures(0))
    bad = write(tmp_path / "bad", pictures(1))
    (bad / "007.png").write_bytes(b"no image")
    raw = ("--features", "raw", "--metrics", "kid")
    error = refused(good, bad, *raw)
    assert "007.png" in error
    assert "--skip-corrupt" in error
    assert "DATA." not in error
    assert measure(good, bad, *raw, "--skip-corrupt")["num_generated"] == 39
    (tmp_path / "empty").mkdir()
    assert "no image in" in refused(good, tmp_path / "empty")
    assert "not there" in refused(good, tmp_path / "nowhere")
    floats = pictures(0).astype(np.float32) / 255
    floats[3, 0, 0, 0] = np.nan
    assert "NaN or infinity in 1 of" in refused(good, save(tmp_path / "nan.npz", x=floats), *raw)
    few = write(tmp_path / "few", pictures(2, 3))
    assert "at least 4 generated samples" in refused(good, few, *raw[:2], "--metrics", "recall")
    one = write(tmp_path / "one", pictures(2, 1))
    assert "at least 2 generated samples" in refused(good, one, *raw[:2], "--metrics", "fid")
    mixed = write(tmp_path / "mixed", pictures(3))
    Image.fromarray(pictures(0, 1, 9)[0]).save(mixed / "999.png")
    assert "--img-size N" in refused(good, mixed, *raw)


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"x": np.float32(1.0)}, "a single number"),
        ({"x": np.zeros((5, 0, 8, 3), np.uint8)}, "holds no sample"),
        ({"x": np.zeros((5, 0))}, "holds no sample"),
        ({"x": pictures(0), "group_names": np.array("red")}, "must be a list of names"),
        (
            {"x": pictures(0), "groups": np.arange(40) % 2, "group_names": np.array(["a", "a"])},
            "must differ",
        ),
        ({"x": pictures(0), "y": np.full(40, 2**63 + 1, np.uint64)}, "no number of a class"),
    ],
)
def test_files_of_odd_arrays_are_refused(refused, tmp_path: Path, arrays, message: str):
    path = save(tmp_path / "odd.npz", **arrays)
    error = refused(path, path, "--features", "raw", "--metrics", "fid")
    assert str(path) in error
    assert message in error


def test_what_is_no_numpy_file_is_not_advised_to_be_unpickled(refused, tmp_path: Path):
    path = tmp_path / "junk.npz"
    path.write_bytes(b"PK is how a zip file begins")
    error = refused(path, path, "--features", "raw")
    assert f"Cannot read {path}" in error
    assert "allow_pickle" not in error


def test_an_unreadable_image_is_named_without_addresses_in_memory(refused, tmp_path: Path):
    bad = write(tmp_path / "bad", pictures(1))
    (bad / "007.png").write_bytes(b"no image")
    error = refused(bad, bad, "--features", "raw")
    assert "007.png cannot be read (no image of a known kind)" in error


def test_what_does_not_fit_into_memory_is_no_corrupt_image(refused, tmp_path: Path, monkeypatch):
    folder = write(tmp_path / "good", pictures(0))

    def resize(*_: object) -> None:
        raise MemoryError

    monkeypatch.setattr("gan_registry.datasets.decoding._to_square", resize)
    for flags in ((), ("--skip-corrupt",)):
        error = refused(folder, folder, "--features", "raw", "--img-size", "90000", *flags)
        assert "not enough memory for 90000×90000 px" in error


def test_flags_of_folders_are_refused_for_files(refused, measure, tmp_path: Path):
    file = save(tmp_path / "a.npz", x=pictures(0))
    raw = ("--features", "raw", "--metrics", "kid")
    for flags in (("--img-size", "16"), ("--channels", "1"), ("--skip-corrupt",)):
        assert "are of images in folders" in refused(file, file, *raw, *flags)
    large = write(tmp_path / "large", pictures(2, size=12))
    measure(large, file, *raw, "--img-size", "8")


def test_an_empty_name_of_features_is_a_mistake(refused, tmp_path: Path):
    file = save(tmp_path / "a.npz", x=pictures(0))
    assert "Unknown feature extractor ''" in refused(file, file, "--features", "")


@pytest.mark.parametrize("form", ["file", "folder"])
def test_a_changed_image_is_noticed_whichever_it_is(measure, tmp_path: Path, form: str):
    import torch

    class Pixels(torch.nn.Module):
        def forward(self, x):
            return x.flatten(1)

    network = tmp_path / "pixels.pt"
    torch.jit.trace(Pixels(), torch.zeros(2, 3, 2, 2)).save(str(network))
    arguments = ("--features", str(network), "--metrics", "fid")
    images = pictures(0, count=1500, size=2)
    keep = save if form == "file" else lambda path, x: write(path.with_suffix(""), x)
    real = keep(tmp_path / "real.npz", x=images)
    fake = save(tmp_path / "fake.npz", x=images)
    assert measure(real, fake, *arguments)["metrics"]["fid"] == pytest.approx(0.0, abs=1e-9)
    # All that the fingerprint, which samples 1,000 of them, doesn't look at.
    seen = np.arange(1000) * 1499 // 999
    unseen = np.setdiff1d(np.arange(1500), seen)
    images[unseen] = 0
    if form == "file":
        save(real, x=images)
    else:
        for number in unseen:
            Image.fromarray(images[number]).save(real / f"{number:03d}.png")
    assert measure(real, fake, *arguments)["metrics"]["fid"] > 0.1


def test_flags_of_runs_are_refused(refused, tmp_path: Path):
    good = write(tmp_path / "good", pictures(0))
    assert "--checkpoint has no meaning with --images" in refused(good, good, "--checkpoint", "5")
    assert "leaves nothing" in refused(good, good, "--metrics", "none")
    assert "group of each generated" in refused(
        save(tmp_path / "g.npz", x=pictures(0), groups=np.arange(40) % 2),
        good, "--metrics", "partial_fid", "--features", "raw",
    )  # fmt: skip
