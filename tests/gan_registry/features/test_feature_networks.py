"""Extractors that are networks from files: pytorch-fid's, clean-fid's, and any TorchScript."""

from __future__ import annotations

import io
import warnings
from typing import ClassVar
from urllib.error import URLError

import numpy as np
import pytest
import torch
from small_runs import manager
from torch import nn

from gan_registry.backbones.base import seeded_weights
from gan_registry.datasets.base import ArrayDataset
from gan_registry.datasets.fetching import fetch
from gan_registry.errors import UserError
from gan_registry.features import clean, inception, weights
from gan_registry.features.base import FeatureContext
from gan_registry.features.choose import extractor_for
from gan_registry.features.clean import Clean, clean_resize
from gan_registry.features.image_network import unbiased_probabilities
from gan_registry.features.inception import Inception, fid_network
from gan_registry.features.samples import to_levels
from gan_registry.features.torchscript import TorchScript
from gan_registry.features.weights import WeightsFile, find_weights


def images(channels=3, size=8, count=6):
    x = np.random.default_rng(0).integers(0, 256, (count, channels, size, size), np.uint8)
    return ArrayDataset("made", x)


@pytest.fixture(autouse=True)
def no_other_places(tmp_path, monkeypatch):
    """Nothing is found outside the test's folder, and nothing comes from the network."""
    monkeypatch.setenv("GAN_REGISTRY_CACHE", str(tmp_path / "user"))
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))

    def refuse(url, timeout):
        if not url.startswith("file:"):
            raise URLError("no network in tests")
        return opened(url, timeout=timeout)

    opened = weights.urllib.request.urlopen
    monkeypatch.setattr(weights.urllib.request, "urlopen", refuse)


def save_script(module, path):
    path.parent.mkdir(parents=True, exist_ok=True)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.jit.save(torch.jit.script(module), str(path))
    return path


# Levels of a file.


def test_real_images_keep_their_bytes_and_generated_ones_are_rounded_and_clipped():
    data = np.arange(256, dtype=np.uint8).reshape(1, 1, 16, 16)
    x, _ = fetch(ArrayDataset("levels", data), np.array([0]))
    assert torch.equal(to_levels(x, (-1.0, 1.0)), torch.from_numpy(data).float())
    made = torch.tensor([-2.0, -0.999, 0.0, 0.5, 7.0])
    assert to_levels(made, (-1.0, 1.0)).tolist() == [0.0, 0.0, 128.0, 191.0, 255.0]
    assert to_levels(torch.tensor([0.2]), (0.0, 1.0)).tolist() == [51.0]


def test_probabilities_are_the_softmax_without_bias():
    rng = torch.Generator().manual_seed(0)
    features, weight = torch.randn(4, 3, generator=rng), torch.randn(5, 3, generator=rng)
    logits = np.einsum("bd,cd->bc", features.numpy(), weight.numpy())
    expected = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    np.testing.assert_allclose(unbiased_probabilities(features, weight), expected, rtol=1e-5)


# Files of weights.


def test_a_file_is_found_where_one_may_put_it(tmp_path):
    file = WeightsFile("network.pth", "https://example.invalid/network.pth")
    places = (tmp_path / "torch/hub/checkpoints", tmp_path / "user/weights", tmp_path / "c/weights")
    for folder in places:  # each goes before those above
        folder.mkdir(parents=True)
        (folder / file.name).touch()
        assert find_weights(file, "inception", tmp_path / "c") == folder / file.name


@pytest.mark.parametrize("cached", [True, False])
def test_a_missing_file_is_asked_for_with_url_and_folders(tmp_path, cached):
    file = WeightsFile("network.pth", "https://example.invalid/network.pth")
    cache = tmp_path / "c" if cached else None
    with pytest.raises(UserError) as caught:
        find_weights(file, "inception", cache)
    message = str(caught.value)
    assert "\n" not in message
    assert "'inception'" in message
    assert file.url in message
    assert str((cache or tmp_path / "user") / "weights") in message
    assert str(tmp_path / "torch/hub/checkpoints") in message
    assert ("no network in tests" in message) == cached
    assert not list(tmp_path.rglob("*.tmp"))


def test_a_download_is_kept_if_it_is_whole(tmp_path):
    source = tmp_path / "published"
    source.write_bytes(b"weights")
    digest = weights.sha256_of(source)
    good = WeightsFile("good.pth", source.as_uri(), digest[:8])
    path = find_weights(good, "inception", tmp_path / "c")
    assert path == tmp_path / "c/weights/good.pth"
    assert path.read_bytes() == b"weights"
    source.unlink()
    assert find_weights(good, "inception", tmp_path / "c") == path
    source.write_bytes(b"weight")
    bad = WeightsFile("bad.pth", source.as_uri(), digest[:8])
    with pytest.raises(UserError, match="the download failed: what came is damaged"):
        find_weights(bad, "inception", tmp_path / "c")
    assert [path.name for path in (tmp_path / "c/weights").iterdir()] == ["good.pth"]


