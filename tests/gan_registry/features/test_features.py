from __future__ import annotations

import logging
import os

import numpy as np
import pytest
import torch
from small_runs import digits_config, manager, points_config

from gan_registry.datasets.base import OTHER, ArrayDataset
from gan_registry.datasets.fetching import fetch
from gan_registry.errors import PluginError, UserError
from gan_registry.features import classifier_network
from gan_registry.features.base import FeatureContext, Features
from gan_registry.features.choose import extractor_for
from gan_registry.features.classifier import Classifier
from gan_registry.features.classifier_network import ClassifierNetwork, split
from gan_registry.features.raw import Raw
from gan_registry.features.store import extract, real_features
from gan_registry.hookspecs import hookimpl
from gan_registry.plugins import PluginManager


def build(config):
    return PluginManager(load_entry_points=False).catalogs.datasets[config.DATA.name](config, None)


def images(count=24, channels=3, size=8, classes=3, groups=None, name="made", seed=0):
    x = np.random.default_rng(seed).integers(0, 256, (count, channels, size, size), np.uint8)
    names = () if groups is None else tuple(f"g{g}" for g in range(max(groups) + 1))
    labels = np.arange(count) % classes
    return ArrayDataset(
        name, x, labels, num_classes=classes, groups=groups, group_names=names
    )  # fmt: skip


def points(count=10):
    x = np.random.default_rng(0).standard_normal((count, 2)).astype(np.float32)
    return ArrayDataset("plane", x)


@pytest.fixture
def few_steps(monkeypatch):
    monkeypatch.setattr(classifier_network, "_MIN_STEPS", 6)
    monkeypatch.setattr(classifier_network, "_MAX_STEPS", 6)


@pytest.fixture(scope="module")
def digits():
    """Coloured digits, 5 % of them green; their pixels; and the classifier trained on them."""
    dataset = build(digits_config())
    x, _ = fetch(dataset, np.arange(len(dataset)))
    return dataset, x, Classifier(FeatureContext(dataset, seed=3))


# Raw.


def test_raw_features_are_the_values():
    dataset = points()
    x, _ = fetch(dataset, np.arange(10))
    raw = Raw(FeatureContext(dataset))
    found = raw(x)
    assert raw.num_features == 2
    assert found.probabilities is None
    torch.testing.assert_close(found.features, x, rtol=0, atol=0)
    assert raw(x[:0]).features.shape == (0, 2)
    for dtype in (torch.float16, torch.bfloat16):
        half = raw(x[:1].to(dtype)).features
        assert half.dtype == torch.float32
        torch.testing.assert_close(half, x[:1], rtol=1e-2, atol=1e-2)


def test_raw_features_of_images_are_the_pixels_in_order():
    dataset = images()
    raw = Raw(FeatureContext(dataset))
    x, _ = fetch(dataset, np.arange(5))
    assert raw.num_features == 3 * 8 * 8
    torch.testing.assert_close(raw(x).features[4, 64 + 8 + 2], x[4, 1, 1, 2], rtol=0, atol=0)


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -float("inf")])
def test_samples_that_are_not_finite_are_counted(bad):
    x = torch.zeros(5, 2)
    x[1, 0] = x[3, 1] = bad
    with pytest.raises(UserError, match=r"^2 of 5 samples hold values that are not finite"):
        Raw(FeatureContext(points()))(x)


@pytest.mark.parametrize("shape", [(4, 1, 8, 8), (4, 3, 9, 8), (4, 192), (3, 8, 8), ()])
def test_samples_of_another_shape_are_refused(shape):
    with pytest.raises(ValueError, match=r"must be of shape \[B, 3, 8, 8\], but got \["):
        Raw(FeatureContext(images()))(torch.zeros(shape))


# The classifier.


def partial_recall(real, fake, k=3):
    """Share of real features within the ball of any fake one up to its k-th neighbour."""
    between = torch.cdist(fake.double(), fake.double())
    between.fill_diagonal_(float("inf"))
    radii = between.kthvalue(k, dim=1).values
    return float((torch.cdist(real.double(), fake.double()) <= radii).any(1).double().mean())


