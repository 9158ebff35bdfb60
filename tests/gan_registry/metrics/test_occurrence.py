from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from gan_registry.datasets.coloring import ink_color
from gan_registry.errors import UserError
from gan_registry.metrics.base import Batch, MetricContext
from gan_registry.metrics.occurrence import (
    ClassifierOccurrence,
    GroupOccurrence,
    group_counts,
    majority_groups,
)

CONTEXT = MetricContext(sample_shape=(3, 8, 8), group_names=("red", "green"))


def one_hot(classes: list[int], num_classes: int, sure: float = 1.0) -> Tensor:
    """Probabilities with `sure` for the class and the rest shared out."""
    rest = (1.0 - sure) / (num_classes - 1)
    probabilities = torch.full((len(classes), num_classes), rest)
    probabilities[torch.arange(len(classes)), torch.tensor(classes, dtype=torch.long)] = sure
    return probabilities


def test_samples_of_no_group_are_counted_last():
    assert group_counts(torch.tensor([0, 2, 2, -1]), 4).tolist() == [1, 0, 2, 0, 1]
    assert group_counts(torch.empty(0, dtype=torch.int64), 2).tolist() == [0, 0, 0]


@pytest.mark.parametrize("bad", [-2, 2])
def test_a_group_that_does_not_exist_is_refused(bad):
    with pytest.raises(ValueError, match=r"in \[-1, 2\)"):
        group_counts(torch.tensor([0, bad]), 2)


def test_the_majority_of_its_real_samples_names_a_class():
    confusion = torch.tensor([[5, 4], [0, 1], [0, 0], [3, 3]])
    assert majority_groups(confusion).tolist() == [0, 1, -1, 0]


@pytest.mark.parametrize("size", [100, 3])
def test_occurrence_by_the_rule_of_the_data(size):
    images = -torch.ones(20, 3, 8, 8)
    images[:13, 0], images[13:18, 1] = 1.0, 1.0  # 13 red, 5 green, 2 blank
    groups = torch.from_numpy(ink_color(images))
    metric = GroupOccurrence(CONTEXT)
    metric.update_real(Batch(groups=torch.tensor([0] * 9 + [1])))
    metric.update_fake(Batch(groups=torch.ones(50, dtype=torch.int64)))
    metric.reset_fake()
    for part in groups.split(size):
        metric.update_fake(Batch(groups=part))
    assert metric.compute() == {
        "occurrence_other": pytest.approx(0.1),
        "groups": {
            "red": {"occurrence": pytest.approx(0.65), "occurrence_real": pytest.approx(0.9)},
            "green": {"occurrence": pytest.approx(0.25), "occurrence_real": pytest.approx(0.1)},
        },
    }


def test_occurrence_by_a_classifier_of_label_and_group():
    # Six classes: red 0, 1, 2 and green 0, 1, 2; class 5 occurs nowhere in the real data.
    metric = ClassifierOccurrence(CONTEXT)
    real = [0, 1, 2, 0, 1, 2, 0, 1, 3, 4]
    groups = torch.tensor([0] * 8 + [1] * 2)
    metric.update_real(Batch(probabilities=one_hot(real[:4], 6, 0.5), groups=groups[:4]))
    metric.update_real(Batch(probabilities=one_hot(real[4:], 6, 0.9), groups=groups[4:]))
    metric.update_fake(Batch(probabilities=one_hot([3] * 5, 6)))
    metric.reset_fake()
    metric.update_fake(Batch(probabilities=one_hot([0, 0, 1, 2, 2], 6, 0.4)))
    metric.update_fake(Batch(probabilities=one_hot([4, 3, 5], 6, 0.4)))
    result = metric.compute()
    assert result["occurrence_other"] == pytest.approx(1 / 8)  # nobody knows what class 5 is
    assert result["groups"]["red"]["occurrence"] == pytest.approx(5 / 8)
    assert result["groups"]["green"]["occurrence"] == pytest.approx(2 / 8)
    assert result["groups"]["green"]["occurrence_real"] == pytest.approx(0.2)
    assert all(group["classifier_accuracy"] == 1.0 for group in result["groups"].values())


def test_a_classifier_blind_to_the_group_is_exposed_by_its_accuracy():
    # The classes say nothing about the group, so all stand for the majority.
    metric = ClassifierOccurrence(CONTEXT)
    classes = [i % 4 for i in range(100)]
    groups = torch.tensor([1 if i >= 90 else 0 for i in range(100)])
    metric.update_real(Batch(probabilities=one_hot(classes, 4), groups=groups))
    metric.update_fake(Batch(probabilities=one_hot([0, 1], 4)))
    result = metric.compute()["groups"]
    assert result["green"] == {
        "occurrence": 0.0,
        "occurrence_real": pytest.approx(0.1),
        "occurrence_real_seen": 0.0,
        "classifier_accuracy": 0.0,
    }
    assert result["red"]["classifier_accuracy"] == 1.0
    assert result["red"]["occurrence_real_seen"] == 1.0  # the green ones are taken for red


def test_real_samples_of_no_group_do_not_name_a_class():
    metric = ClassifierOccurrence(CONTEXT)
    metric.update_real(Batch(probabilities=one_hot([0, 0, 0], 2), groups=torch.tensor([-1, -1, 1])))
    metric.update_fake(Batch(probabilities=one_hot([0, 1], 2).half()))
    result = metric.compute()
    assert result["groups"]["green"]["occurrence"] == 0.5
    assert result["groups"]["green"]["occurrence_real"] == pytest.approx(1 / 3)
    assert "classifier_accuracy" not in result["groups"]["red"]


@pytest.mark.parametrize("kind", [GroupOccurrence, ClassifierOccurrence])
def test_results_have_a_direction_and_data_without_groups_are_refused(kind):
    metric = kind(CONTEXT)
    batch = Batch(probabilities=one_hot([0, 1], 2), groups=torch.tensor([0, 1]))
    metric.update_real(batch)
    with pytest.raises(UserError, match="at least 1 generated"):
        metric.compute()
    metric.update_fake(batch)
    result = metric.compute()
    names = {name for group in result["groups"].values() for name in group}
    assert (result.keys() - {"groups"}) | names == kind.directions.keys()
    with pytest.raises(UserError, match="needs data with groups"):
        kind(MetricContext(sample_shape=(2,)))


def test_generated_samples_of_unknown_group_are_refused():
    with pytest.raises(UserError, match="occurrence_classifier"):
        GroupOccurrence(CONTEXT).update_fake(Batch(samples=torch.zeros(1, 3, 8, 8)))


def test_probabilities_that_are_not_finite_are_refused_with_their_number():
    metric = ClassifierOccurrence(CONTEXT)
    metric.update_real(Batch(probabilities=one_hot([0, 1], 2), groups=torch.tensor([0, 1])))
    bad = one_hot([0] * 6, 2)
    bad[1, 0], bad[4] = math.nan, math.nan
    metric.update_fake(Batch(probabilities=bad))
    with pytest.raises(UserError, match="2 of 6 generated"):
        metric.compute()
    metric.reset_fake()
    metric.update_fake(Batch(probabilities=one_hot([0], 2)))
    assert metric.compute()["groups"]["red"]["occurrence"] == 1.0


def test_a_classifier_without_real_samples_of_a_group_is_refused():
    metric = ClassifierOccurrence(CONTEXT)
    metric.update_fake(Batch(probabilities=one_hot([0], 2)))
    with pytest.raises(UserError, match="at least 1 real"):
        metric.compute()