def test_a_download_that_breaks_off_is_not_kept(tmp_path, monkeypatch):
    class Broken(io.BytesIO):
        headers: ClassVar = {"Content-Length": "1000"}

    monkeypatch.setattr(weights.urllib.request, "urlopen", lambda *_, **__: Broken(b"ten bytes."))
    file = WeightsFile("network.pt", "https://example.invalid/network.pt")
    with pytest.raises(UserError, match="the connection broke off after 10 of 1000 bytes"):
        find_weights(file, "clean", tmp_path / "c")
    assert not list((tmp_path / "c/weights").iterdir())


# pytorch-fid's network.


@pytest.fixture(scope="module")
def fid_weights(tmp_path_factory):
    """A cache with a file of random weights, under which signals neither vanish nor explode."""
    pytest.importorskip("pytorch_fid.inception")
    cache = tmp_path_factory.mktemp("cache")
    network = fid_network()
    with seeded_weights(1):
        for module in network.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight)
    (cache / "weights").mkdir()
    torch.save(network.state_dict(), cache / "weights" / inception.FILE.name)
    return cache


def test_inception_features_are_pytorch_fids(fid_weights, monkeypatch):
    from pytorch_fid import inception as theirs

    dataset = images(size=20)
    extractor = Inception(FeatureContext(dataset, cache=fid_weights))
    x, _ = fetch(dataset, np.arange(2))
    found = extractor(x)
    state = torch.load(fid_weights / "weights" / inception.FILE.name, weights_only=True)
    monkeypatch.setattr(theirs, "load_state_dict_from_url", lambda url, **_: state)
    with torch.no_grad(), seeded_weights(0):
        network = theirs.InceptionV3([3]).eval()
        expected = network(torch.from_numpy(dataset._x.numpy()[:2] / np.float32(255.0)))[0]
    torch.testing.assert_close(found.features, expected[:, :, 0, 0], rtol=1e-4, atol=1e-6)
    assert found.features.shape == (2, extractor.num_features) == (2, 2048)
    logits = found.features.double() @ state["fc.weight"].double().T
    torch.testing.assert_close(
        found.probabilities.double(), logits.softmax(1), rtol=1e-3, atol=1e-9
    )
    # What a file would hold: a generated value between two levels is rounded.
    torch.testing.assert_close(extractor(x[:1] + 0.003).features, found.features[:1])


def test_inception_takes_grey_images_and_none(fid_weights):
    dataset = images(channels=1, size=8)
    extractor = Inception(FeatureContext(dataset, cache=fid_weights))
    x, _ = fetch(dataset, np.arange(1))
    colour = Inception(FeatureContext(images(), cache=fid_weights))
    expected = colour(x.repeat(1, 3, 1, 1)).features
    torch.testing.assert_close(extractor(x).features, expected)
    empty = extractor(x[:0])
    assert empty.features.shape == (0, 2048)
    assert empty.probabilities.shape == (0, 1008)
    with pytest.raises(ValueError, match=r"\[B, 1, 8, 8\], but got \[1, 3, 8, 8\]"):
        extractor(x.repeat(1, 3, 1, 1))


def test_building_inception_leaves_the_global_random_state(fid_weights):
    before = torch.get_rng_state()
    fid_network()
    assert torch.equal(torch.get_rng_state(), before)


def test_damaged_weights_are_named(tmp_path):
    pytest.importorskip("pytorch_fid.inception")
    path = tmp_path / "weights" / inception.FILE.name
    path.parent.mkdir()
    for content in (b"", b"garbage"):
        path.write_bytes(content)
        with pytest.raises(UserError, match=f"{path.name} does not hold the weights .*https://"):
            Inception(FeatureContext(images(), cache=tmp_path))
    torch.save({"fc.weight": torch.zeros(2)}, path)
    with pytest.raises(UserError, match="does not hold the weights"):
        Inception(FeatureContext(images(), cache=tmp_path))


def test_without_pytorch_fid_the_extra_is_named(monkeypatch, tmp_path):
    monkeypatch.setitem(__import__("sys").modules, "pytorch_fid.inception", None)
    monkeypatch.setitem(__import__("sys").modules, "pytorch_fid", None)
    with pytest.raises(UserError, match=r"need pytorch-fid: pip install 'diagan-plugin\[metrics\]"):
        Inception(FeatureContext(images(), cache=tmp_path))