def recoloured(x):
    return x[:, [1, 0, 2]]


def test_a_generator_without_green_covers_no_green_sample(digits):
    dataset, x, classifier = digits
    green = torch.from_numpy(dataset.groups == 1)
    real = classifier(x[green]).features
    rng = torch.Generator().manual_seed(0)
    red = torch.where(green[:, None, None, None], recoloured(x), x)
    noise = 0.3 * torch.randn(red.shape, generator=rng)
    for fakes in (x[~green], red, (red + noise).clamp(-1, 1)):
        assert partial_recall(real, classifier(fakes).features) < 0.05
    # The samples differ in colour alone, and pixels would not tell so: they say the opposite.
    colour_blind = partial_recall(recoloured(x[green]).flatten(1), red.flatten(1))
    assert colour_blind > 0.9


def test_other_real_digits_of_both_colours_cover_the_green_ones(digits):
    dataset, x, classifier = digits
    features = classifier(x).features
    for seed in range(3):
        order = np.random.default_rng(100 + seed).permutation(len(x))
        half, other = order[::2], order[1::2]
        green = half[dataset.groups[half] == 1]
        assert partial_recall(features[green], features[other]) > 0.75
        assert partial_recall(features[half], features[other]) > 0.75


def test_the_classifier_tells_labels_and_groups_apart(digits):
    dataset, x, classifier = digits
    _, y = fetch(dataset, np.arange(len(dataset)))
    found = classifier(x)
    assert classifier.num_features == found.features.shape[1]
    assert sorted(classifier.classes) == [(d, g) for d in range(10) for g in (0, 1)]
    assert found.probabilities.shape == (len(x), 20)
    torch.testing.assert_close(found.probabilities.sum(1), torch.ones(len(x)))
    answers = np.array(classifier.classes)[found.probabilities.argmax(1).numpy()]
    right = (answers == np.stack([y.numpy(), dataset.groups], 1)).all(1)
    assert right.mean() > 0.95
    assert right[dataset.groups == 1].mean() > 0.9  # 5 % of the data
    assert 0.75 < classifier.accuracy <= 1.0
    assert (found.features.std(0) > 0).all()


def test_features_of_a_sample_do_not_depend_on_its_batch(digits):
    _, x, classifier = digits
    whole = classifier(x[:300])
    for piece in (slice(0, 1), slice(250, 300)):
        alone = classifier(x[piece])
        torch.testing.assert_close(alone.features, whole.features[piece], rtol=1e-4, atol=1e-5)
    empty = classifier(x[:0])
    assert empty.features.shape == (0, classifier.num_features)
    assert empty.probabilities.shape == (0, 20)


@pytest.mark.usefixtures("few_steps")
def test_the_classifier_follows_from_its_seed_and_leaves_the_global_state():
    dataset = images()
    found = {}
    for name, seed, noise in (("a", 0, 1), ("b", 0, 2), ("c", 1, 1)):
        torch.manual_seed(noise)
        np.random.seed(noise)  # noqa: NPY002
        before = torch.get_rng_state(), np.random.get_state()[1].copy()  # noqa: NPY002
        with torch.inference_mode():  # a caller may have switched gradients off
            found[name] = Classifier(FeatureContext(dataset, seed=seed))
        assert torch.equal(torch.get_rng_state(), before[0])
        assert (np.random.get_state()[1] == before[1]).all()  # noqa: NPY002
    x, _ = fetch(dataset, np.arange(4))
    assert torch.equal(found["a"](x).features, found["b"](x).features)
    assert not torch.equal(found["a"](x).features, found["c"](x).features)
    assert found["a"].identity == found["b"].identity != found["c"].identity


