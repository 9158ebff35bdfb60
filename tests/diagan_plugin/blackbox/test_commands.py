from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from small_runs import fit, points_config
from torch import nn

from diagan_plugin.blackbox.generators import Samples, ScriptGenerator, open_generator
from diagan_plugin.blackbox.latent_sampler import CalibratedLatents
from diagan_plugin.cli import main
from gan_registry.errors import UserError

FEW = ["--features", "raw", "--num", "600", "--anchors", "50"]


def run(*arguments) -> int:
    return main([str(word) for word in arguments])


def refused(capsys, *arguments) -> str:
    try:
        code: object = run(*arguments)
    except SystemExit as end:  # argparse's own
        code = end.code
    assert code == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1, error
    return error


# ------------------------------------------------------------------- generators


class Custom(nn.Module):
    def __init__(self, kind: str, z_dim: int = 3) -> None:
        super().__init__()
        self.z_dim = z_dim
        self.kind = kind
        self.weight = nn.Parameter(torch.ones(z_dim, 4))

    def forward(self, z: torch.Tensor) -> torch.Tensor:
        x = torch.sigmoid(z @ self.weight).reshape(-1, 1, 2, 2)
        if self.kind == "bytes":
            return (x * 255.0).to(torch.uint8)
        if self.kind == "nan":
            return x / 0.0 - x / 0.0
        if self.kind == "large":
            return x * 300.0
        if self.kind == "points":
            return x.flatten(1)
        if self.kind == "video":
            return x.reshape(-1, 1, 1, 2, 2)
        if self.kind == "one":
            return x[:1]
        if self.kind == "noise":
            return x * 0.0 + torch.rand(x.shape[0], 1, 2, 2)
        return x


@pytest.mark.parametrize("kind", ["unit", "bytes"])
def test_images_are_brought_to_one_range(to_script, kind):
    generator = ScriptGenerator(to_script(Custom(kind)))
    z = torch.tensor([[-9.0] * 3, [0.0] * 3, [9.0] * 3])
    samples = Samples(generator, z)
    assert samples.kind == "image"
    x, _ = samples.__getitems__([0, 1, 2])
    assert x[:, 0, 0, 0].tolist() == pytest.approx([-1.0, 0.0, 1.0], abs=0.01)
    assert generator.z_dim == 3


def test_points_stay_as_they_are_and_noise_repeats(to_script):
    generator = ScriptGenerator(to_script(Custom("points")))
    samples = Samples(generator, torch.zeros(2, 3))
    assert samples.kind == "points"
    assert samples.__getitems__([1])[0].tolist() == [[0.5] * 4]
    noisy = ScriptGenerator(to_script(Custom("noise")))
    state = torch.get_rng_state()
    assert torch.equal(noisy(torch.zeros(2, 3)), noisy(torch.zeros(2, 3)))
    assert torch.equal(state, torch.get_rng_state())


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("nan", "not finite"),
        ("large", "values from"),
        ("video", "neither images"),
        ("one", "must return"),
    ],
)
def test_refuses_generators(capsys, to_script, kind, message):
    path = to_script(Custom(kind))
    assert message in refused(capsys, "diagnose", "--generator", path, *FEW)


def test_refuses_what_is_no_generator(capsys, tmp_path, planted, to_script):
    pickled = tmp_path / "pickled.pt"
    torch.save({"x": torch.zeros(1)}, pickled)
    assert "torch.jit.save" in refused(capsys, "diagnose", "--generator", pickled, *FEW)
    missing = tmp_path / "missing.pt"
    assert "missing.pt" in refused(capsys, "diagnose", "--generator", missing, *FEW)
    assert "--z-dim 7" in refused(capsys, "diagnose", "--generator", planted, "--z-dim", 7, *FEW)
    silent = to_script(nn.Linear(3, 4))
    assert "add --z-dim" in refused(capsys, "diagnose", "--generator", silent, *FEW)
    assert open_generator(silent, 3).z_dim == 3
    refused(capsys, "diagnose", "--generator", tmp_path, *FEW)  # a folder, but no run


@pytest.mark.parametrize("prior", ["gaussian", "uniform"])
def test_a_run_folder_is_a_generator(capsys, tmp_path, prior):
    run_ = fit(points_config(MODEL__z_prior=prior), tmp_path / "run")
    capsys.readouterr()
    generator = open_generator(tmp_path / "run")
    assert (generator.z_dim, generator.prior) == (2, prior)
    z = torch.tensor([[0.5, -0.5]])
    with torch.no_grad():
        want = run_.sampling_generator.eval()(z)
    assert torch.allclose(generator(z), want, atol=1e-6)
    assert run("diagnose", "--generator", tmp_path / "run", *FEW, "--json") == 0
    assert "--z-dim" in refused(
        capsys, "diagnose", "--generator", tmp_path / "run", *FEW, "--z-dim", "2"
    )