@pytest.mark.parametrize("make", [Inception, Clean])
def test_networks_of_images_refuse_points_and_two_channels(make, tmp_path):
    plane = ArrayDataset("plane", np.zeros((3, 2), np.float32))
    with pytest.raises(UserError, match=r"are of images, but .*'plane' .*\(2,\); .*'raw'"):
        make(FeatureContext(plane, cache=tmp_path))
    with pytest.raises(UserError, match="have 2"):
        make(FeatureContext(images(channels=2), cache=tmp_path))


# clean-fid's.


class Tiny(nn.Module):
    """Of the build of the published file: `layers`, then `output`."""

    def __init__(self):
        super().__init__()
        self.layers = nn.Sequential(nn.Conv2d(3, 4, 3, stride=50), nn.AdaptiveAvgPool2d(1))
        self.output = nn.Linear(4, 7)

    def forward(self, x):
        return self.output(self.layers(x).flatten(1))


@pytest.fixture
def clean_file(tmp_path):
    with seeded_weights(0):
        network = Tiny()
    save_script(network, tmp_path / "weights" / clean.FILE.name)
    return tmp_path, network


def pillow_resize(levels):
    """One channel at a time in floats, as clean-fid's `make_resizer("PIL", False, "bicubic")`."""
    from PIL import Image

    channels = [
        Image.fromarray(channel).resize((299, 299), Image.Resampling.BICUBIC)
        for channel in levels.numpy().reshape(-1, *levels.shape[2:])
    ]
    resized = np.stack([np.asarray(channel) for channel in channels]).clip(0, 255)
    return torch.from_numpy(resized).reshape(*levels.shape[:2], 299, 299)


@pytest.mark.parametrize("size", [(8, 8), (32, 32), (128, 96), (299, 299), (512, 400)])
def test_resizing_is_pillows(size):
    rng = np.random.default_rng(0)
    levels = torch.from_numpy(rng.integers(0, 256, (2, 3, *size)).astype(np.float32))
    resized = clean_resize(levels)
    torch.testing.assert_close(resized, pillow_resize(levels), rtol=0, atol=0.01)
    assert resized.min() >= 0
    assert resized.max() <= 255


@pytest.mark.filterwarnings("ignore")
def test_resizing_is_clean_fids():
    theirs = pytest.importorskip("cleanfid.resize").build_resizer("clean")
    levels = np.random.default_rng(0).integers(0, 256, (64, 48, 3)).astype(np.uint8)
    ours = clean_resize(torch.from_numpy(levels).permute(2, 0, 1)[None].float())[0]
    np.testing.assert_allclose(ours.permute(1, 2, 0), theirs(levels), rtol=0, atol=0.01)


def test_clean_features_are_of_resized_rounded_images(clean_file):
    cache, network = clean_file
    dataset = images()
    extractor = Clean(FeatureContext(dataset, cache=cache))
    x, _ = fetch(dataset, np.arange(6))
    found = extractor(x + 0.003)
    resized = pillow_resize(dataset._x.float())
    with torch.no_grad():
        expected = network.layers((resized - 128.0) / 128.0).flatten(1)
        logits = expected @ network.output.weight.T
    torch.testing.assert_close(found.features, expected, rtol=1e-3, atol=1e-4)
    torch.testing.assert_close(found.probabilities, logits.softmax(1), rtol=1e-3, atol=1e-4)
    assert extractor.num_features == 4
    assert extractor(x[:0]).features.shape == (0, 4)
    assert not found.features.requires_grad


def test_large_batches_are_split_without_a_trace(clean_file, monkeypatch):
    cache, _ = clean_file
    dataset = images()
    extractor = Clean(FeatureContext(dataset, cache=cache))
    x, _ = fetch(dataset, np.arange(6))
    whole = extractor(x)
    monkeypatch.setattr("gan_registry.features.image_network._BATCH", 4)
    for one, other in zip(whole, extractor(x), strict=True):
        torch.testing.assert_close(one, other)


def test_a_missing_clean_file_is_asked_for(tmp_path):
    with pytest.raises(UserError, match=r"need the file inception-2015-12-05\.pt.*put it into"):
        Clean(FeatureContext(images(), cache=tmp_path))


def test_another_network_under_that_name_is_refused(tmp_path):
    save_script(nn.Linear(2, 2), tmp_path / "weights" / clean.FILE.name)
    with pytest.raises(UserError, match="is not the network it is named after"):
        Clean(FeatureContext(images(), cache=tmp_path))
    (tmp_path / "weights" / clean.FILE.name).write_bytes(b"garbage")
    with pytest.raises(
        UserError, match=r"cannot be read as TorchScript .* get it anew from https:"
    ):
        Clean(FeatureContext(images(), cache=tmp_path))


# Any TorchScript.


class Answer(nn.Module):
    def __init__(self, kind: str) -> None:
        super().__init__()
        self.kind = kind
        self.linear = nn.Linear(192, 5)
        self.drop = nn.Dropout(0.5)