@pytest.mark.usefixtures("few_steps")
def test_a_trained_classifier_is_kept_by_data_and_seed(tmp_path, monkeypatch):
    groups = np.arange(24) // 12
    context = FeatureContext(images(groups=groups), cache=tmp_path)
    first = Classifier(context)
    other = Classifier(FeatureContext(context.dataset, cache=tmp_path, seed=1))
    assert other.identity != first.identity
    Classifier(FeatureContext(images(groups=groups, seed=1), cache=tmp_path))
    files = list((tmp_path / "classifiers").iterdir())
    assert len(files) == 3
    monkeypatch.setattr("gan_registry.features.classifier.train_classifier", None)
    again = Classifier(context)
    assert again.identity == first.identity
    assert again.classes == first.classes
    np.testing.assert_equal(again.accuracy, first.accuracy)
    x, _ = fetch(context.dataset, np.arange(4))
    for one, other in zip(first(x), again(x), strict=True):
        assert torch.equal(one, other)


@pytest.mark.usefixtures("few_steps")
@pytest.mark.parametrize("damage", ["empty", "short", "other"])
def test_a_damaged_classifier_is_trained_anew(tmp_path, damage, caplog):
    caplog.set_level(logging.INFO)
    context = FeatureContext(images(), cache=tmp_path)
    first = Classifier(context)
    (path,) = (tmp_path / "classifiers").iterdir()
    content = path.read_bytes()
    if damage == "other":
        other = Classifier(FeatureContext(images(size=16, classes=2), cache=tmp_path / "other"))
        assert other.identity != first.identity
        (source,) = (tmp_path / "other" / "classifiers").iterdir()
        path.write_bytes(source.read_bytes())
    else:
        path.write_bytes(b"" if damage == "empty" else content[:-10])
    assert Classifier(context).identity == first.identity
    assert "is made anew" in caplog.text
    assert path.read_bytes() == content


@pytest.mark.parametrize("size", [(8, 8), (7, 13), (28, 28), (32, 32), (64, 48), (128, 128)])
@pytest.mark.parametrize("channels", [1, 3])
def test_the_network_takes_small_and_large_images(size, channels):
    network = ClassifierNetwork(channels, *size, num_classes=5)
    features, logits = network(torch.zeros(2, channels, *size))
    assert features.shape == (2, 128)
    assert logits.shape == (2, 5)
    assert sum(p.numel() for p in network.parameters()) < 1_000_000


def test_a_split_holds_out_a_tenth_and_leaves_small_classes_whole():
    classes = np.repeat([0, 1, 2, 3], [3, 9, 40, 5000])
    taught, held = split(classes, np.random.default_rng(0))
    assert [len(part) for part in held] == [0, 1, 4, 100]
    joined = np.concatenate(taught + held)
    assert sorted(joined) == list(range(len(classes)))
    for number in range(4):
        assert (classes[taught[number]] == number).all()
        assert (classes[held[number]] == number).all()


@pytest.mark.usefixtures("few_steps")
def test_classes_are_those_that_occur():
    groups = np.array([0] * 20 + [1, 1, OTHER, OTHER])
    classifier = Classifier(FeatureContext(images(groups=groups, classes=2)))
    assert classifier.classes == ((0, -1), (0, 0), (0, 1), (1, -1), (1, 0), (1, 1))
    by_groups = Classifier(FeatureContext(images(groups=groups, classes=1)))
    assert by_groups.classes == ((0, -1), (0, 0), (0, 1))


def test_one_class_is_nothing_to_learn_from():
    with pytest.raises(UserError, match=r"two labels or groups .*'made' are of one; .*'raw'"):
        Classifier(FeatureContext(images(classes=1)))


@pytest.mark.usefixtures("few_steps")
def test_data_that_are_not_finite_teach_no_classifier(tmp_path):
    class Broken(ArrayDataset):
        def __getitems__(self, indices):
            x, y = super().__getitems__(indices)
            return x * float("nan"), y

    x = np.zeros((20, 1, 8, 8), np.uint8)
    dataset = Broken("broken", x, np.arange(20) % 2, num_classes=2)
    with pytest.raises(UserError, match="did not learn from the dataset 'broken'"):
        Classifier(FeatureContext(dataset, cache=tmp_path))
    assert not list(tmp_path.rglob("*.safetensors"))


