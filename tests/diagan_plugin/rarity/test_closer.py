"""Broken samples are planted among real digits; what is found has to be they."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from sklearn.datasets import load_digits

from diagan_plugin.dia.exclusion import read_listed
from diagan_plugin.rarity import closer, sections
from diagan_plugin.rarity.closer import CloserLook, look_closer, write_broken
from diagan_plugin.rarity.clusters import Cluster, Factor
from diagan_plugin.rarity.neighbours import doubt_labels, nearest, projection
from diagan_plugin.rarity.verdicts import (
    BROKEN,
    MISLABELLED,
    RARE,
    judge,
    persistence_of,
    sentence,
)
from diagan_plugin.rarity.wording import cluster_sentence, summary
from diagan_plugin.report.diagnosis import LIKELY, Diagnosis
from diagan_plugin.scoring.exclusion import without_emphasis
from diagan_plugin.scoring.score import sampling_probabilities
from gan_registry.datasets.base import ArrayDataset
from gan_registry.features.base import FeatureContext
from gan_registry.features.descriptor import Descriptor
from gan_registry.features.raw import Raw
from gan_registry.report.document import ImageGrid, Report, Table, Text

PLANTED = 18  # 1 % of 1,797


def digits(seed: int, noise: int = PLANTED, wrong: int = PLANTED) -> tuple[Any, ...]:
    """Real digits, some replaced by noise and some with another label; and which these are."""
    rng = np.random.default_rng(seed)
    data = load_digits()
    x = np.clip(data.images * 16, 0, 255).astype(np.uint8)[:, None]
    y = data.target.astype(np.int64)
    order = rng.permutation(len(x))
    noisy, mislabelled = order[:noise], order[noise : noise + wrong]
    kinds = [rng.integers(0, 256, (noise, 1, 8, 8)), rng.normal(127, 40, (noise, 1, 8, 8))]
    x[noisy] = np.clip(kinds[seed % 2], 0, 255)
    y[mislabelled] = (y[mislabelled] + rng.integers(1, 10, wrong)) % 10
    return x, y, noisy, mislabelled


def diagnosis_of(score: Any, **given: Any) -> Diagnosis:
    score = np.asarray(score, np.float64)
    count = len(score)
    values = {
        "ldrm": score,
        "ldrv": np.full(count, 0.04),
        "score": score,
        "probability": np.full(count, 1 / count),
        "count": np.full(count, 50),
        "group": np.full(count, -1),
    }
    return Diagnosis(**(values | given))


def look(x: Any, y: Any = None, score: Any = None, seed: int = 0, **given: Any) -> CloserLook:
    dataset = ArrayDataset("made", x, y, num_classes=1 if y is None else 10)
    if score is None:
        score = np.random.default_rng(seed).standard_normal(len(x))
    extractor = (Descriptor if dataset.kind == "image" else Raw)(FeatureContext(dataset))
    found = look_closer(dataset, diagnosis_of(score), extractor, seed=seed, **given)
    assert found is not None
    return found


@pytest.mark.parametrize("seed", range(4))
def test_noise_and_wrong_labels_among_digits_are_found(seed: int) -> None:
    x, y, noisy, mislabelled = digits(seed)
    found = look(x, y, seed=seed)
    broken = np.flatnonzero(found.likely == BROKEN)
    assert np.isin(broken, noisy).mean() >= 0.95
    assert np.isin(noisy, broken).mean() >= 0.9
    doubted = np.flatnonzero(found.likely == MISLABELLED)
    assert np.isin(doubted, mislabelled).mean() >= 0.8
    assert np.isin(mislabelled, doubted).mean() >= 0.8
    rows = found.rows_of(BROKEN)
    assert np.all(np.diff(found.judged.oddness[rows]) <= 0)
    assert "Looks like noise" in sentence(found.judged, int(rows[0]))


def test_clean_digits_are_not_broken() -> None:
    x, y, *_ = digits(0, noise=0, wrong=0)
    found = look(x, y)
    assert (found.likely == BROKEN).sum() == 0
    assert (found.likely == MISLABELLED).sum() <= 3


def test_a_rare_group_is_rare_and_not_broken() -> None:
    """Thirty digits drawn in negative lie far from all others, and have each other."""
    x, *_ = digits(0, noise=0, wrong=0)
    rare = np.arange(30)
    x[rare] = 255 - x[rare]
    score = np.random.default_rng(0).standard_normal(len(x))
    score[rare] += 6
    found = look(x, None, score)
    assert (found.likely[rare] == RARE).mean() > 0.9
    assert (found.likely == BROKEN).sum() == 0
    text = sentence(found.judged, int(found.rows_of(RARE)[0]))
    assert text.startswith("Missed in 100.0")
    assert found.clusters
    assert np.isin(found.indices[found.clusters[0].rows], rare).mean() > 0.9
    assert (found.cluster[rare] == 0).mean() > 0.9
    assert (found.cluster[~np.isin(np.arange(len(x)), rare)] == -1).mean() > 0.95


def test_a_high_score_that_comes_and_goes_is_not_rare() -> None:
    x, *_ = digits(0, noise=0, wrong=0)
    score = np.random.default_rng(0).standard_normal(len(x))
    score[:20] += 6
    dataset = ArrayDataset("made", x)
    restless = diagnosis_of(score, ldrv=np.full(len(x), 1e4))
    found = look_closer(dataset, restless, Descriptor(FeatureContext(dataset)))
    assert found is not None
    assert not (found.likely == RARE).any()


def test_single_colours_are_broken() -> None:
    x, *_ = digits(0, noise=0, wrong=0)
    x[[4, 9]] = np.array([0, 200], np.uint8)[:, None, None, None]
    found = look(x)
    assert np.flatnonzero(found.likely == BROKEN).tolist() == [4, 9]
    assert sentence(found.judged, 4).startswith("A single colour.")


def test_what_many_samples_have_is_no_defect() -> None:
    x, *_ = digits(0, noise=0, wrong=0)
    rng = np.random.default_rng(0)
    x[:300] = rng.integers(0, 256, (300, 1, 8, 8))  # a sixth of the data is textured
    assert (look(x).likely == BROKEN).sum() == 0


def test_points_far_from_all_others_are_broken() -> None:
    x = np.random.default_rng(0).standard_normal((800, 2)).astype(np.float32)
    x[:3] = [[60, 0], [0, 60], [-60, -60]]
    found = look(x)
    assert np.flatnonzero(found.likely == BROKEN).tolist() == [0, 1, 2]
    assert "Nothing in the data looks like it" in sentence(found.judged, 0)
    assert "over 1,000 times as far" not in sentence(found.judged, 0)
    x[3:770] = x[3]  # copies: what is usual is no distance at all
    found = look(x)
    assert sentence(found.judged, 0).startswith(
        "Nothing in the data looks like it: its nearest neighbours are over 1,000 times as far as"
    )


def test_labels_that_the_features_do_not_know_are_not_judged() -> None:
    x, y, *_ = digits(0)
    found = look(x, np.random.default_rng(0).integers(0, 10, len(y)))
    assert found.judged.labels is not None
    assert found.judged.labels.agreement < 0.5
    assert not found.judged.judged_labels
    assert not (found.likely == MISLABELLED).any()
    assert summary(found).endswith("or so many labels are wrong.")  # as they are here


def test_a_doubted_label_is_named_with_the_other_one() -> None:
    x, y, _, mislabelled = digits(0)
    found = look(x, y)
    row = int(np.intersect1d(mislabelled, np.flatnonzero(found.likely == MISLABELLED))[0])
    names = [f"digit {i}" for i in range(10)]
    text = sentence(found.judged, row, names, int(y[row]))
    truth = load_digits().target[row]
    assert text.startswith(f"Labelled “digit {y[row]}”, but it looks like “digit {truth}”")


def test_only_some_of_many_samples_are_looked_at() -> None:
    x, y, noisy, _ = digits(0)
    score = np.random.default_rng(0).standard_normal(len(x))
    score[noisy] = -9.0
    found = look(x, y, score, most=600)
    assert found.indices.size <= 600
    assert found.num_samples == len(found.likely) == len(x)
    assert np.isin(np.flatnonzero(found.likely == BROKEN), noisy).all()
    assert (found.likely[noisy] == BROKEN).mean() > 0.9
    unseen = ~np.isin(np.arange(len(x)), found.indices)
    assert not found.likely[unseen].any()


def test_too_few_samples_are_not_judged() -> None:
    dataset = ArrayDataset("few", np.zeros((closer.MIN_SAMPLES - 1, 2), np.float32))
    extractor = Raw(FeatureContext(dataset))
    assert look_closer(dataset, diagnosis_of(np.zeros(len(dataset))), extractor) is None


@pytest.mark.parametrize("score", [0.0, np.nan])
def test_scores_that_say_nothing_make_no_sample_rare(score: float) -> None:
    x, y, noisy, _ = digits(1)
    found = look(x, y, np.full(len(x), score))
    assert not (found.likely == RARE).any()
    assert not found.clusters
    assert (found.likely[noisy] == BROKEN).all()


def test_data_that_are_all_alike_have_no_broken_samples() -> None:
    found = look(np.zeros((60, 1, 8, 8), np.uint8), np.arange(60) % 10)
    assert not found.likely.any()


# Persistence.


def test_persistence_is_counted_where_there_is_a_history() -> None:
    history = np.zeros((10, 5), np.float32)
    history[:7, 3] = 1.0  # above the middle in 7 of 10 records
    history[7:, 3] = -1.0
    ldrm = np.array([0.0, 2.0, -2.0, 0.0, 0.0, np.nan])
    shares = persistence_of(
        np.array([1, 2, 3, 5]), ldrm, np.full(6, 4.0), history, np.array([4, 0, 5, 3, 2])
    )
    assert shares[0] == pytest.approx(0.841, abs=1e-3)  # one deviation above
    assert shares[1] == 0.0
    assert shares[2] == 0.7
    assert shares[3] == 0.0  # followed, and never above
    without = persistence_of(
        np.array([5]), ldrm, np.full(6, 4.0), np.zeros((0, 0), np.float32), np.zeros(0, np.int64)
    )
    assert np.isnan(without).all()


# Neighbours.


def test_a_sample_is_not_its_own_neighbour() -> None:
    points = np.array([[0.0], [1.0], [3.0], [7.0]])
    distances, numbers = nearest(points, 2)
    assert distances.tolist() == [[1, 3], [1, 2], [2, 3], [4, 6]]
    assert numbers.tolist() == [[1, 2], [0, 2], [1, 0], [2, 1]]
    assert nearest(points, 10)[0].shape == (4, 3)


def test_labels_do_not_vouch_for_themselves() -> None:
    """Each label is judged by others only: alone of its kind, it has no probability at all."""
    rng = np.random.default_rng(0)
    points = rng.standard_normal((200, 3))
    labels = np.where(points[:, 0] > 0, 5, 2)
    labels[7] = 9
    doubt = doubt_labels(points, labels, nearest(points))
    assert doubt.own[7] == 0.0
    assert doubt.other[7] == (5 if points[7, 0] > 0 else 2)
    assert doubt.votes[7] >= 5
    assert doubt.agreement > 0.85
    assert doubt.doubt[7] == pytest.approx(np.log((doubt.likeliest[7] + 0.02) / 0.02))


def test_the_projection_of_new_points_is_that_of_the_old() -> None:
    x = np.random.default_rng(0).standard_normal((50, 20)).astype(np.float32)
    project = projection(x, 5)
    assert project(x).shape == (50, 5)
    assert np.allclose(project(x[:3]), project(x)[:3], atol=1e-5)
    assert np.allclose(projection(x[:, :3], 5)(x[:2, :3]), x[:2, :3] - x[:, :3].mean(0), atol=1e-5)


# The list.


def test_the_list_is_one_a_line_and_replaced(tmp_path: Path) -> None:
    x, y, noisy, _ = digits(0)
    found = look(x, y)
    path = tmp_path / "broken.txt"
    count = write_broken(found, path, lambda i: {noisy[0]: "#odd.png"}.get(i, f"a/{i}.png"))
    lines = path.read_text().splitlines()
    listed = [line for line in lines if not line.startswith("#")]
    assert len(listed) == count == (found.likely >= BROKEN).sum()
    assert str(noisy[0]) in listed  # its name would be a remark
    assert f"a/{noisy[1]}.png" in listed
    assert lines[1] == f"# {LIKELY[BROKEN]}, the clearest first"
    x, *_ = digits(0, noise=0)
    assert write_broken(look(x), path) == 0
    assert not path.exists()


@pytest.mark.parametrize("seed", [0, 1])
def test_with_the_list_noise_does_not_take_over_the_draws(tmp_path: Path, seed: int) -> None:
    x, y, noisy, _ = digits(seed)
    score = 0.5 * np.exp(0.5 * np.random.default_rng(seed).standard_normal(len(x)))
    score[noisy] = 1.5 * score.max()
    path = tmp_path / "broken.txt"
    write_broken(look(x, y, score, seed), path)
    listed = read_listed(path, ArrayDataset("made", x, y, num_classes=10))
    before = sampling_probabilities(score, 0.01, 50.0)
    after = without_emphasis(before, listed)
    assert before[noisy].sum() > 5 * PLANTED / len(x)
    assert after[noisy].sum() <= 1.2 * PLANTED / len(x)


# The sections.


def texts(report: Report, anchor: str) -> str:
    (section,) = [s for s in report.sections if s.anchor == anchor]
    parts = [b.text if isinstance(b, Text) else getattr(b, "caption", "") for b in section.blocks]
    return "\n".join(parts)


def test_sections_show_each_kind_with_number_and_reason() -> None:
    x, y, noisy, _ = digits(0)
    dataset = ArrayDataset("made", x, y, num_classes=10)
    found = look(x, y)
    report = Report("A run")
    sections.add_sections(report, dataset, found, listed=36, name=lambda i: f"n{i}.png")
    assert "Of 1,797 training samples" in texts(report, "rare-or-broken")
    assert "--dia-exclude FILE" in texts(report, "rare-or-broken")
    assert "No cluster" in texts(report, "clusters")
    (section,) = [s for s in report.sections if s.anchor == "rare-or-broken"]
    grid = next(b for b in section.blocks if isinstance(b, ImageGrid))
    table = next(b for b in section.blocks if isinstance(b, Table))
    assert {int(label[1:]) for label in grid.labels} <= set(noisy.tolist())
    assert [f"#{row[0]}" for row in table.rows] == list(grid.labels)
    assert all(row[1] == f"n{row[0]}.png" and "noise" in row[2] for row in table.rows)


@pytest.mark.parametrize(
    ("weighted", "told"),
    [
        (False, "by the discriminator's scores. Measured, they are generated about 15 times too "
                "often (10 to 20 times too often): the discriminator's opinion is not borne out."),
        (True, "by the discriminator's scores of phase 1. Measured at the end, they are generated "
               "about 15 times too often (10 to 20 times too often): phase 2 has overdone it."),
    ],
)  # fmt: skip
def test_weights_that_acted_since_are_no_error_of_the_discriminators(weighted, told) -> None:
    rows = np.arange(10)
    cluster = Cluster(rows, 0.1, 0.001, 2.0, Factor(9.0, 8.0, 10.0), Factor(1 / 15, 1 / 20, 0.1))
    found = CloserLook(100, np.arange(50), None, [cluster], None, weighted)  # type: ignore[arg-type]
    assert told in cluster_sentence(found, cluster)


@pytest.mark.parametrize(
    ("measured", "weighted", "told"),
    [
        (Factor(1.2, 0.8, 1.7), False,
         ", which may be chance: the discriminator's opinion is not borne out. p"),
        (Factor(1.2, 0.8, 1.7), True, "too rarely), which may be chance. p"),
        (Factor(1.2, 0.8, 9.0), False, "too rarely), which may be chance. p"),
    ],
)  # fmt: skip
def test_a_count_that_does_not_reach_what_d_says_is_told(measured, weighted, told) -> None:
    cluster = Cluster(np.arange(10), 0.1, 0.001, 2.0, Factor(9.0, 8.0, 10.0), measured)
    found = CloserLook(100, np.arange(50), None, [cluster], None, weighted)  # type: ignore[arg-type]
    assert told in cluster_sentence(found, cluster)


def test_features_that_fail_cost_the_section_only(tmp_path: Path, caplog: Any) -> None:
    dataset = ArrayDataset("plane", np.full((80, 2), np.nan, np.float32))
    features = type("Features", (dict,), {"owner": lambda self, name: "gan_registry"})(raw=Raw)
    run: Any = SimpleNamespace(
        dataset=dataset,
        config=SimpleNamespace(RUN=SimpleNamespace(eval_features="auto", num_eval=10)),
        plugins=SimpleNamespace(catalogs=SimpleNamespace(features=features)),
        seed=0,
        folder=tmp_path,
    )
    report = Report("A run")
    assert sections.add_closer_look(report, run, diagnosis_of(np.zeros(80))) is None
    assert "not finite" in texts(report, "rare-or-broken")
    assert "not looked at" in caplog.text


def test_judge_needs_no_labels() -> None:
    points = np.random.default_rng(0).standard_normal((60, 2))
    seen: Any = SimpleNamespace(coherence=np.full((60, 2), np.nan), flat=np.zeros(60, bool))
    zeros = np.zeros(60)
    judged = judge(seen, points, nearest(points), zeros, zeros, np.inf, np.zeros(60, np.int64))
    assert judged.labels is None


@pytest.mark.parametrize(
    ("low", "told"),
    [
        (0.4, "not once in what was looked at, which may be chance"),
        (2.0, "more than 2.0 times too rarely."),
    ],
)
def test_a_cluster_of_which_nothing_is_generated(low: float, told: str) -> None:
    cluster = Cluster(np.arange(10), 0.1, 0.001, 2.0, None, Factor(np.inf, low, np.inf))
    found = CloserLook(100, np.arange(50), None, [cluster], None)  # type: ignore[arg-type]
    assert f"they are generated {told}" in cluster_sentence(found, cluster)
