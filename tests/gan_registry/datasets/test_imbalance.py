from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from gan_registry.datasets.base import ArrayDataset, Dataset
from gan_registry.datasets.imbalance import Thinned, parse_minority, thin
from gan_registry.datasets.labels import LabelledImages, class_names_of, labels_of
from gan_registry.datasets.mixtures import Mixture, grid_centres
from gan_registry.errors import UserError
from gan_registry.samplers.base import IndexSampler
from gan_registry.samplers.class_balanced import ClassBalancedSampler, build_class_balanced


def grouped(counts: dict[str, int], seed: int = 0) -> ArrayDataset:
    """A dataset whose sample i is the point (i, i)."""
    groups = np.repeat(np.arange(len(counts)), list(counts.values()))
    np.random.default_rng(seed).shuffle(groups)
    x = np.repeat(np.arange(len(groups), dtype=np.float32)[:, None], 2, axis=1)
    return ArrayDataset("points", x, groups=groups, group_names=tuple(counts))


def shares(dataset: Dataset) -> dict[str, float]:
    counts = np.bincount(dataset.groups, minlength=len(dataset.group_names))
    return dict(zip(dataset.group_names, counts / len(dataset), strict=True))


# --- thinning ------------------------------------------------------------------------------------


@pytest.mark.parametrize("share", [0.01, 0.05, 0.1, 0.25, 0.4])
@pytest.mark.parametrize("sizes", [{"a": 900, "b": 600}, {"a": 1000, "b": 3000, "c": 7}])
def test_a_group_gets_its_share_to_half_a_sample(sizes, share):
    name = "a" if "c" in sizes else "b"
    whole = grouped(sizes)
    if share > sizes[name] / len(whole):
        with pytest.raises(UserError, match="can only be thinned"):
            thin(whole, {name: share})
        return
    thinned = thin(whole, {name: share})
    rest = sum(count for other, count in sizes.items() if other != name)
    kept = len(thinned) - rest
    assert kept == round(rest * share / (1 - share))
    assert abs(kept - share * len(thinned)) <= 0.5 + 1e-9
    assert (thinned.groups == whole.groups[thinned.indices]).all()
    assert (np.diff(thinned.indices) > 0).all()
    others = whole.groups != list(sizes).index(name)
    assert np.isin(np.flatnonzero(others), thinned.indices).all()  # the rest stays whole


def test_several_groups_at_once():
    whole = grouped({"a": 3000, "b": 1000, "c": 1000, "d": 500})
    thinned = thin(whole, {"b": 0.05, "c": 0.01})
    found = shares(thinned)
    assert found["b"] == pytest.approx(0.05, abs=0.5 / len(thinned) + 1e-9)
    assert found["c"] == pytest.approx(0.01, abs=0.5 / len(thinned) + 1e-9)
    assert found["a"] / found["d"] == pytest.approx(6.0)
    # What is kept of a group does not depend on the others that are thinned, but on its number.
    small = thin(whole, {"c": 0.01})
    members = {
        name: set(d.indices[d.groups == 2].tolist())
        for name, d in (("both", thinned), ("one", small))
    }
    assert members["both"] < members["one"] or members["one"] <= members["both"]


def test_the_choice_is_nested_and_follows_from_the_seed():
    whole = grouped({"a": 800, "b": 800})
    lower, higher = (thin(whole, {"b": share}) for share in (0.02, 0.2))
    chosen = [set(d.indices[d.groups == 1].tolist()) for d in (lower, higher)]
    assert chosen[0] < chosen[1]
    assert (thin(whole, {"b": 0.02}).indices == lower.indices).all()
    assert (thin(whole, {"b": 0.02}, seed=1).indices != lower.indices).any()
    # Over seeds, every member is kept about as often: 400 seeds · 16/800, ± 6 σ.
    often = np.zeros(len(whole))
    for seed in range(400):
        kept = thin(whole, {"b": 0.02}, seed=seed).indices
        often[kept] += 1
    members = whole.groups == 1
    expected = 400 * 16 / 800
    assert often[members].sum() == 400 * 16
    assert np.abs(often[members] - expected).max() < 6 * np.sqrt(expected)


def test_thinned_samples_are_those_of_the_whole():
    whole = grouped({"a": 50, "b": 50})
    thinned = thin(whole, {"b": 0.1})
    x, y = thinned.__getitems__([0, 3, len(thinned) - 1, 3])
    assert x[:, 0].tolist() == thinned.indices[[0, 3, -1, 3]].tolist()
    assert (x.dtype, y.dtype) == (torch.float32, torch.int64)
    assert torch.equal(thinned[3][0], x[1])
    assert thinned.__getitems__([])[0].shape == (0, 2)
    for index in (len(thinned), -1):
        with pytest.raises(IndexError):
            thinned.__getitems__([index])
    assert (thinned.name, thinned.kind, thinned.sample_shape) == ("points", "points", (2,))
    assert len(list(thinned)) == len(thinned)


