"""Data files that promise more than they hold, or hold what they should not."""

from __future__ import annotations

import gzip
import io
import os
import pickle
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from gan_registry.config.schema import Config
from gan_registry.datasets.arrays_file import read_arrays
from gan_registry.datasets.celeba_tables import read_attributes
from gan_registry.datasets.cifar import build_cifar
from gan_registry.datasets.idx import read_idx
from gan_registry.datasets.lmdb_images import LmdbFiles
from gan_registry.errors import UserError
from gan_registry.integrity import seal_zip
from gan_registry.report.sample_pictures import load_generated


def npy(header: str, content: bytes = b"") -> bytes:
    text = header.encode("latin-1") + b"\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text + content


def promising(shape: str, dtype: str = "<f4") -> bytes:
    return npy(f"{{'descr': '{dtype}', 'fortran_order': False, 'shape': {shape}}}", b"\0" * 64)


def npz(members: dict[str, bytes], compression: int = zipfile.ZIP_DEFLATED) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", compression) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return buffer.getvalue()


def arrays(**members: object) -> bytes:
    buffer = io.BytesIO()
    np.savez(buffer, **members)  # type: ignore[arg-type]
    return buffer.getvalue()


def lying_zip() -> bytes:
    """An archive whose directory says that its part has 2^31 bytes."""
    content = bytearray(npz({"x.npy": promising("(4,)")}))
    place = content.rindex(b"PK\x01\x02") + 24
    content[place : place + 4] = struct.pack("<I", 2**31)
    return bytes(content)


def objects() -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, np.array([{"a": 1}], dtype=object), allow_pickle=True)
    return buffer.getvalue()


def idx(*shape: int, content: bytes = b"") -> bytes:
    return bytes([0, 0, 8, len(shape)]) + struct.pack(f">{len(shape)}I", *shape) + content


X = np.zeros((3, 2), np.float32)
SOME = np.zeros((2, 5, 5), np.uint8)
MORE = "more than it holds"

# File name, content, what the line says.
NUMPY: dict[str, tuple[str, Callable[[], bytes], str]] = {
    "2^50 elements": ("a.npy", lambda: promising(f"({2**50},)"), MORE),
    "2^50 in an archive": ("a.npz", lambda: npz({"x.npy": promising(f"({2**50},)")}), MORE),
    "overflowing": ("a.npy", lambda: promising(f"({2**40}, {2**40})"), MORE),
    "negative": ("a.npy", lambda: promising("(-4, -4)"), MORE),
    "long strings": ("a.npy", lambda: promising("(2,)", "<U1000000000"), "it is none"),
    "an archive that lies": ("a.npz", lying_zip, "larger than what it can hold"),
    "objects": ("a.npy", objects, "Python objects"),
    "objects in an archive": ("a.npz", lambda: npz({"x.npy": objects()}), "Python objects"),
    "a pickle": ("a.npy", lambda: pickle.dumps([1]), "it is none, or damaged"),
    "a pickle in an archive": ("a.npz", lambda: npz({"x.npy": pickle.dumps([1])}), "it is none"),
    "code in its header": ("a.npy", lambda: npy("__import__('os').getcwd()"), "it is none"),
    "a header of 60 kB": ("a.npy", lambda: npy("(" * 60_000), "it is none, or damaged"),
    "cut off": ("a.npy", lambda: promising("(4, 4)")[:-70], "it is none, or damaged"),
    "an archive cut off": ("a.npz", lambda: arrays(x=X)[:100], "not a zip file"),
    "an archive of nothing": ("a.npz", lambda: npz({}), "has no array 'x'"),
    "an archive of texts": ("a.npz", lambda: npz({"x.txt": b"1"}), "has no array 'x'"),
    "empty": ("a.npy", lambda: b"", "it is none"),
    "2^40 groups": ("a.npz", lambda: arrays(x=X, groups=np.array([0, 1, 2**40])), "no number of a"),
    "2^62 classes": ("a.npz", lambda: arrays(x=X, y=np.array([0, 1, 2**62])), "no number of a"),
}  # fmt: skip

OTHERS: dict[str, tuple[str, Callable[[], bytes], Callable[[Path], object], str]] = {
    "IDX of 2^96": ("a", lambda: idx(*[2**32 - 1] * 3), read_idx, "its header asks for"),
    "IDX of 255 dimensions": ("a", lambda: idx(*[1] * 255, content=b"\0"), read_idx, "is damaged"),
    "IDX cut off": ("a", lambda: idx(2, 2, content=b"\0"), read_idx, "asks for 16"),
    "packed IDX cut off": (
        "a.gz", lambda: gzip.compress(idx(2, 2, content=b"\0" * 4))[:-9], read_idx, "Cannot read"),
    "IDX that is not packed": ("a.gz", lambda: idx(2, 2), read_idx, "Cannot read"),
    "a table of ²": ("a.txt", lambda: "²\na b\nf 1 1\n".encode(), read_attributes, "no list of"),
    "a table of 10^9999": (
        "a.txt", lambda: b"9" * 9999 + b"\na b\nf 1 1\n", read_attributes, "but it has 1"),
    "a table of NULs": ("a.txt", lambda: b"\0" * 99, read_attributes, "is damaged"),
    "an LMDB of zeros": ("data.mdb", lambda: b"\0" * 8192, lambda p: LmdbFiles(p.parent), "LMDB"),
    "an LMDB of nothing": ("data.mdb", lambda: b"", lambda p: LmdbFiles(p.parent), "no header"),
    "an LMDB of noise": (
        "data.mdb", lambda: np.random.default_rng(0).bytes(8192),
        lambda p: LmdbFiles(p.parent), "LMDB"),
}  # fmt: skip


