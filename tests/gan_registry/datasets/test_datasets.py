from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import catalog_datasets
import numpy as np
import pytest
import torch
from scipy.stats import chi2, kstest
from sklearn.datasets import load_digits
from torch.utils.data import DataLoader

from gan_registry.datasets.base import ArrayDataset, Dataset, as_array
from gan_registry.datasets.colored_digits import enlarge
from gan_registry.datasets.coloring import GREEN, RED, choose_colors, colorize, ink_color
from gan_registry.datasets.gaussian import Gaussian
from gan_registry.datasets.mixtures import (
    grid_centres,
    mixture_metrics,
    mode_counts,
    nearest_modes,
)
from gan_registry.errors import UserError

# The offline datasets, and a size for those that have one.
OFFLINE = {"gmm25": 32, "gaussian": 32, "colored_digits": 8}


def make(
    name: str, img_size: int | None = None, data_dir: Path | None = None, **options: Any
) -> Dataset:
    """Takes the size first, and a usual one where none is given."""
    size = OFFLINE.get(name, 28) if img_size is None else img_size
    dataset: Dataset = catalog_datasets.make(name, data_dir, size, **options)
    return dataset


def everything(dataset: Dataset) -> tuple[torch.Tensor, torch.Tensor]:
    return dataset.__getitems__(np.arange(len(dataset)))


def groups_of(dataset: Dataset) -> np.ndarray:
    assert dataset.groups is not None
    assert dataset.groups.dtype == np.int64
    assert dataset.groups.shape == (len(dataset),)
    return dataset.groups


# --- what every dataset does ---------------------------------------------------------------------


@pytest.mark.parametrize("name", OFFLINE)
def test_many_items_equal_single_items(name):
    dataset = make(name)
    indices = [5, 0, len(dataset) - 1, 5, 17]
    x, y = dataset.__getitems__(indices)
    assert x.shape == (5, *dataset.sample_shape)
    assert (x.dtype, y.dtype) == (torch.float32, torch.int64)
    singles = [dataset[i] for i in indices]
    assert torch.equal(x, torch.stack([x for x, _ in singles]))
    assert y.tolist() == [y for _, y in singles]
    assert all(isinstance(y, int) for _, y in singles)
    assert ((y >= 0) & (y < dataset.num_classes)).all()
    for same in (np.array(indices), np.array(indices)[::-1][::-1], torch.tensor(indices)):
        assert torch.equal(dataset.__getitems__(same)[0], x)
    assert dataset.__getitems__(np.array(indices)[::-1])[1].tolist() == y.tolist()[::-1]


@pytest.mark.parametrize("name", OFFLINE)
def test_no_items_one_item_and_items_that_are_not_there(name):
    dataset = make(name)
    x, y = dataset.__getitems__([])
    assert (x.shape, y.shape) == ((0, *dataset.sample_shape), (0,))
    x, y = dataset.__getitems__([3])
    assert (x.shape, y.shape) == ((1, *dataset.sample_shape), (1,))
    for index in (len(dataset), -1):
        with pytest.raises(IndexError):
            dataset.__getitems__([0, index])
        with pytest.raises(IndexError):
            dataset[index]
    assert len(list(dataset)) == len(dataset)  # iterating ends


@pytest.mark.parametrize("name", OFFLINE)
def test_serving_an_item_does_not_expose_the_stored_one(name):
    dataset = make(name)
    before = dataset.fingerprint()
    x, y = dataset.__getitems__([0, 1])
    x.fill_(9.0)
    y.fill_(0)
    assert dataset.fingerprint() == before


@pytest.mark.parametrize("name", OFFLINE)
def test_equal_options_give_equal_data(name):
    a, b, other = make(name, seed=3), make(name, seed=3), make(name, seed=4)
    assert a.fingerprint() == b.fingerprint()
    assert all(torch.equal(x, y) for x, y in zip(everything(a), everything(b), strict=True))
    assert (groups_of(a) == groups_of(b)).all()
    assert a.fingerprint() != other.fingerprint()