def test_the_fingerprint_tells_thinned_datasets_apart():
    whole = grouped({"a": 50, "b": 50})
    digests = {
        whole.fingerprint(),
        thin(whole, {"b": 0.1}).fingerprint(),
        thin(whole, {"b": 0.2}).fingerprint(),
        thin(whole, {"b": 0.1}, seed=1).fingerprint(),
        thin(whole, {"a": 0.1}).fingerprint(),
        thin(grouped({"a": 50, "b": 50}, seed=1), {"b": 0.1}).fingerprint(),
    }
    assert len(digests) == 6
    assert thin(whole, {"b": 0.1}).fingerprint() in digests


def test_classes_become_groups_where_there_are_none():
    y = np.arange(300) % 3
    x = np.zeros((300, 1, 2, 2), np.uint8)
    named = LabelledImages("images", x, y, ("cat", "dog", "cow"), groups="none")
    thinned = thin(named, {"dog": 0.1})
    assert thinned.group_names == ("cat", "dog", "cow")
    assert (thinned.groups == thinned.labels).all()
    assert np.bincount(thinned.groups).tolist() == [100, 22, 100]
    assert thinned.__getitems__(range(len(thinned)))[1].tolist() == thinned.labels.tolist()
    unnamed = thin(ArrayDataset("images", x, y, num_classes=3), {"class 2": 0.2})
    assert np.bincount(unnamed.groups).tolist() == [100, 100, 50]
    with pytest.raises(NotImplementedError):
        unnamed.classify(torch.zeros(1, 1, 2, 2))


def test_a_mixture_that_is_thinned_still_classifies():
    centres = grid_centres()
    modes = np.arange(2500) % 25
    whole = Mixture("gmm", centres[modes].astype(np.float32), modes, centres, 0.05)
    thinned = thin(whole, {"mode 12": 0.01})
    assert thinned.can_classify
    assert thinned.classify(np.zeros((1, 2))).tolist() == [12]
    assert thinned.evaluate_generated(centres)["high_quality"] == 1.0
    assert (thinned.classify(thinned.__getitems__(range(50))[0]) == thinned.groups[:50]).all()


def test_samples_of_no_group_count_as_the_rest():
    groups = np.array([0] * 60 + [-1] * 100)
    whole = ArrayDataset("points", np.zeros((160, 2), np.float32), groups=groups,
                         group_names=("a",))  # fmt: skip
    thinned = thin(whole, {"a": 0.2})
    assert ((thinned.groups == 0).sum(), (thinned.groups == -1).sum()) == (25, 100)


def test_attributes_are_thinned_along():
    whole = grouped({"a": 50, "b": 50})
    whole.attributes = np.arange(100)[:, None] % 7 == np.arange(7)
    thinned = thin(whole, {"b": 0.1})
    assert (thinned.attributes == whole.attributes[thinned.indices]).all()


@pytest.mark.parametrize(
    ("minority", "message"),
    [
        ({"c": 0.1}, r"Unknown group 'c' .*'points'.* Known: alpha, beta"),
        ({"alpa": 0.1}, r"mean 'alpha'\?"),
        ({"beta": 0.0}, "'beta' must be between 0 and 1 .*but got 0.0"),
        ({"beta": 1.0}, "between 0 and 1"),
        ({"beta": float("nan")}, "between 0 and 1"),
        ({"beta": True}, "between 0 and 1"),
        ({"beta": "some"}, "between 0 and 1"),
        ({"beta": 0.6}, r"asks for 150 samples of that group, but there are 50.*at most 0\.333333"),
        ({"beta": 1e-4}, "beta=0.0001 leaves no sample"),
        ({"alpha": 0.5, "beta": 0.5}, "leaves nothing for the other groups"),
        ({"alpha": 0.1, "beta": 0.1}, "leaves nothing for the other groups"),
    ],
)
def test_thinning_refuses_what_cannot_be(minority, message):
    with pytest.raises(UserError, match=message):
        thin(grouped({"alpha": 100, "beta": 50}), minority)


def test_the_largest_share_that_is_named_can_be_had():
    whole = grouped({"a": 100, "b": 50})
    assert len(thin(whole, {"b": 50 / 150})) == 150


def test_a_dataset_without_groups_and_classes():
    points = ArrayDataset("points", np.zeros((3, 2), np.float32))
    with pytest.raises(UserError, match="needs groups or classes, but the dataset 'points' has no"):
        thin(points, {"a": 0.1})
    points.attribute_names = ("Bald",)
    with pytest.raises(UserError, match=r"choose an attribute .*DATA\.options\.attribute"):
        thin(points, {"a": 0.1})
    assert isinstance(thin(grouped({"a": 2, "b": 2}), {}), Thinned)


