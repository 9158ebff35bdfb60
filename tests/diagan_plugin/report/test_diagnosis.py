from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors import safe_open

from diagan_plugin.report.diagnosis import Diagnosis
from gan_registry.errors import UserError
from gan_registry.integrity import ITEM_SIZES, write_tensors

NAN = float("nan")


def make(num: int = 5, **changes: Any) -> Diagnosis:
    rng = np.random.default_rng(0)
    values: dict[str, Any] = {
        **{name: rng.random(num) for name in ("ldrm", "ldrv", "score")},
        "probability": np.full(num, 1 / num),
        "count": np.full(num, 50),
        "group": np.arange(num) % 2,
        "history": rng.random((3, 2)),
        "history_steps": [0, 10, 20],
        "history_indices": [1, 4],
        "metadata": {"k": 0.3, "phase_boundary": 4001, "first_step": "x"},
    }
    return Diagnosis(**{**values, **changes})


def test_round_trip_is_exact(tmp_path: Path) -> None:
    diagnosis = make(ldrm=[1.0, NAN, 1e-300, -0.0, 1 / 3])
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
    write(path, {"ldrm": np.zeros(3)})
    with pytest.raises(UserError, match="lacks ldrv, score"):
        Diagnosis.load(path)
    assert sorted(tmp_path.iterdir()) == [path]


def write(path: Path, arrays: dict[str, Any]) -> None:
    """Writes a file with a checksum that is right, whatever it holds."""
    kinds = {np.dtype(np.float64): "F64", np.dtype(np.int64): "I64", np.dtype(np.float32): "F32"}
    entries = [
        (name, kinds[array.dtype], array.shape, np.ascontiguousarray(array).reshape(-1).view("u1"))
        for name, array in arrays.items()
    ]
    write_tensors(path, sorted(entries, key=lambda entry: -ITEM_SIZES[entry[1]]), {"k": "1"})


HOSTILE: dict[str, dict[str, Any]] = {
    "`group` must have shape": {"group": np.zeros(4, np.int64)},
    "beyond 1,000,000": {"group": np.full(5, 2**40)},
    "below -1": {"group": np.full(5, -2)},
    "`count` is negative": {"count": np.full(5, -1)},
    "`ldrv` is negative": {"ldrv": np.full(5, -1.0)},
    "`ldrm` holds infinity": {"ldrm": np.full(5, np.inf)},
    "`score` holds infinity": {"score": np.full(5, -np.inf)},
    "sums to 0.5, not 1": {"probability": np.full(5, 0.1)},
    "negative or partly NaN": {"probability": np.array([2.0, -1, 0, 0, 0])},
    "partly NaN": {"probability": np.array([1.0, NAN, 0, 0, 0])},
    "sums to inf": {"probability": np.full(5, np.inf)},
    "does not increase": {"history_steps": np.array([0, 20, 10])},
    "`history_indices` must lie": {"history_indices": np.array([0, 2**40])},
    "`history` must have shape": {"history": np.zeros((3, 9), np.float32)},
    "`count` is float64, not int64": {"count": np.zeros(5)},
    "`score` is float32, not float64": {"score": np.zeros(5, np.float32)},
}


@pytest.mark.parametrize("says", HOSTILE)
def test_numbers_that_no_run_writes_are_refused(tmp_path: Path, says: str) -> None:
    path, diagnosis = tmp_path / "diagnosis.safetensors", make()
    names = (
        "ldrm", "ldrv", "score", "probability", "count", "group", "history", "history_steps",
        "history_indices",
    )  # fmt: skip
    whole = {name: getattr(diagnosis, name) for name in names}
    write(path, whole)
    Diagnosis.load(path)
    write(path, {**whole, **HOSTILE[says]})
    with pytest.raises(UserError, match="Cannot use the diagnosis") as caught:
        Diagnosis.load(path)
    assert says in str(caught.value)
    assert str(path) in str(caught.value)


def test_without_any_probability_a_diagnosis_is_read(tmp_path: Path) -> None:
    make(probability=np.full(5, NAN)).save(tmp_path / "d")
    assert np.isnan(Diagnosis.load(tmp_path / "d").probability).all()


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