def test_the_global_random_state_plays_no_part():
    first = {}
    for seed in (0, 1):
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            before = torch.get_rng_state()
            for name in OFFLINE:
                fingerprint = make(name).fingerprint()
                assert first.setdefault(name, fingerprint) == fingerprint
            assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize(
    ("name", "size", "digest"),
    [
        ("gmm25", 32, "614316d9dd549043"),
        ("gaussian", 32, "c486d2b1cfb8390e"),
        ("colored_digits", 8, "e762e8bf1039ff54"),
        ("colored_digits", 16, "3b4bfc2134dc2939"),
        ("colored_digits", 32, "52ae1cdcd6fa1cf6"),
    ],
)
def test_the_data_are_the_same_on_every_machine(name, size, digest):
    """If this fails, data have changed and stored diagnoses no longer match: say so in the log."""
    assert make(name, size).fingerprint()[:16] == digest


def test_a_loader_of_torchs_own_serves_the_items():
    dataset = make("gaussian", num_samples=10)
    loader = DataLoader(dataset, batch_size=4, collate_fn=lambda batch: batch)
    sizes = [len(x) for x, _ in loader]
    assert sizes == [4, 4, 2]


@pytest.mark.parametrize("name", OFFLINE)
def test_classify_takes_tensors_arrays_and_half_precision_and_no_samples(name):
    dataset = make(name)
    assert dataset.can_classify
    x = everything(dataset)[0][:50]
    expected = dataset.classify(x)
    assert expected.dtype == np.int64
    assert (dataset.classify(x.numpy()) == expected).all()
    assert (dataset.classify(x.double().requires_grad_()) == expected).all()
    assert (dataset.classify(x[:1]) == expected[:1]).all()
    assert dataset.classify(x[:0]).shape == (0,)
    if dataset.kind == "image":
        assert (dataset.classify(x.bfloat16()) == expected).all()
    with pytest.raises(ValueError, match=r"Argument `x` must be \[n, "):
        dataset.classify(x[0])


@pytest.mark.parametrize("name", OFFLINE)
@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_samples_that_are_not_finite_belong_to_no_group(name, value):
    dataset = make(name)
    inside = np.flatnonzero(dataset.classify(everything(dataset)[0]) >= 0)[:3]
    x, _ = dataset.__getitems__(inside)
    x[1].view(-1)[0] = value
    groups = dataset.classify(x)
    assert (groups >= 0).tolist() == [True, False, True]


@pytest.mark.parametrize("name", OFFLINE)
def test_an_unknown_option_names_the_nearest(name):
    with pytest.raises(UserError, match=rf"Unknown option 'sed' .*{name}.* mean 'seed'\? Known: "):
        make(name, sed=1)


# --- the fingerprint -----------------------------------------------------------------------------


def images(count: int = 40, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (count, 3, 4, 4), dtype=np.uint8)


def digest(x: np.ndarray, y: Any = None, groups: Any = None) -> str:
    return ArrayDataset("images", x, y, num_classes=9, groups=groups).fingerprint()


def test_fingerprint_is_a_digest():
    assert re.fullmatch(r"[0-9a-f]{64}", digest(images()))
    assert digest(images()) == digest(images())
    assert digest(images()[:1]) != digest(images()[:2])


def test_fingerprint_sees_one_pixel_the_order_the_length_labels_and_groups():
    x = images()
    labels, groups = np.arange(len(x)) % 3, np.arange(len(x)) % 2
    changed = x.copy()
    changed[7, 1, 2, 3] ^= 1
    swapped = x.copy()
    swapped[[0, 1]] = swapped[[1, 0]]
    other_labels, other_groups = labels.copy(), groups.copy()
    other_labels[11] += 1
    other_groups[11] ^= 1
    digests = [
        digest(x, labels, groups),
        digest(changed, labels, groups),
        digest(swapped, labels, groups),
        digest(x[:-1], labels[:-1], groups[:-1]),
        digest(x.reshape(len(x), 3, 2, 8), labels, groups),
        digest(x, other_labels, groups),
        digest(x, labels, other_groups),
        digest(x, labels, None),
    ]
    assert len(set(digests)) == len(digests)


def test_fingerprint_of_a_large_dataset_samples_its_content_but_sees_any_group():
    x = np.zeros((5000, 2), np.float32)
    groups = np.zeros(5000, np.int64)
    reference = digest(x, groups=groups)
    for sampled in (0, 4999):  # both ends are always among the sampled items
        changed = x.copy()
        changed[sampled, 1] = np.nextafter(np.float32(0), np.float32(1))
        assert digest(changed, groups=groups) != reference
    seen = 0
    for start in range(0, 5000, 10):  # the sampled items are spread evenly: 5 apart
        changed = x.copy()
        changed[start : start + 10] = 1.0
        seen += digest(changed, groups=groups) != reference
    assert seen == 500
    groups[2501] = 1
    assert digest(x, groups=groups) != reference