class AsTensor(Answer):
    def forward(self, x):
        return self.drop(self.linear(x.flatten(1)))


class AsTuple(Answer):
    def forward(self, x):
        features = self.linear(x.flatten(1))
        return features, 2.0 * features[:, :3]


class Altered(Answer):
    def forward(self, x):
        x = x.flatten(1)
        if self.kind == "none":
            return x[:, :0]
        return torch.complex(x, x)


class AsDict(Answer):
    def forward(self, x):
        features = self.linear(x.flatten(1))
        logits = 2.0 * features[:, :3]
        if self.kind == "logits":
            return {"features": features, "logits": logits}
        if self.kind == "probabilities":
            return {"features": features, "probabilities": logits.softmax(1)}
        if self.kind == "wrong":
            return {"features": features, "probabilities": logits}
        if self.kind == "nothing":
            return {"other": features}
        return {"features": features}


@pytest.mark.parametrize(
    ("make", "kind"),
    [(AsTensor, ""), (AsTuple, ""), (AsDict, "logits"), (AsDict, "probabilities"), (AsDict, "")],
)
def test_what_a_torchscript_file_may_return(tmp_path, make, kind, warned):
    with seeded_weights(0):
        module = make(kind)
    path = save_script(module, tmp_path / "own.pt")
    dataset = images()
    extractor = extractor_for(str(path), manager().catalogs, FeatureContext(dataset))
    assert isinstance(extractor, TorchScript)
    assert extractor.num_features == 5
    x, _ = fetch(dataset, np.arange(6))
    found = extractor(x)
    expected = module.linear(x.flatten(1)).detach()
    torch.testing.assert_close(found.features, expected)
    if make is AsTensor or (make is AsDict and not kind):
        assert found.probabilities is None
    else:
        torch.testing.assert_close(found.probabilities, (2.0 * expected[:, :3]).softmax(1))
    assert extractor(x[:0]).features.shape == (0, 5)
    assert extractor(x[:1]).features.shape == (1, 5)
    assert not warned()


def test_the_identity_is_that_of_the_content(tmp_path):
    context = FeatureContext(images())
    found = []
    for name, seed in (("a.pt", 0), ("b.pt", 1)):
        with seeded_weights(seed):
            path = save_script(AsTensor(""), tmp_path / name)
        found.append(extractor_for(str(path), manager().catalogs, context).identity)
    copy = tmp_path / "unusual name"
    copy.write_bytes((tmp_path / "a.pt").read_bytes())
    assert extractor_for(str(copy), manager().catalogs, context).identity == found[0] != found[1]


@pytest.mark.parametrize(
    ("module", "message"),
    [
        (nn.Identity(), r"returns shape \[2, 3, 8, 8\] for 2 samples; it must return features"),
        (nn.Flatten(0), r"returns shape \[384\] for 2 samples"),
        (nn.Linear(9, 2), "fails on samples"),
        (AsDict("wrong"), "'probabilities' that are negative or do not sum to 1"),
        (AsDict("nothing"), "returns NoneType for 2 samples"),
        (Altered("none"), r"returns shape \[2, 0\] for 2 samples"),
        (Altered("complex"), r"returns shape \[2, 192\] of complex numbers for 2 samples"),
    ],
)
def test_a_network_that_does_not_fit_is_named_by_its_file(tmp_path, module, message):
    path = save_script(module, tmp_path / "own.pt")
    with pytest.raises(UserError, match=message) as caught:
        extractor_for(str(path), manager().catalogs, FeatureContext(images()))
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_files_that_are_no_torchscript(tmp_path):
    context = FeatureContext(images())
    pickled = tmp_path / "pickled.pt"
    torch.save(nn.Linear(2, 2).state_dict(), pickled)
    empty, garbage = tmp_path / "empty.pt", tmp_path / "garbage.bin"
    empty.touch()
    garbage.write_bytes(bytes(range(256)) * 20)
    for path in (pickled, empty, garbage):
        with pytest.raises(UserError, match=f"{path.name} cannot be read as TorchScript") as caught:
            extractor_for(str(path), manager().catalogs, context)
        assert "\n" not in str(caught.value)


def test_a_torchscript_file_serves_points(tmp_path):
    plane = ArrayDataset("plane", np.ones((3, 2), np.float32))
    path = save_script(nn.Linear(2, 7), tmp_path / "own.pt")
    extractor = extractor_for(str(path), manager().catalogs, FeatureContext(plane))
    assert extractor(torch.zeros(4, 2)).features.shape == (4, 7)
    with pytest.raises(UserError, match="1 of 4 samples"):
        extractor(torch.tensor([[0.0, 0.0], [0.0, float("nan")], [0.0, 0.0], [1.0, 1.0]]))
