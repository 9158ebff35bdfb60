from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors import safe_open
from safetensors.numpy import save_file

from diagan_plugin.report.diagnosis import Diagnosis, group_table
from gan_registry.errors import UserError

NAN = float("nan")


def make(num: int = 5, **changes: Any) -> Diagnosis:
    rng = np.random.default_rng(0)
    values: dict[str, Any] = {
        **{name: rng.random(num) for name in ("ldrm", "ldrv", "score", "probability")},
        "count": np.full(num, 50),
        "group": np.arange(num) % 2,
        "history": rng.random((3, 2)),
        "history_steps": [0, 10, 20],
        "history_indices": [1, 4],
        "metadata": {"k": 0.3, "phase_boundary": 4001, "first_step": "x"},
    }
    return Diagnosis(**{**values, **changes})


def test_round_trip_is_exact(tmp_path: Path) -> None:
    diagnosis = make(ldrm=[1.0, NAN, 1e-300, -np.inf, 1 / 3])
    diagnosis.save(tmp_path / "diagnosis.safetensors")
    loaded = Diagnosis.load(tmp_path / "diagnosis.safetensors")
    for name in ("ldrm", "ldrv", "score", "probability", "count", "group"):
        before, after = getattr(diagnosis, name), getattr(loaded, name)
        assert before.dtype == after.dtype
        assert before.tobytes() == after.tobytes()
    assert (loaded.history == diagnosis.history).all()
    assert loaded.history_steps.tolist() == [0, 10, 20]
    assert loaded.metadata == {"k": "0.3", "phase_boundary": "4001", "first_step": "x"}
    assert loaded.phase_boundary == 4001
    assert loaded.first_step is None  # no number
    assert loaded.last_step is None  # absent
    with safe_open(tmp_path / "diagnosis.safetensors", framework="numpy") as file:
        assert file.get_tensor("score").dtype == np.float64
        assert file.get_tensor("group").dtype == np.int64
        assert file.get_tensor("history").dtype == np.float32


def test_without_history_and_without_samples(tmp_path: Path) -> None:
    empty = {name: [] for name in ("ldrm", "ldrv", "score", "probability", "count", "group")}
    Diagnosis(**empty).save(tmp_path / "d")  # type: ignore[arg-type]
    loaded = Diagnosis.load(tmp_path / "d")
    assert loaded.num_samples == 0
    assert loaded.history.shape == (0, 0)


def test_missing_and_broken_files_say_what_to_do(tmp_path: Path) -> None:
    path = tmp_path / "diagnosis.safetensors"
    with pytest.raises(UserError, match=r"no diagnosis at .*--diagnose"):
        Diagnosis.load(path)
    make().save(path)
    whole = path.read_bytes()
    for broken in (b"", b"text", whole[:30], whole[:-5]):
        path.write_bytes(broken)
        with pytest.raises(UserError, match="Cannot read the diagnosis"):
            Diagnosis.load(path)
    save_file({"ldrm": np.zeros(3)}, path)
    with pytest.raises(UserError, match="lacks ldrv, score"):
        Diagnosis.load(path)
    tensors = {name: np.zeros(3) for name in ("ldrm", "ldrv", "score", "probability", "count")}
    save_file({**tensors, "group": np.zeros(4, np.int64)}, path)
    with pytest.raises(UserError, match=r"Cannot use the diagnosis .*group"):
        Diagnosis.load(path)


def test_a_failed_save_keeps_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "diagnosis.safetensors"
    make().save(path)
    before = path.read_bytes()
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError):
        make().save(tmp_path / "file" / "diagnosis.safetensors")
    assert path.read_bytes() == before
    assert sorted(p.name for p in tmp_path.iterdir()) == ["diagnosis.safetensors", "file"]


@pytest.mark.parametrize(
    "changes",
    [{"score": np.zeros(4)}, {"history": np.zeros((2, 2))}, {"history_indices": [1, 5]}],
)
def test_shapes_that_do_not_fit_are_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(changes))):
        make(**changes)


def test_group_table_against_a_loop() -> None:
    rng = np.random.default_rng(1)
    group = rng.integers(-1, 4, 300)
    group[group == 2] = 3  # a group without samples
    values = {key: rng.standard_normal(300) for key in ("ldrm", "ldrv", "score")}
    drawn = rng.integers(0, 9, 300)
    rows = group_table(group, **values, names=("a", "b", "c"), drawn=drawn)
    assert [row.name for row in rows] == ["a", "b", "c", "group 3", "unknown"]
    for row in rows:
        members = group == row.group
        assert row.size == members.sum()
        assert row.share_data == pytest.approx(members.mean())
        assert row.share_drawn == pytest.approx(drawn[members].sum() / drawn.sum())
        for key, value in values.items():
            if row.size:
                assert getattr(row, key) == pytest.approx(value[members].mean())
            else:
                assert np.isnan(getattr(row, key))
    assert sum(row.share_data for row in rows) == pytest.approx(1)
    assert rows[2].to_result() == {
        **{"share_data": 0.0, "share_drawn": 0.0, "count": 0},
        **{"ldrm": None, "ldrv": None, "score": None},
    }


def test_group_table_leaves_out_what_was_not_recorded() -> None:
    (row,) = group_table([0, 0, 0], ldrm=[1, NAN, 3], ldrv=[NAN] * 3, score=[np.inf, 1, 3])
    assert (row.ldrm, row.score, row.size, row.share_drawn) == (2.0, 2.0, 3, None)
    assert np.isnan(row.ldrv)
    assert group_table([], ldrm=[], ldrv=[], score=[]) == []
    (row,) = group_table([0], ldrm=[1], ldrv=[1], score=[1], drawn=[0])
    assert row.share_drawn is None  # nothing was drawn yet
    with pytest.raises(ValueError, match="score"):
        group_table([0, 1], ldrm=[1, 2], ldrv=[1, 2], score=[1])
