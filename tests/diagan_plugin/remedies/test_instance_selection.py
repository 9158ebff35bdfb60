from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from scipy.stats import multivariate_normal
from sklearn.neighbors import NearestNeighbors
from small_runs import fit, manager, points_config

from diagan_plugin.remedies.instance_selection.density import (
    gaussian_log_density,
    neighbour_density,
)
from diagan_plugin.remedies.instance_selection.options import DENSITIES
from diagan_plugin.remedies.instance_selection.plugin import InstanceSelectionPlugin
from diagan_plugin.remedies.instance_selection.sampler import SelectedSampler
from diagan_plugin.remedies.instance_selection.selection import (
    select_instances,
    selected_counts,
)
from gan_registry.errors import UserError
from gan_registry.evaluation.evaluate import evaluate
from gan_registry.training.trainer import open_run


def test_a_dataset_by_hand() -> None:
    features = np.array([[0.0], [1.0], [10.0], [2.0]])
    # Mean 3.25; from dense to sparse under the Gaussian: 2, 1, 0, 10.
    assert select_instances(features, 0.5).tolist() == [1, 3]
    assert select_instances(features, 0.75).tolist() == [0, 1, 3]
    # Nearest neighbours at distance 1, 1, 8, 1; of equally dense ones the first.
    assert select_instances(features, 0.5, density="knn", k=1).tolist() == [0, 1]
    # Of each class for itself, and at least one.
    labels = [0, 0, 1, 1]
    assert select_instances(features, 0.1, labels, density="knn").tolist() == [0, 2]


def test_densities_agree_with_other_libraries() -> None:
    x = np.random.default_rng(0).normal(size=(200, 3)) @ np.diag([1.0, 2.0, 0.1])
    fitted = multivariate_normal(x.mean(0), np.cov(x.T, bias=True) + 1e-5 * np.eye(3))
    np.testing.assert_allclose(gaussian_log_density(x), fitted.logpdf(x), rtol=1e-8)
    distances, _ = NearestNeighbors(n_neighbors=6).fit(x).kneighbors(x)  # itself is the first
    np.testing.assert_allclose(neighbour_density(x, 5), -distances[:, 5], rtol=1e-4)


def test_more_features_than_samples_and_single_samples() -> None:
    few = np.random.default_rng(0).normal(size=(3, 8))
    assert np.isfinite(gaussian_log_density(few)).all()
    for density in DENSITIES:
        assert len(select_instances(few, 0.67, density=density)) == 2
        assert select_instances(few[:1], 0.5, density=density).tolist() == [0]


@pytest.mark.parametrize("density", DENSITIES)
@pytest.mark.parametrize("seed", range(3))
def test_outliers_go_first(density: str, seed: int) -> None:
    rng = np.random.default_rng(seed)
    features = rng.normal(size=(300, 4))
    outliers = rng.choice(300, 30, replace=False)
    features[outliers] += 8 * rng.choice([-1, 1], size=(30, 4)) + rng.normal(size=(30, 4)) * 4
    kept = select_instances(features, 0.9, density=density)
    assert len(kept) == 270
    assert len(np.intersect1d(kept, outliers)) <= 3


@pytest.mark.parametrize(
    ("features", "arguments"),
    [
        (np.full((3, 2), np.nan), {}), (np.zeros(3), {}), (np.zeros((0, 2)), {}),
        (np.zeros((3, 2)), {"share": 0.0}), (np.zeros((3, 2)), {"density": "kde"}),
        (np.zeros((3, 2)), {"k": 0}), (np.zeros((3, 2)), {"labels": [0, 1]}),
    ],
)  # fmt: skip
def test_odd_input_is_told(features: np.ndarray, arguments: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="Argument"):
        select_instances(features, **{"share": 0.5, **arguments})


def test_an_epoch_visits_each_kept_sample_once_and_selects_once() -> None:
    calls = []

    def select() -> np.ndarray:
        calls.append(1)
        return np.array([2, 5, 7])

    sampler = SelectedSampler(3, select, seed=1)
    assert not calls
    assert sampler.state_dict() == {}
    for epoch in range(4):
        assert sorted(sampler.draw(3 * epoch, 3 * epoch + 3)) == [2, 5, 7]
    assert len(calls) == 1
    other = SelectedSampler(3, select, seed=1)
    other.load_state_dict(sampler.state_dict())
    np.testing.assert_array_equal(other.draw(1, 8), sampler.draw(1, 8))
    assert len(calls) == 1
    with pytest.raises(UserError, match="takes no weights"):
        sampler.set_weights(np.ones(3), 0)


def _plugins() -> Any:
    return manager(instance_selection=InstanceSelectionPlugin())


def config(**selection: Any) -> Any:
    made = points_config(RUN__sampler="instance_selection", OPTIMIZATION__total_steps=4)
    made.PLUGINS = {"instance_selection": {"features": "raw", "within": "all", **selection}}
    return made


def test_a_run_draws_from_the_dense_part_and_is_judged_by_the_whole(tmp_path: Path) -> None:
    run = fit(config(share=0.4), tmp_path, _plugins())
    kept = run.sampler.kept
    assert len(kept) == run.sampler.num_samples == 80
    drawn = run.sampler.draw(0, 80)
    assert sorted(drawn) == kept.tolist()
    # Densest is the middle of the grid; mode 0, a corner of it, is gone.
    x = run.dataset.__getitems__(kept)[0]
    assert x.norm(dim=1).max() < run.dataset.__getitems__(range(200))[0].norm(dim=1).max() - 0.5
    result = evaluate(run)
    assert result["instance_selection"]["samples"] == 80
    assert result["instance_selection"]["share_of_groups"]["mode 0"] == 0.0
    assert result["groups"]["mode 0"]["share_data"] > 0  # the dataset is whole
    by_class = fit(config(share=0.4, within="class"), plugins=_plugins())
    assert np.bincount(run.dataset.labels[by_class.sampler.kept]).tolist() == [3] * 25
    opened = open_run(tmp_path, _plugins())
    np.testing.assert_array_equal(opened.sampler.kept, kept)


def test_fewer_samples_than_a_batch_are_refused() -> None:
    with pytest.raises(UserError, match="leaves 10 of 200 samples, fewer than a batch of 16"):
        fit(config(share=0.05), plugins=_plugins())


def test_counts_of_classes() -> None:
    assert selected_counts([1, 1, 1, 0, 7, 7], 0.5).tolist() == [1, 2, 1]
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 4, 100)
    kept = select_instances(rng.normal(size=(100, 2)), 0.3, labels)
    assert np.bincount(labels[kept]).tolist() == selected_counts(labels, 0.3).tolist()
    assert torch.from_numpy(kept).dtype == torch.int64
