from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError
from small_runs import assert_equal_runs, digits_config, fit, points_config

from gan_registry.datasets.base import ArrayDataset
from gan_registry.datasets.holdout import hold_out
from gan_registry.errors import UserError
from gan_registry.evaluation.evaluate import evaluate


def dataset(groups: Any = None, labels: Any = None, size: int = 100) -> ArrayDataset:
    x = np.arange(size, dtype=np.float32).reshape(-1, 1)
    names = () if groups is None else tuple(f"g{i}" for i in range(max(groups) + 1))
    classes = 1 if labels is None else max(labels) + 1
    return ArrayDataset(
        "demo", x, labels, num_classes=classes, groups=groups, group_names=names
    )  # fmt: skip


@pytest.mark.parametrize("share", [0.01, 0.1, 0.25, 0.5])
def test_every_sample_is_on_one_side(share: float) -> None:
    data = dataset()
    kept, held = hold_out(data, share, seed=3)
    assert len(held) == round(share * 100)
    assert sorted([*kept.indices, *held.indices]) == list(range(100))
    x, _ = held.__getitems__([0])
    assert x.item() == held.indices[0]  # indices are those of the part
    assert len({data.fingerprint(), kept.fingerprint(), held.fingerprint()}) == 3


def test_the_choice_follows_from_the_seed() -> None:
    first, again, other = (hold_out(dataset(), 0.2, seed)[1].indices for seed in (1, 1, 2))
    assert (first == again).all()
    assert (first != other).any()


def test_groups_and_classes_give_their_share() -> None:
    groups = [0] * 70 + [1] * 20 + [2] * 10
    labels = [i % 2 for i in range(100)]
    kept, held = hold_out(dataset(groups, labels), 0.2, seed=0)
    assert held.groups is not None
    assert kept.groups is not None
    assert held.labels is not None
    assert held.group_names == ("g0", "g1", "g2")
    for group in range(3):
        for label in range(2):
            whole = sum(g == group and y == label for g, y in zip(groups, labels, strict=True))
            part = int(((held.groups == group) & (held.labels == label)).sum())
            assert abs(part - 0.2 * whole) < 1


@pytest.mark.parametrize("seed", range(20))
def test_a_group_of_one_sample_is_trained_on(seed: int) -> None:
    kept, _ = hold_out(dataset([0] * 9 + [1], size=10), 0.5, seed)
    assert kept.groups is not None
    assert set(kept.groups) == {0, 1}


def test_nothing_to_hold_out_is_named() -> None:
    with pytest.raises(UserError, match=r"DATA\.holdout = 0\.001 holds no sample out of the 100"):
        hold_out(dataset(), 0.001, seed=0)


@pytest.mark.parametrize("share", [-0.1, 0.6, True])
def test_shares_that_make_no_sense_are_refused(share: Any) -> None:
    with pytest.raises((UserError, ValidationError), match="holdout"):
        points_config(DATA__holdout=share)


def test_a_run_trains_on_the_rest_and_offers_what_is_held_out(tmp_path: Path) -> None:
    config = digits_config(DATA__holdout=0.25, OPTIMIZATION__total_steps=3)
    run = fit(config, tmp_path)
    assert run.holdout is not None
    whole = len(run.dataset) + len(run.holdout)
    assert len(run.holdout) == round(0.25 * whole)
    result = evaluate(run)
    assert sum(entry["count"] for entry in result["groups"].values()) == len(run.dataset)
    assert sum(e["share_data"] for e in result["groups"].values()) == pytest.approx(1.0)
    drawn = run.sampler.draw(0, 5 * len(run.dataset))
    assert set(drawn) == set(range(len(run.dataset)))
    # It goes on with the same split; another share is another run.
    longer = digits_config(DATA__holdout=0.25)
    assert_equal_runs(fit(longer, tmp_path), fit(longer))
    with pytest.raises(UserError, match=r"DATA\.holdout"):
        fit(digits_config(DATA__holdout=0.3), tmp_path)


def test_without_the_key_nothing_is_held_out() -> None:
    run = fit(points_config(OPTIMIZATION__total_steps=1))
    assert run.holdout is None
    assert len(run.dataset) == 200