def test_a_dataset_that_is_not_in_memory_gets_a_fingerprint_from_its_items():
    class Computed(Dataset):
        name, kind, sample_shape = "computed", "points", (1,)

        def __init__(self, length: int, factor: float = 1.0) -> None:
            self.length, self.factor = length, factor

        def __len__(self) -> int:
            return self.length

        def __getitems__(self, indices):
            x = torch.as_tensor(np.asarray(indices, np.float32))[:, None] * self.factor
            return x, torch.zeros(len(x), dtype=torch.int64)

    assert Computed(3000).fingerprint() == Computed(3000).fingerprint()
    digests = {Computed(n, f).fingerprint() for n in (1, 2, 3000) for f in (1.0, 2.0)}
    assert len(digests) == 5  # of one item, 0, the factor cannot be seen
    assert Computed(3)[2][0].tolist() == [2.0]
    assert Computed(3).evaluate_generated(torch.zeros(1, 1)) == {}
    with pytest.raises(NotImplementedError, match="'computed' cannot classify"):
        Computed(3).classify(torch.zeros(1, 1))


def test_an_array_dataset_serves_bytes_as_images_and_floats_as_points():
    dataset = ArrayDataset("images", np.array([[0, 255, 51]], np.uint8))
    assert dataset[0][0].tolist() == pytest.approx([-1.0, 1.0, -0.6])
    assert (dataset.kind, dataset.value_range) == ("image", (-1.0, 1.0))
    points = ArrayDataset("points", np.array([[7.5, -3.0]], np.float32))
    assert points[0][0].tolist() == [7.5, -3.0]
    assert (points.kind, points.value_range) == ("points", None)


def test_an_array_dataset_counts_its_classes():
    x = np.zeros((3, 2), np.float32)
    assert ArrayDataset("points", x, [0, 3, 1]).num_classes == 4
    assert ArrayDataset("points", x, [0, 3, 1], num_classes=6).num_classes == 6
    assert ArrayDataset("points", x).num_classes == 1


def test_an_array_dataset_refuses_what_does_not_fit():
    x = np.zeros((3, 2), np.float32)
    with pytest.raises(TypeError, match="`x` must be uint8 or float32, but got float64"):
        ArrayDataset("points", x.astype(np.float64))
    with pytest.raises(ValueError, match="`x` must hold at least one sample"):
        ArrayDataset("points", x[:0])
    with pytest.raises(ValueError, match=r"`y` must be of shape \(3,\), but got \(2,\)"):
        ArrayDataset("points", x, [0, 1])
    with pytest.raises(ValueError, match=r"`groups` must be of shape \(3,\)"):
        ArrayDataset("points", x, groups=[0])
    assert as_array(torch.ones(2, dtype=torch.bfloat16)).dtype == np.float64


# --- gmm25 ---------------------------------------------------------------------------------------


def test_gmm25_is_the_papers_mixture():
    dataset = make("gmm25")
    x, y = everything(dataset)
    groups = groups_of(dataset)
    assert (len(dataset), dataset.sample_shape, dataset.num_classes) == (25_000, (2,), 25)
    assert (dataset.kind, dataset.value_range) == ("points", None)
    assert (np.bincount(groups) == 1000).all()
    assert (y.numpy() == groups).all()
    # Mode 5x + y lies at (x - 2, y - 2): written out, not computed as the module does.
    centres = [(x, y) for x in (-2, -1, 0, 1, 2) for y in (-2, -1, 0, 1, 2)]
    assert grid_centres().tolist() == [list(map(float, centre)) for centre in centres]
    offsets = (x.double().numpy() - np.array(centres)[groups]) / 0.05
    for axis in (0, 1):
        assert kstest(offsets[:, axis], "norm").pvalue > 1e-3
    assert abs(np.corrcoef(offsets.T)[0, 1]) < 0.03
    # In no order of modes: a prefix holds every mode about equally.
    counts = np.bincount(groups[:5000], minlength=25)
    assert ((counts - 200) ** 2 / 200).sum() < chi2.ppf(0.9999, 24)


@pytest.mark.parametrize("std", [0.02, 0.1])
def test_gmm25_real_samples_belong_to_their_mode_up_to_four_std(std):
    dataset = make("gmm25", std=std)
    x, _ = everything(dataset)
    groups = groups_of(dataset)
    distance = np.linalg.norm(x.double().numpy() - grid_centres()[groups], axis=1)
    near = distance <= 4 * std
    found = dataset.classify(x)
    assert (found[near] == groups[near]).all()
    assert (found[~near] == -1).all()
    assert 0 < (~near).sum() < 30  # 25,000 · exp(-8) = 8.4 expected