# ------------------------------------------------------------------- diagnose


def test_diagnose_generator_writes_and_prints(capsys, tmp_path, planted):
    out = tmp_path / "report"
    arguments = ("diagnose", "--generator", planted, *FEW, "--modes", "2", "--out", out)
    assert run(*arguments) == 0
    printed = capsys.readouterr().out
    assert "MCCS  mean" in printed
    assert (out / "mode1.png").is_file()
    page = (out / "report.html").read_text(encoding="utf-8")
    assert "Mode 1 and its nearest neighbours" in page
    kept = json.loads((out / "diagnosis.json").read_text(encoding="utf-8"))
    assert run(*arguments, "--json") == 0
    again = json.loads(capsys.readouterr().out)
    assert again["mccs_mean"] == kept["mccs_mean"]
    assert len(kept["modes"][0]["neighbor_indices"]) == 12


def test_diagnose_samples_of_a_folder_file(capsys, tmp_path, planted):
    generator = ScriptGenerator(planted)
    x = generator(torch.randn(1100, 4, generator=torch.Generator().manual_seed(0))).numpy()
    path = tmp_path / "x.npz"
    np.savez(path, x=x)
    assert run("diagnose", "--samples", path, "--features", "raw", "--json", "--modes", "1") == 0
    found = json.loads(capsys.readouterr().out)
    assert found["num_anchors"] == found["num_samples"] == 550
    out = tmp_path / "out"
    flags = ("--features", "raw", "--anchors", "20", "--center", "--out", out, "--quiet")
    assert run("diagnose", "--samples", path, *flags) == 0
    kept = json.loads((out / "diagnosis.json").read_text(encoding="utf-8"))
    assert kept["num_samples"] == 1080
    # Places in the file; no anchor is a sample.
    mode = kept["modes"][0]
    assert mode["anchor_index"] not in mode["neighbor_indices"]
    picture = x[[mode["anchor_index"], mode["neighbor_indices"][0]]].reshape(2, -1)
    assert np.corrcoef(picture)[0, 1] > 0.5


def test_points_need_no_pictures(tmp_path):
    path = tmp_path / "p.npy"
    np.save(path, np.random.default_rng(0).normal(size=(300, 5)).astype(np.float32))
    flags = ("--theta", "0.2", "--radius", "0.1", "--quiet", "--out", tmp_path / "out")
    assert run("diagnose", "--samples", path, *flags) == 0
    assert not (tmp_path / "out" / "mode1.png").exists()


def test_refuses_samples(capsys, tmp_path):
    assert "no image" in refused(capsys, "diagnose", "--samples", tmp_path)
    path = tmp_path / "p.npy"
    np.save(path, np.zeros((38, 3), np.float32))
    assert "at least 20 (half of --samples)" in refused(capsys, "diagnose", "--samples", path)
    np.save(path, np.zeros((40, 3), np.float32))
    more = refused(capsys, "diagnose", "--samples", path, "--anchors", "30", "--num", "20")
    assert "40 samples" in more
    np.save(path, np.full((2000, 3), np.nan, np.float32))
    assert "NaN" in refused(capsys, "diagnose", "--samples", path)
    np.save(path, np.array([{}], object), allow_pickle=True)
    assert "Cannot read" in refused(capsys, "diagnose", "--samples", path)


@pytest.fixture
def no_inception(monkeypatch):
    def missing(context):
        raise UserError("The features 'inception' need a file.")

    monkeypatch.setattr("gan_registry.features.inception.Inception", missing)


def test_forty_images_without_inception(capsys, recwarn, tmp_path, no_inception):
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (40, 3, 8, 8), np.uint8)
    np.save(tmp_path / "x.npy", images)
    words = ("diagnose", "--samples", tmp_path / "x.npy", "--json")
    assert run(*words) == 0
    captured = capsys.readouterr()
    found = json.loads(captured.out)
    assert (found["features"], found["centered"]) == ("raw", True)
    said = captured.err + "".join(str(warning.message) for warning in recwarn)
    assert "need a file" in said
    assert not any(mode["share_interval"][0] > 0.6 for mode in found["modes"])
    images[:30] = images[0]  # most are one image
    np.save(tmp_path / "x.npy", images)
    assert run(*words) == 0
    collapsed = json.loads(capsys.readouterr().out)
    assert collapsed["modes"][0]["share"] > 0.5
    assert collapsed["mccs_mean"] > found["mccs_mean"] + 0.1


