from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors import safe_open

from diagan_plugin.report import DIAGNOSIS_FILE
from diagan_plugin.report.diagnosis import Diagnosis, load_diagnosis
from diagan_plugin.report.names import described, pack_names, unpack_names
from gan_registry.datasets.base import ArrayDataset
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


NAMES = ("cat/a.png", "cat/b c.png", "caf\udce9.png", "x\ny", "")


def test_names_labels_and_verdicts_come_back(tmp_path: Path) -> None:
    texts = {"group_names": '["even", "odd"]', "label_names": "[1"}
    diagnosis = make(
        names=NAMES, label=[0, 1, -1, 2, 2], cluster=[-1, 0, 0, 1, -1], likely=[0, 1, 2, 0, 0],
        metadata=texts,
    )  # fmt: skip
    diagnosis.save(tmp_path / DIAGNOSIS_FILE)
    for path in (tmp_path, tmp_path / DIAGNOSIS_FILE, str(tmp_path)):
        loaded = load_diagnosis(path)
        assert loaded.names == NAMES
        for name in ("label", "cluster", "likely"):
            assert getattr(loaded, name).tolist() == getattr(diagnosis, name).tolist()
    assert loaded.name(1) == loaded.name(-4) == "cat/b c.png"
    assert loaded.group_names == ("even", "odd")
    assert loaded.label_names == ()  # damaged
    with pytest.raises(UserError, match="no diagnosis at"):
        load_diagnosis(tmp_path / "nothing")


def test_what_is_not_known_takes_no_room(tmp_path: Path) -> None:
    make().save(tmp_path / "d")
    loaded = Diagnosis.load(tmp_path / "d")
    assert loaded.names == () == loaded.group_names
    assert loaded.label.size == loaded.cluster.size == loaded.likely.size == 0
    assert loaded.name(3) == "row 3"
    with pytest.raises(IndexError):
        loaded.name(5)
    with safe_open(tmp_path / "d", framework="numpy") as file:
        assert not {"names", "label", "cluster", "likely"} & set(file.keys())


def test_paths_take_few_bytes() -> None:
    names = [f"train/n{i // 1000:08d}/n{i // 1000:08d}_{i * 7}.JPEG" for i in range(20_000)]
    packed = pack_names(names)
    assert packed.size < 6 * len(names)
    assert unpack_names(packed, len(names)) == tuple(names)


def test_a_dataset_is_described_as_far_as_it_is_known() -> None:
    points = ArrayDataset("points", np.zeros((3, 2), np.float32))
    assert described(points) == ({"names": ()}, {})  # rows in order, one class
    groups = np.array([0, 1, 1])
    grouped = ArrayDataset(
        "p", np.zeros((3, 2), np.float32), [2, 0, 1], num_classes=3, groups=groups,
        group_names=("a", "b"), rows=np.array([4, 7, 9]),
    )  # fmt: skip
    fields, texts = described(grouped)
    assert fields["names"] == ("row 4", "row 7", "row 9")
    assert fields["label"].tolist() == [2, 0, 1]
    assert texts == {"group_names": '["a", "b"]'}


def test_shown_in_a_line_and_in_a_notebook() -> None:
    diagnosis = make(names=("<b>", *NAMES[1:]), score=[5.0, 1, NAN, 2, 3])
    assert repr(diagnosis) == "Diagnosis(5 samples, 2 groups, score 1 to 5)"
    html = diagnosis._repr_html_()
    assert "&lt;b&gt;" in html
    assert "<b>" not in html
    assert html.index("&lt;b&gt;") < html.index("x\\ny") < html.index("b c.png")
    nothing = make(score=np.full(5, NAN), group=np.full(5, -1), metadata={"last_step": 7})
    assert repr(nothing) == "Diagnosis(5 samples, recorded to step 7)"
    assert nothing._repr_html_().count("<tr>") == 6


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
    kinds = {
        np.dtype(np.float64): "F64", np.dtype(np.int64): "I64", np.dtype(np.float32): "F32",
        np.dtype(np.int8): "I8", np.dtype(np.uint8): "U8",
    }  # fmt: skip
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
    "`label` must have shape": {"label": np.zeros(4, np.int64)},
    "`label` or `cluster` is below": {"cluster": np.full(5, -2)},
    "`likely` is none of": {"likely": np.full(5, 4, np.int8)},
    "holds 2 names for 5": {"names": pack_names(["a", "b"])},
    "cannot be unpacked": {"names": np.arange(9, dtype=np.uint8)},
    "cut off": {"names": pack_names("abcde")[:-3]},
    "larger than names": {"names": pack_names(["x" * 50_000])},
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