def test_there_are_enough_of_them() -> None:
    assert len(NUMPY) + len(OTHERS) >= 15


def check(path: Path, read: Callable[[Path], object], says: str) -> None:
    with pytest.raises(UserError) as caught:
        read(path)
    line = str(caught.value)
    assert says in line
    assert str(path.parent) in line
    assert "\n" not in line


@pytest.mark.parametrize("name", NUMPY)
def test_a_numpy_file(tmp_path: Path, name: str) -> None:
    file, content, says = NUMPY[name]
    (tmp_path / file).write_bytes(content())
    check(tmp_path / file, read_arrays, says)


@pytest.mark.parametrize("name", OTHERS)
def test_another_file(tmp_path: Path, name: str) -> None:
    file, content, read, says = OTHERS[name]
    (tmp_path / file).write_bytes(content())
    if "LMDB" in name:
        pytest.importorskip("lmdb")
    check(tmp_path / file, read, says)


def test_a_packed_idx_file_is_unpacked_only_so_far(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a.gz"
    path.write_bytes(gzip.compress(idx(9, 9, content=b"\0" * 81)))
    assert read_idx(path).shape == (9, 9)
    monkeypatch.setattr("gan_registry.datasets.idx._MAX_BYTES", 80)
    check(path, read_idx, "it unpacks to more than 80 bytes")


def test_a_database_that_is_cut_off(tmp_path: Path) -> None:
    lmdb = pytest.importorskip("lmdb")
    whole, part = tmp_path / "whole", tmp_path / "part"
    with lmdb.open(str(whole), map_size=2**24) as database, database.begin(write=True) as writing:
        for i in range(100):
            writing.put(b"%03d" % i, b"x" * 3000)
    assert len(LmdbFiles(whole).keys()) == 100
    part.mkdir()
    content = (whole / "data.mdb").read_bytes()
    (part / "data.mdb").write_bytes(content[: len(content) // 2])
    check(part / "data.mdb", lambda path: LmdbFiles(path.parent), "is cut off")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no named pipes here")
def test_pipes_are_never_waited_for(tmp_path: Path) -> None:
    pytest.importorskip("lmdb")
    for name, read in {
        "a.npz": read_arrays, "a.npy": read_arrays, "a.idx": read_idx, "a.txt": read_attributes,
        "data.mdb": lambda path: LmdbFiles(path.parent),
    }.items():  # fmt: skip
        os.mkfifo(tmp_path / name)
        check(tmp_path / name, read, "it is a pipe")


def test_a_superclass_beyond_all(tmp_path: Path) -> None:
    record = bytes([20, 99]) + bytes(3072)
    (tmp_path / "train.bin").write_bytes(record)
    config = Config()
    config.DATA.name = "CIFAR100"
    check(tmp_path / "train.bin", lambda p: build_cifar(config, p.parent), "beyond 19")


def test_names_of_classes_in_any_encoding(tmp_path: Path) -> None:
    (tmp_path / "train.bin").write_bytes(bytes([0, 0]) + bytes(3072))
    names = [b"caf\xe9", b"\x1b[31m", *(b"%d" % i for i in range(98))]
    (tmp_path / "fine_label_names.txt").write_bytes(b"\n".join(names))
    config = Config()
    config.DATA.name = "CIFAR100"
    dataset = build_cifar(config, tmp_path)
    assert dataset.class_names[:3] == ("caf\N{REPLACEMENT CHARACTER}", r"\x1b[31m", "0")


def test_a_list_with_names_in_any_encoding(tmp_path: Path) -> None:
    path = tmp_path / "list_attr_celeba.txt"
    path.write_bytes(b"1\nA\x1bB C\n" + b"caf\xe9\xe2\x80\xa8.jpg 1 -1\r\n")
    table = read_attributes(path)
    assert table.names == (r"A\x1bB", "C")
    assert [os.fsencode(file) for file in table.files] == [b"caf\xe9\xe2\x80\xa8.jpg"]


def test_the_samples_of_a_run_folder_may_be_anything(tmp_path: Path) -> None:
    path = tmp_path / "final.npz"
    for content in (npz({"x.npy": promising(f"({2**50},)")}), objects(), b"PK", b""):
        path.write_bytes(content)
        assert load_generated(path) == {}
        if zipfile.is_zipfile(path):  # a checksum is no promise of what is inside
            seal_zip(path)
            assert load_generated(path) == {}
    assert load_generated(tmp_path / "none.npz") == {}
    path.write_bytes(arrays(x=X, x_drs=X[:2], other=X))
    seal_zip(path)
    assert {name: len(x) for name, x in load_generated(path).items()} == {"x": 3, "x_drs": 2}