def test_calibrating_without_inception(capsys, recwarn, tmp_path, planted, no_inception):
    words = ("calibrate", "--generator", planted, *FEW[2:], "--hull-dimensions", "2", "--json")
    assert run(*words, "--out", tmp_path / "s.safetensors") == 0
    assert json.loads(capsys.readouterr().out)["features"] == "raw"


@pytest.mark.parametrize(
    "flags",
    [
        ("--theta", "0"),
        ("--radius", "1.5"),
        ("--modes", "0"),
        ("--seed", "-1"),
        ("--num", "0"),
        ("--anchors", "5"),
        ("--features", "nonsense"),
        ("--img-size", "8"),
        ("--samples", "x"),
    ],
)
def test_refuses_flags(capsys, planted, flags):
    error = refused(capsys, "diagnose", "--generator", planted, *FEW, *flags)
    assert flags[1].lstrip("-") in error or flags[0] in error


# ------------------------------------------------------------------- calibrate


@pytest.mark.parametrize("method", ["mixture", "hull"])
def test_calibrate_writes_a_sampler_that_is_used(capsys, tmp_path, planted, method):
    out, images = tmp_path / "s.safetensors", tmp_path / "images.npz"
    flags = (*FEW, "--num", "1500", "--modes", "2", "--method", method)
    flags += ("--hull-dimensions", "2") if method == "hull" else ("--weights", "least")
    assert run("calibrate", "--generator", planted, *flags, "--out", out,
               "--samples-out", images, "--draw", "30") == 0  # fmt: skip
    assert "MCCS before" in capsys.readouterr().out
    content = json.loads(out.with_suffix(".json").read_text(encoding="utf-8"))
    first = content["modes"][0]
    assert first["after"]["mccs"] < first["before"]["mccs"]
    latents = CalibratedLatents.load(out)
    assert latents.method == method
    x = np.load(images)["x"]
    want = ScriptGenerator(planted)(latents.sample(30, 0))
    np.testing.assert_allclose(x, want, atol=1e-6)

    folder = tmp_path / "pictures"
    use = ("calibrate", "--generator", planted, "--use", out)
    assert run(*use, "--draw", "3", "--samples-out", folder) == 0
    assert len(list(folder.glob("*.png"))) == 3


def test_refuses_calibrations(capsys, tmp_path, planted, to_script):
    start = ("calibrate", "--generator", planted, *FEW)
    assert "--out" in refused(capsys, *start)
    assert ".safetensors" in refused(capsys, *start, "--out", tmp_path / "s.pt")
    out = tmp_path / "s.safetensors"
    for wrong in ("0", "x", "5"):
        error = refused(capsys, *start, "--out", out, "--hull-dimensions", wrong)
        assert "--hull-dimensions" in error
    for method, flag, value in (
        ("hull", "--clusters", "5"), ("hull", "--weights", "least"),
        ("mixture", "--hull-dimensions", "2"),
    ):  # fmt: skip
        error = refused(capsys, *start, "--out", out, "--method", method, flag, value)
        assert f"{flag} has no meaning with --method {method}" in error
    assert "uniform" in refused(
        capsys, *start, "--out", out, "--method", "mixture", "--prior", "uniform"
    )
    assert "--use" in refused(capsys, *start, "--use", out)
    images = tmp_path / "x.npz"
    use = ("calibrate", "--generator", planted, "--use", out, "--samples-out", images)
    assert "There is no file" in refused(capsys, *use)
    assert "--draw says how many samples." in refused(capsys, *use, "--num", "5")
    assert "--method has no meaning with --use." in refused(capsys, *use, "--method", "mixture")
    assert "no meaning alone" in refused(capsys, *start, "--out", out, "--draw", "5")
    assert "--clusters" in refused(
        capsys, *start, "--out", out, "--method", "mixture", "--clusters", "601"
    )
    assert not out.exists()
    few = ("--features", "raw", "--num", "600", "--anchors", "50", "--clusters", "5")
    assert run("calibrate", "--generator", planted, *few, "--method", "mixture",
               "--out", out, "--quiet") == 0  # fmt: skip
    capsys.readouterr()
    other = to_script(Custom("unit", 3))
    error = refused(
        capsys, "calibrate", "--generator", other, "--z-dim", "3", "--use", out,
        "--samples-out", images,
    )  # fmt: skip
    assert "latents of 4 numbers" in error