def test_gmm25_rare_modes_get_their_share():
    rare = [0, 12, 24]
    dataset = make("gmm25", rare_modes=rare, rare_share=0.2, num_samples=22_600)
    counts = np.bincount(groups_of(dataset), minlength=25)
    assert (counts[rare] == 200).all()  # 22,600 / (22 + 3 · 0.2) = 1,000
    assert (np.delete(counts, rare) == 1000).all()
    even = make("gmm25", rare_modes=rare, rare_share=1.0)
    assert even.fingerprint() == make("gmm25").fingerprint()


@pytest.mark.parametrize("num_samples", [25, 26, 1003, 7919])
def test_gmm25_has_as_many_samples_as_asked_for(num_samples):
    dataset = make("gmm25", num_samples=num_samples)
    counts = np.bincount(groups_of(dataset), minlength=25)
    assert len(dataset) == counts.sum() == num_samples
    assert counts.max() - counts.min() <= 1


def test_mode_counts_stay_within_one_of_the_exact_shares():
    rng = np.random.default_rng(0)
    for _ in range(200):
        weights = rng.random(rng.integers(1, 30)) + 1e-3
        total = int(rng.integers(0, 5000))
        counts = mode_counts(total, weights)
        assert counts.sum() == total
        assert np.abs(counts - total * weights / weights.sum()).max() < 1.0


def test_mixture_metrics_of_constructed_samples():
    dataset = make("gmm25")
    centres = grid_centres()
    off_grid = np.array([[0.5, 0.5], [9.0, 9.0]])
    # Modes 0–9 with 10 samples each, modes 10 and 11 with 9, and 38 samples in no mode.
    modes = np.concatenate([np.repeat(np.arange(10), 10), np.repeat([10, 11], 9)])
    x = np.concatenate([centres[modes], np.repeat(off_grid, 19, axis=0)])
    metrics = dataset.evaluate_generated(torch.from_numpy(x).float())
    assert metrics == {"modes_covered": 10.0, "high_quality": pytest.approx(118 / 156)}
    assert dataset.classify(x).tolist() == [*modes.tolist(), *[-1] * 38]


def test_mixture_metrics_of_few_samples():
    dataset = make("gmm25")
    assert dataset.evaluate_generated(np.zeros((1, 2))) == {
        "modes_covered": 0.0,
        "high_quality": 1.0,
    }
    empty = dataset.evaluate_generated(np.zeros((0, 2)))
    assert empty["modes_covered"] == 0.0
    assert np.isnan(empty["high_quality"])
    assert mixture_metrics(np.full(4, -1), 25) == {"modes_covered": 0.0, "high_quality": 0.0}


def test_a_mode_ends_at_four_standard_deviations():
    dataset = make("gmm25", std=0.05)
    x = np.array([[1.0 + 0.199, -2.0], [1.0 + 0.201, -2.0], [1.0, -2.0 - 0.199], [1.15, -1.85]])
    assert dataset.classify(x).tolist() == [15, -1, 15, -1]  # a disc, not a square


def test_nearest_modes_agree_with_the_distances():
    rng = np.random.default_rng(1)
    x, centres = rng.normal(size=(500, 3)), rng.normal(size=(7, 3))
    distances = np.sqrt(((x[:, None] - centres[None]) ** 2).sum(-1))
    expected = np.where(distances.min(1) <= 1.2, distances.argmin(1), -1)
    assert (nearest_modes(x, centres, 1.2) == expected).all()
    assert 50 < (expected == -1).sum() < 450


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"rare_modes": [3, 25]}, r"rare_modes .* from 0 to 24, but got \[3, 25\]"),
        ({"rare_modes": [3, 3]}, r"rare_modes .* different modes .* but got \[3, 3\]"),
        ({"rare_share": 0.0}, r"rare_share .* in \(0, 1\], but got 0.0"),
        ({"rare_share": 1.5}, r"rare_share .* in \(0, 1\], but got 1.5"),
        ({"std": 0.0}, r"std .* but got 0.0"),
        ({"num_samples": 0}, "num_samples .* from 1 on, but got 0"),
        ({"seed": -1}, "seed .* from 0 on, but got -1"),
        ({"num_samples": 24}, "no sample left for mode 24 .*num_samples=24"),
        ({"rare_modes": [6], "rare_share": 1e-6}, "no sample left for mode 6 .*rare_share=1e-06"),
    ],
)
def test_gmm25_refuses_bad_options(options, message):
    with pytest.raises(UserError, match=message):
        make("gmm25", **options)


