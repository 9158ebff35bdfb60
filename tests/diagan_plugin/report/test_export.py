from __future__ import annotations

import csv
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.utils.data import WeightedRandomSampler

from diagan_plugin import DiaSampler, cli, load_export
from diagan_plugin.report import DIAGNOSIS_FILE
from diagan_plugin.report.diagnosis import Diagnosis
from diagan_plugin.report.export import write_export
from diagan_plugin.report.sample_table import COLUMNS, sample_columns
from gan_registry.errors import UserError

NAN = float("nan")
NAMES = ("cat/a.png", 'b, "c".png', "caf\udce9.png", "x\ny.png")


def make(**changes: Any) -> Diagnosis:
    values: dict[str, Any] = {
        "ldrm": [1 / 3, -2.0, 1e-300, NAN], "ldrv": [0.1, 0.2, NAN, NAN],
        "score": [1.5, -1.0, 0.0, NAN], "probability": [0.1, 0.2, 0.3, 0.4],
        "count": [2, 2, 1, 0], "group": [1, 0, -1, 1], "names": NAMES, "label": [2, 0, 1, -1],
        "metadata": {"group_names": '["major", "minor"]'},
    }  # fmt: skip
    return Diagnosis(**{**values, **changes})


@pytest.mark.parametrize("suffix", [".csv", ".npy", ".NPY"])
def test_a_table_comes_back_as_it_was(tmp_path: Path, suffix: str) -> None:
    diagnosis = make(cluster=[-1, 0, 3, -1], likely=[1, 2, 0, 0])
    columns = load_export(write_export(diagnosis, tmp_path / f"table{suffix}"))
    assert tuple(columns) == COLUMNS
    for name, column in sample_columns(diagnosis).items():
        assert columns[name].dtype == column.dtype, name
        np.testing.assert_array_equal(columns[name], column)
    assert columns["path"].tolist() == list(NAMES)
    assert columns["label"].tolist() == ["2", "0", "1", ""]
    assert columns["group"].tolist() == ["minor", "major", "", "minor"]
    assert columns["verdict"].tolist() == ["rare", "broken", "", ""]
    assert columns["LDRM"].tobytes() == diagnosis.ldrm.tobytes()


def test_what_is_not_known_is_an_empty_cell(tmp_path: Path) -> None:
    diagnosis = make(names=(), label=[], group=[-1] * 4)
    path = write_export(diagnosis, tmp_path / "table.csv")
    rows = list(csv.DictReader(path.read_text("utf-8").splitlines()))
    assert rows[3] == {
        "index": "3", "path": "row 3", "label": "", "group": "", "LDRM": "", "LDRV": "",
        "score": "", "probability": "0.4", "cluster": "", "verdict": "",
    }  # fmt: skip
    assert load_export(path)["cluster"].tolist() == [-1] * 4


def test_a_parquet_file_and_a_data_frame(tmp_path: Path) -> None:
    pytest.importorskip("pandas")
    pytest.importorskip("pyarrow")
    diagnosis = make(cluster=[-1, 0, 3, -1])
    frame = diagnosis.to_frame()
    assert tuple(frame.columns) == COLUMNS
    assert frame["cluster"].isna().tolist() == [True, False, False, True]
    assert frame["score"].tolist()[:3] == [1.5, -1.0, 0.0]
    columns = load_export(write_export(diagnosis, tmp_path / "table.parquet"))
    assert columns["cluster"].tolist() == [-1, 0, 3, -1]
    assert columns["path"].tolist() == [NAMES[0], NAMES[1], r"caf\xe9.png", r"x\ny.png"]
    np.testing.assert_array_equal(columns["LDRV"], diagnosis.ldrv)


def test_without_pandas_one_line_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(UserError, match=r"pip install 'diagan-plugin\[pandas\]'"):
        make().to_frame()
    with pytest.raises(UserError, match="pandas"):
        write_export(make(), tmp_path / "table.parquet")
    assert not list(tmp_path.iterdir())
    (tmp_path / "table.parquet").write_bytes(b"PAR1")
    with pytest.raises(UserError, match="pandas"):
        load_export(tmp_path / "table.parquet")


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("t.txt", b"", r"must end in \.csv, \.parquet or \.npy"),
        ("t.csv", b"", "it is empty"),
        ("t.csv", b"index,score\n1\n", "row 2 has 1 cells"),
        ("t.csv", b"index\n1.5\n", "'index' holds more than numbers"),
        ("t.csv", b"score\nx\n", "'score' holds more than numbers"),
        ("t.csv", b'index\n"1\n', "Cannot read"),
        ("t.npy", b"\x93NUMPY", "Cannot read"),
        ("t.npy", b"text", "Cannot read"),
    ],
)
def test_files_that_are_none_are_refused(
    tmp_path: Path, name: str, content: bytes, says: str
) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(UserError, match=says) as caught:
        load_export(tmp_path / name)
    assert str(tmp_path / name) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_plain_arrays_and_missing_files_are_no_tables(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="diagan export"):
        load_export(tmp_path / "nothing.csv")
    np.save(tmp_path / "a.npy", np.zeros(3))
    with pytest.raises(UserError, match="no table"):
        load_export(tmp_path / "a.npy")
    np.save(tmp_path / "b.npy", np.array([{}], object), allow_pickle=True)
    with pytest.raises(UserError, match="Cannot read"):
        load_export(tmp_path / "b.npy")


def test_a_part_with_columns_of_ones_own_is_read(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("note,index,score\nblurred,7,\n")
    columns = load_export(tmp_path / "t.csv")
    assert columns["note"].tolist() == ["blurred"]
    assert columns["index"].tolist() == [7]
    assert np.isnan(columns["score"]).all()


def test_samplers_from_an_exported_file(tmp_path: Path) -> None:
    path = write_export(make(), tmp_path / "t.csv")
    weights = load_export(path)["probability"]
    sampler = WeightedRandomSampler(weights, 4000, generator=torch.Generator().manual_seed(0))
    shares = np.bincount(list(sampler), minlength=4) / 4000
    np.testing.assert_allclose(shares, [0.1, 0.2, 0.3, 0.4], atol=0.03)
    own = DiaSampler(len(weights), seed=0)
    own.set_weights(weights)
    counts = np.bincount([i for _ in range(10) for i in own], minlength=4)
    np.testing.assert_allclose(counts, [4, 8, 12, 16], atol=3)


# ------------------------------------------------------------------ the command


def test_the_command_writes_and_says_so(tmp_path: Path, capsys: Any) -> None:
    run, out = tmp_path / "run", tmp_path / "new" / "t.csv"
    make().save(run / DIAGNOSIS_FILE)
    assert cli.main(["export", "--run", str(run), "--out", str(out)]) == 0
    assert capsys.readouterr().out == f"wrote 4 samples to {out}\n"
    assert load_export(out)["index"].tolist() == [0, 1, 2, 3]
    before = out.read_bytes()
    for arguments, says in (
        (["--run", str(run), "--out", str(tmp_path / "t.xlsx")], "must end in .csv"),
        (["--run", str(tmp_path), "--out", str(out)], "no diagnosis at"),
    ):
        assert cli.main(["export", *arguments]) == 2
        error = capsys.readouterr().err
        assert says in error
        assert error.count("\n") == 1
    assert out.read_bytes() == before
    assert [path.name for path in out.parent.iterdir()] == ["t.csv"]