def test_a_classifier_is_of_images_of_one_or_three_channels():
    with pytest.raises(UserError, match=r"'classifier' are of images, .*'plane'.*'raw'"):
        Classifier(FeatureContext(points()))
    with pytest.raises(UserError, match=r"1 or 3 channels, but those .* have 2"):
        Classifier(FeatureContext(images(channels=2)))


# The choice.


def test_auto_is_raw_for_points_and_the_classifier_for_images(few_steps):
    catalogs = manager().catalogs
    plane = build(points_config())
    assert isinstance(extractor_for("auto", catalogs, FeatureContext(plane)), Raw)
    assert isinstance(extractor_for("auto", catalogs, FeatureContext(images())), Classifier)
    assert isinstance(extractor_for("raw", catalogs, FeatureContext(images())), Raw)


def test_an_unknown_name_lists_the_known_ones():
    context = FeatureContext(points())
    with pytest.raises(UserError, match=r"Unknown feature extractor 'incepton'.*'inception'\? "):
        extractor_for("incepton", manager().catalogs, context)
    with pytest.raises(UserError, match=r"no file .*nowhere\.pt"):
        extractor_for("nowhere.pt", manager().catalogs, context)


class Means:
    """A third party's: the mean of each sample."""

    identity = "means 1"
    num_features = 1
    calls = 0

    def __init__(self, context):
        self.context = context

    def __call__(self, samples):
        type(self).calls += 1
        shares = torch.full((len(samples), 2), 0.5, dtype=torch.float64)
        return Features(samples.flatten(1).mean(1, keepdim=True), shares)


class MeansPlugin:
    @hookimpl
    def gan_register(self, catalogs):
        catalogs.features.register("means", Means)


def test_a_plugin_adds_an_extractor():
    plugins = PluginManager(load_entry_points=False)
    plugins.register(MeansPlugin, "third")
    assert plugins.catalogs.features.owner("means") == "third"
    dataset = points()
    extractor = extractor_for("means", plugins.catalogs, FeatureContext(dataset, seed=5))
    assert extractor.context.seed == 5
    found = real_features(extractor, dataset)
    torch.testing.assert_close(found.features[:, 0], fetch(dataset, np.arange(10))[0].mean(1))


# Features of the real data, kept on disk.


def means_of(dataset):
    Means.calls = 0
    return Means(FeatureContext(dataset))


def test_real_features_come_in_the_order_of_the_indices():
    dataset = points(50)
    extractor = means_of(dataset)
    whole = real_features(extractor, dataset, batch_size=7)
    assert Means.calls == 8
    assert whole.features.shape == (50, 1)
    assert whole.features.dtype == whole.probabilities.dtype == torch.float32
    indices = [3, 3, 49, 0]
    some = real_features(extractor, dataset, indices, batch_size=3)
    torch.testing.assert_close(some.features, whole.features[indices], rtol=0, atol=0)
    none = real_features(extractor, dataset, [])
    assert none.features.shape == (0, 1)
    assert none.probabilities.shape == (0, 2)


def test_progress_is_told_up_to_the_end():
    told = []
    dataset = points(50)
    real_features(means_of(dataset), dataset, batch_size=20, progress=lambda *a: told.append(a))
    assert [(done, total) for _, done, total in told] == [(20, 50), (40, 50), (50, 50)]


def test_real_features_are_extracted_once(tmp_path):
    dataset = points(50)
    extractor = means_of(dataset)
    first = real_features(extractor, dataset, [1, 2, 3], tmp_path)
    again = real_features(extractor, dataset, np.array([1, 2, 3], np.int32), tmp_path)
    assert Means.calls == 1
    for one, other in zip(first, again, strict=True):
        assert torch.equal(one, other)
        assert other.dtype == torch.float32
    assert torch.equal(
        real_features(extractor, dataset, None, tmp_path).features,
        real_features(extractor, dataset, range(50), tmp_path).features,
    )
    assert Means.calls == 2
    # Any of these is another question.
    calls = Means.calls
    real_features(extractor, dataset, [3, 2, 1], tmp_path)
    real_features(extractor, points(51), [1, 2, 3], tmp_path)
    extractor.identity = "means 2"
    real_features(extractor, dataset, [1, 2, 3], tmp_path)
    dataset.value_range = (0.0, 1.0)  # by which an extractor scales
    real_features(extractor, dataset, [1, 2, 3], tmp_path)
    assert Means.calls == calls + 4
    names = [path.name for path in (tmp_path / "features").iterdir()]
    assert len(names) == 6
    assert not any(name.endswith(".tmp") for name in names)