# --- gaussian ------------------------------------------------------------------------------------


def test_gaussian_is_the_papers():
    dataset = make("gaussian")
    x, y = everything(dataset)
    groups = groups_of(dataset)
    assert (len(dataset), dataset.sample_shape, dataset.num_classes) == (10_000, (2,), 1)
    assert not y.any()
    assert dataset.group_names == ("major", "minor")
    assert np.bincount(groups).tolist() == [9000, 1000]
    radii = np.linalg.norm(x.double().numpy(), axis=1)
    assert radii[groups == 1].min() > radii[groups == 0].max()
    # Radii of a 2-D Gaussian are Rayleigh: 90 % lie within σ·sqrt(2 ln 10).
    assert dataset.threshold == pytest.approx(3.0 * np.sqrt(2 * np.log(10)), rel=0.02)
    for axis in (0, 1):
        assert kstest(x[:, axis].numpy() / 3.0, "norm").pvalue > 1e-3


@pytest.mark.parametrize("major_ratio", [0.0, 0.5, 0.9, 0.99, 1.0])
@pytest.mark.parametrize("num_samples", [1, 2, 999])
def test_gaussian_minor_count_and_classification(major_ratio, num_samples):
    dataset = make("gaussian", major_ratio=major_ratio, num_samples=num_samples, seed=2)
    groups = groups_of(dataset)
    assert groups.sum() == round(num_samples * (1 - major_ratio))
    assert (dataset.classify(everything(dataset)[0]) == groups).all()


def test_gaussian_points_far_from_any_real_one_are_other():
    dataset = make("gaussian")
    x = [[0.0, 0.0], [0.0, 7.0], [-12.5, 12.5], [18.1, 0.0], [1e30, 0.0]]
    assert dataset.classify(x).tolist() == [0, 1, 1, -1, -1]
    outlier = Gaussian(np.array([[0.0, 1.0], [100.0, 0.0]], np.float32), 3.0, 0.5)
    assert outlier.classify(everything(outlier)[0]).tolist() == [0, 1]


@pytest.mark.parametrize("ratio", [-0.1, 1.1, "most", float("nan")])
def test_gaussian_ratio_outside_the_unit_interval(ratio):
    with pytest.raises(UserError, match=r"major_ratio .* must be a number in \[0, 1\], but got"):
        make("gaussian", major_ratio=ratio)


# --- colours -------------------------------------------------------------------------------------


@pytest.mark.parametrize("ratio", [0.0, 0.5, 0.9, 0.95, 0.99, 1.0])
def test_colored_digits_have_exactly_the_minors_asked_for(ratio):
    dataset = make("colored_digits", ratio=ratio)
    minors = {0.0: 1797, 0.5: 898, 0.9: 180, 0.95: 90, 0.99: 18, 1.0: 0}[ratio]
    groups = groups_of(dataset)
    assert groups.sum() == minors
    assert (dataset.classify(everything(dataset)[0]) == groups).all()
    assert dataset.group_names == ("red", "green")