def test_the_flag_is_read():
    assert parse_minority(["cat=0.05", "a = b=5%", " red=1e-2 "]) == {
        "cat": 0.05, "a = b": 0.05, "red": 0.01,
    }  # fmt: skip
    assert parse_minority([]) == {}


@pytest.mark.parametrize(
    "text", ["cat", "=0.1", "cat=", "cat=few", "cat=5%%", "cat:0.1", "cat=nan"]
)
def test_the_flag_refuses_what_is_no_share(text):
    with pytest.raises(UserError, match=r"--minority takes GROUP=SHARE, e\.g\. .* not "):
        parse_minority([text])


def test_the_flag_refuses_shares_out_of_range_and_groups_named_twice():
    for text in ("cat=0", "cat=1", "cat=-0.1", "cat=100%", "cat=5", "cat=inf"):
        with pytest.raises(UserError, match="'cat' must be between 0 and 1"):
            parse_minority([text])
    with pytest.raises(UserError, match="names the group 'cat' twice"):
        parse_minority(["cat=0.1", "cat=0.2"])


# --- labels and class balance --------------------------------------------------------------------


def test_labels_are_read_where_they_are_not_known():
    class Computed(Dataset):
        name, kind, sample_shape, num_classes = "computed", "points", (1,), 7

        def __len__(self) -> int:
            return 2500

        def __getitems__(self, indices):
            rows = torch.as_tensor(np.asarray(indices, np.int64))
            return rows[:, None].float(), rows % 7

    assert labels_of(Computed()).tolist() == [i % 7 for i in range(2500)]
    assert class_names_of(Computed()) == tuple(f"class {i}" for i in range(7))
    assert labels_of(grouped({"a": 3})).tolist() == [0, 0, 0]


def imbalanced(seed: int = 0) -> np.ndarray:
    labels = np.repeat([0, 1, 4], [700, 290, 10])
    return np.random.default_rng(seed).permutation(labels)


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_classes_are_equally_often_in_every_epoch(seed):
    labels = imbalanced()
    sampler = ClassBalancedSampler(labels, seed)
    assert isinstance(sampler, IndexSampler)
    total = np.zeros(5, np.int64)
    for epoch in range(7):
        drawn = sampler.draw(1000 * epoch, 1000 * (epoch + 1))
        assert drawn.dtype == np.int64
        counts = np.bincount(labels[drawn], minlength=5)
        assert counts[[2, 3]].tolist() == [0, 0]
        assert set(counts[[0, 1, 4]].tolist()) <= {333, 334}
        total += counts
    assert total[[0, 1, 4]].max() - total[[0, 1, 4]].min() <= 1
    # Each class's own samples come round in turn: over 7 epochs they differ by one at most.
    often = np.bincount(sampler.draw(0, 7000), minlength=1000)
    for label in (0, 1, 4):
        members = often[labels == label]
        assert members.max() - members.min() <= 1


def test_balanced_draws_are_a_function_of_seed_and_position():
    labels = imbalanced()
    whole = ClassBalancedSampler(labels, 3).draw(0, 3500)
    for start, stop in ((0, 10), (995, 1005), (2990, 3500), (17, 17), (1500, 2600)):
        assert (ClassBalancedSampler(labels, 3).draw(start, stop) == whole[start:stop]).all()
    assert (ClassBalancedSampler(labels, 4).draw(0, 3500) != whole).any()
    assert (whole[:1000] != whole[1000:2000]).any()
    # In no order of classes: a prefix has all of them about equally.
    prefix = np.bincount(labels[whole[:300]], minlength=5)[[0, 1, 4]]
    assert ((prefix - 100) ** 2 / 100).sum() < 18.4  # χ² with 2 degrees, 1e-4
    assert ClassBalancedSampler([3], 0).draw(0, 3).tolist() == [0, 0, 0]


def test_the_balanced_sampler_takes_no_weights_and_needs_classes():
    with pytest.raises(UserError, match="takes no weights"):
        ClassBalancedSampler([0, 1]).set_weights(np.ones(2), 0)
    with pytest.raises(ValueError, match="at least one label"):
        ClassBalancedSampler([])
    images = np.zeros((4, 1, 2, 2), np.uint8)
    run: Any = SimpleNamespace(dataset=ArrayDataset("plain", images), seed=0)
    with pytest.raises(UserError, match="needs classes, but the dataset 'plain'"):
        build_class_balanced(run)
    run.dataset = ArrayDataset("labelled", images, [0, 0, 0, 1], num_classes=2)
    assert np.bincount(run.dataset.labels[build_class_balanced(run).draw(0, 8)]).tolist() == [4, 4]