@pytest.mark.parametrize("damage", [lambda b: b"", lambda b: b[:-3], lambda b: b"\xff" * len(b)])
def test_damaged_features_are_extracted_anew(tmp_path, damage):
    dataset = points()
    extractor = means_of(dataset)
    first = real_features(extractor, dataset, None, tmp_path)
    (path,) = (tmp_path / "features").iterdir()
    path.write_bytes(damage(path.read_bytes()))
    for _ in range(2):  # extracted, then read
        again = real_features(extractor, dataset, None, tmp_path)
        assert Means.calls == 2
        assert torch.equal(first.features, again.features)


def test_kept_features_of_another_width_are_not_taken(tmp_path):
    dataset = points()
    extractor = means_of(dataset)
    real_features(extractor, dataset, None, tmp_path)

    class Wide(Means):
        num_features = 2

        def __call__(self, samples):
            return Features(samples)

    assert real_features(Wide(None), dataset, None, tmp_path).features.shape == (10, 2)


def test_a_cache_that_cannot_be_written_to_is_only_warned_of(tmp_path, caplog):
    dataset = points()
    blocked = tmp_path / "file"
    blocked.write_text("no folder")
    found = real_features(means_of(dataset), dataset, None, blocked)
    assert found.features.shape == (10, 1)
    (record,) = caplog.records
    assert record.levelno == logging.WARNING
    assert "computed again" in record.getMessage()


@pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_without_permission_is_only_warned_of(tmp_path, caplog):
    tmp_path.chmod(0o500)
    try:
        real_features(means_of(points()), points(), None, tmp_path)
    finally:
        tmp_path.chmod(0o700)
    assert "computed again" in caplog.text


def test_raw_features_are_not_kept(tmp_path):
    dataset = points()
    real_features(Raw(FeatureContext(dataset)), dataset, None, tmp_path)
    assert not list(tmp_path.iterdir())


def test_indices_and_batches_that_cannot_be():
    dataset = points()
    extractor = Raw(FeatureContext(dataset))
    with pytest.raises(ValueError, match=r"integers .n., but got float64"):
        real_features(extractor, dataset, [0.5])
    with pytest.raises(ValueError, match="integers"):
        real_features(extractor, dataset, [[0, 1]])
    with pytest.raises(ValueError, match="`batch_size` must be at least 1, but got 0"):
        real_features(extractor, dataset, batch_size=0)
    with pytest.raises(IndexError):
        real_features(extractor, dataset, [10])


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (lambda x: x, "returned Tensor instead of Features"),
        (lambda x: Features(x), r"shape \[4, 2\] instead of \[4, 1\]"),
        (lambda x: Features(x[:1, :1]), r"shape \[1, 1\] instead of \[4, 1\]"),
        (lambda x: Features(x[:, :1], x[:2]), r"probabilities of shape \[2, 2\] for 4 samples"),
    ],
)
def test_an_extractor_that_breaks_its_contract_is_named(answer, message):
    class Odd(Means):
        def __call__(self, samples):
            return answer(samples)

    with pytest.raises(PluginError, match=f"extractor 'means' .*{message}"):
        extract(Odd(None), torch.zeros(4, 2))


def test_features_that_are_not_finite_are_counted():
    class Odd(Means):
        def __call__(self, samples):
            return Features(samples[:, :1] / samples[:, :1])

    with pytest.raises(UserError, match="'means' gives 3 of 4 samples features"):
        extract(Odd(None), torch.tensor([[0.0], [0.0], [1.0], [0.0]]))