@pytest.mark.parametrize("size", [8, 16, 32])
def test_colored_digits_are_scikit_learns_in_one_channel(size):
    dataset = make("colored_digits", size)
    x, y = everything(dataset)
    groups = groups_of(dataset)
    assert x.shape == (1797, 3, size, size)
    assert (dataset.kind, dataset.value_range, dataset.num_classes) == ("image", (-1.0, 1.0), 10)
    assert (float(x.min()), float(x.max())) == (-1.0, 1.0)
    digits = load_digits()
    assert (y.numpy() == digits.target).all()
    rows = np.arange(len(x))
    assert (x[rows, 1 - groups] == -1).all()
    assert (x[:, 2] == -1).all()
    assert (dataset.classify(x) == groups).all()
    grey = (x[rows, groups].numpy() + 1) / 2
    if size == 8:
        np.testing.assert_allclose(grey, digits.images / 16, atol=0.5 / 255 + 1e-6)
    else:  # enlarging moves ink about, but keeps it, except near the border
        smaller = grey.reshape(-1, 8, size // 8, 8, size // 8).mean((2, 4))
        assert np.corrcoef(smaller.ravel(), digits.images.ravel())[0, 1] > 0.95


def test_which_digits_are_green_follows_from_the_seed_alone():
    few, many = choose_colors(1000, 0.95, 7), choose_colors(1000, 0.9, 7)
    assert (few.sum(), many.sum()) == (50, 100)
    assert (many[few == GREEN] == GREEN).all()
    assert (choose_colors(1000, 0.95, 7) == few).all()
    assert (choose_colors(1000, 0.95, 8) != few).any()
    # Over seeds, every position is green about as often: 1,000 seeds · 5 %, ± 6 σ.
    often = sum(choose_colors(40, 0.95, seed) for seed in range(1000))
    assert np.abs(often - 50).max() < 6 * np.sqrt(1000 * 0.05 * 0.95)


def test_digits_keeps_the_chosen_ones():
    dataset = make("colored_digits", digits=[3, 8], ratio=0.9)
    x, y = everything(dataset)
    target = load_digits().target
    assert y.tolist() == [int(t) for t in target if t in (3, 8)]
    assert groups_of(dataset).sum() == round(len(x) * 0.1)
    assert dataset.num_classes == 10


def plain(red: float, green: float, blue: float) -> torch.Tensor:
    """An image of one colour, ink in [0, 1]."""
    color = torch.tensor([red, green, blue]) * 2 - 1
    return color[:, None, None].expand(3, 8, 8)


@pytest.mark.parametrize(
    ("ink", "group"),
    [
        ((1.0, 0.0, 0.0), RED),
        ((0.0, 1.0, 0.0), GREEN),
        ((0.0, 0.0, 0.0), -1),  # black
        ((1.0, 1.0, 1.0), -1),  # white
        ((1.0, 1.0, 0.0), -1),  # yellow
        ((0.0, 0.0, 1.0), -1),  # blue
        ((0.001, 0.0, 1.0), -1),  # blue with a trace of red
        ((0.004, 0.001, 0.0), -1),  # all but black
        ((0.001, 0.004, 0.0), -1),
        ((0.5, 0.24, 0.0), RED),
        ((0.5, 0.26, 0.0), -1),
        ((0.24, 0.5, 0.9), GREEN),
        ((0.26, 0.5, 0.0), -1),
    ],
)
def test_the_rule_of_ink(ink, group):
    assert ink_color(plain(*ink)[None]).tolist() == [group]
    assert make("colored_digits").classify(plain(*ink)[None]).tolist() == [group]


def test_ink_is_a_sum_over_pixels_not_a_maximum():
    image = plain(0.0, 0.0, 0.0).clone()
    image[0, 0, 0] = 1.0  # one full red pixel of 64
    image[1, :4] = -1 + 2 * 0.1  # 32 pixels of green 0.1
    assert ink_color(image[None]).tolist() == [GREEN]


def test_colorize_puts_ink_into_one_channel():
    grey = np.array([[[1, 2]], [[3, 4]]], np.uint8)
    assert colorize(grey, np.array([GREEN, RED])).tolist() == [
        [[[0, 0]], [[1, 2]], [[0, 0]]],
        [[[3, 4]], [[0, 0]], [[0, 0]]],
    ]


@pytest.mark.parametrize("ratio", [-0.01, 1.5, 95, None, float("inf")])
def test_a_ratio_outside_the_unit_interval_names_option_and_value(ratio):
    with pytest.raises(
        UserError,
        match=rf"DATA\.options\.ratio .*'colored_digits' must be a number in \[0, 1\].*{ratio}",
    ):
        make("colored_digits", ratio=ratio)


@pytest.mark.parametrize("digits", [[], [3, 3], [10], [-1], "seven"])
def test_bad_digits(digits):
    with pytest.raises(UserError, match=r"DATA\.options\.digits .* different digits from 0 to 9"):
        make("colored_digits", digits=digits)


def test_an_image_size_that_does_not_exist_lists_those_that_do():
    with pytest.raises(UserError, match=r"'colored_digits' comes in 8, 16, 32 px; .* not 28"):
        make("colored_digits", 28)


def test_enlarging_is_bilinear():
    square = np.array([[[0, 100], [200, 60]]], np.uint8)
    rows = [[0, 25, 75, 100], [50, 60, 80, 90], [150, 130, 90, 70], [200, 165, 95, 60]]
    assert enlarge(square, 4).tolist() == [rows]
    assert enlarge(square, 2).tolist() == square.tolist()
