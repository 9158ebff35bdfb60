from __future__ import annotations

import json
import os
import socket
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from safetensors.numpy import load_file

from gan_registry.integrity import (
    JSON,
    TENSORS,
    YAML,
    ZIP,
    DamagedError,
    Form,
    check,
    parse_json,
    read_json,
    read_sealed,
    read_tensors,
    read_text,
    seal_zip,
    write_json,
    write_tensors,
    write_text,
)


def _json(path: Path) -> None:
    write_json(path, {"metrics": {"fid": 1e-05, "σ": None}, "groups": {}, "list": [1, -2, True]})


def _yaml(path: Path) -> None:
    write_text(path, "A: 1\nB:\n  c: [x, 'é']")


def _zip(path: Path) -> None:
    np.savez_compressed(path, x=np.arange(12.0), x_drs=np.zeros((0, 3)))
    seal_zip(path)


def _tensors(path: Path) -> None:
    array = np.arange(12.0).reshape(3, 4)
    entries = [("b", "F64", (3, 4), array.view(np.uint8).reshape(-1)), ("a", "U8", (0,), b"")]
    write_tensors(path, entries, {"note": "é\n"})


KINDS: dict[str, tuple[Form, Callable[[Path], None], Callable[[Path], Any]]] = {
    "x.json": (JSON, _json, lambda path: json.loads(path.read_text(encoding="utf-8"))),
    "x.yaml": (YAML, _yaml, lambda path: yaml.safe_load(path.read_text(encoding="utf-8"))),
    "x.npz": (ZIP, _zip, lambda path: dict(np.load(path))),
    "x.safetensors": (TENSORS, _tensors, load_file),
}
each_kind = pytest.mark.parametrize("name", KINDS)


@each_kind
def test_every_flipped_bit_is_recognised(tmp_path: Path, name: str) -> None:
    form, write, _ = KINDS[name]
    path = tmp_path / name
    write(path)
    check(path, form)
    content = path.read_bytes()
    assert len(content) > 90
    for place in range(len(content)):
        flipped = bytearray(content)
        flipped[place] ^= 1 << (place * 5 % 8)
        path.write_bytes(flipped)
        with pytest.raises(DamagedError):
            check(path, form)


@each_kind
def test_every_cut_and_what_is_added_is_recognised(tmp_path: Path, name: str) -> None:
    form, write, _ = KINDS[name]
    path = tmp_path / name
    write(path)
    content = path.read_bytes()
    for size in range(len(content)):
        path.write_bytes(content[:size])
        with pytest.raises(DamagedError, match="is empty" if not size else "."):
            check(path, form)
    for changed in (content + b"\n", b"\n" + content, content + content, content[::-1]):
        path.write_bytes(changed)
        with pytest.raises(DamagedError):
            check(path, form)


@each_kind
def test_other_programs_read_the_file_as_ever(tmp_path: Path, name: str) -> None:
    _, write, read = KINDS[name]
    write(tmp_path / name)
    found = read(tmp_path / name)
    expected = {
        "x.json": {"metrics", "groups", "list", "sha256"}, "x.yaml": {"A", "B"},
        "x.npz": {"x", "x_drs"}, "x.safetensors": {"a", "b"},
    }  # fmt: skip
    assert found.keys() == expected[name]
    if name == "x.npz":
        with zipfile.ZipFile(tmp_path / name) as archive:
            assert archive.testzip() is None
    if name in ("x.npz", "x.safetensors"):
        first = found["x" if name == "x.npz" else "b"]
        assert first.ravel().tolist() == list(range(12))


def test_what_was_written_is_read(tmp_path: Path) -> None:
    content = {"a": 1, "b": {"c": [1.5, None, "é\ud800"]}, "n": -(2**63), "e": 1e-320}
    write_json(tmp_path / "j", content)
    assert read_json(tmp_path / "j") == content
    write_text(tmp_path / "y", "A: é")
    assert yaml.safe_load(read_text(tmp_path / "y")) == {"A": "é"}
    _tensors(tmp_path / "t")
    tensors, metadata = read_tensors(tmp_path / "t", "numpy")
    assert metadata == {"note": "é\n"}
    assert tensors["b"].tolist() == np.arange(12.0).reshape(3, 4).tolist()
    assert tensors["a"].shape == (0,)


def test_a_large_file_is_hashed_in_pieces(tmp_path: Path) -> None:
    path = tmp_path / "t"
    array = np.arange(3_000_000, dtype=np.float64)  # 24 MB, beyond several pieces
    write_tensors(path, [("x", "F64", array.shape, array.view(np.uint8))], {})
    check(path, TENSORS)
    with path.open("r+b") as file:
        file.seek(20_000_000)
        file.write(b"\1")
    with pytest.raises(DamagedError, match="its checksum differs"):
        check(path, TENSORS)


def test_a_header_beyond_what_readers_take_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gan_registry.integrity.MAX_HEADER", 1000)
    with pytest.raises(ValueError, match="beyond 1,000"):
        write_tensors(tmp_path / "t", [], {"x": "x" * 1000})
    assert not (tmp_path / "t").exists()


def test_what_is_no_regular_file_is_named_and_never_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "lost").symlink_to(tmp_path / "nothing")
    (tmp_path / "circle").symlink_to("circle")
    with socket.socket(socket.AF_UNIX) as listener:
        monkeypatch.chdir(tmp_path)  # a socket's name must be short
        listener.bind("socket")
    says = {
        "folder": "is a folder", "pipe": "is a pipe", "lost": "is a link that leads nowhere",
        "circle": "cannot be read: Too many levels of symbolic links", "socket": "is a socket",
        "/dev/zero": "is a device",
    }  # fmt: skip
    for name, what in says.items():
        with pytest.raises(DamagedError, match=f"^{what}"):
            read_sealed(tmp_path / name, JSON)
    for absent in ("nothing", "nowhere/x"):
        with pytest.raises(FileNotFoundError):
            read_sealed(tmp_path / absent, JSON)
    (tmp_path / "file").write_text("")
    with pytest.raises(FileNotFoundError):
        read_sealed(tmp_path / "file" / "x", JSON)


def test_a_link_to_a_sound_file_is_followed(tmp_path: Path) -> None:
    _json(tmp_path / "x.json")
    (tmp_path / "link").symlink_to("x.json")
    assert read_json(tmp_path / "link")["list"] == [1, -2, True]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("1" * 20, "a number of 20 digits"), ("-" + "1" * 400, "a number of 400 digits"),
        ("1" * 10_000, "a number of 10000 digits"), ("NaN", "holds NaN"),
        ("[Infinity]", "holds Infinity"), ("1e400", "not finite"), ("-1e400", "not finite"),
        ("[" * 100_000, "nested too deep"), ("[" * 70 + "]" * 70, "nested too deep"),
        ('{"a":' * 70 + "1" + "}" * 70, "nested too deep"), ("{", "is no JSON"), ("", "is no JSON"),
        ("\x00", "is no JSON"),
    ],
)  # fmt: skip
def test_json_that_no_program_of_ours_writes_is_refused(text: str, says: str) -> None:
    with pytest.raises(DamagedError, match=says):
        parse_json(text)


def test_json_within_bounds_is_read() -> None:
    assert parse_json(f"[{2**63 - 1}, {-(2**63)}, 1e300]") == [2**63 - 1, -(2**63), 1e300]
    assert parse_json("[" * 60 + "]" * 60)
