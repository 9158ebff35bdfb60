from __future__ import annotations

import json
from collections import OrderedDict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from gan_registry.errors import PluginError
from gan_registry.integrity import DamagedError, write_tensors
from gan_registry.plain_values import check_plain
from gan_registry.state_files import read_state, write_state

KIND = "a test 1"
BASE = torch.arange(24.0).reshape(4, 6)
STATE: dict[Any, Any] = {
    "a": 1, 3: (1, 2.5, None, True, ("x", [()])), "o": OrderedDict(z=1, a=OrderedDict()),
    (1, "k"): {}, None: [], True: "text", 2.5: 0.1, "nan": float("nan"), "inf": [float("-inf")],
    "big": [2**63, -(2**63), -(10**5000), 2**63 - 1], "-0": -0.0, "tiny": 5e-324,
    "x\ud800y": "z\udcff\n\0\u2028", "__metadata__": torch.ones(2),
    "empty": torch.zeros(0, 3), "number": torch.tensor(3), "truth": torch.tensor(True),
    "turned": BASE.t(), "part": BASE[1:, ::2], "spread": torch.ones(1).expand(3, 2),
    "last": torch.randn(2, 3, 4, 5).to(memory_format=torch.channels_last),
    "last one": torch.randn(1, 3, 1, 1).to(memory_format=torch.channels_last),
    "conj": torch.randn(2, 2, dtype=torch.complex64).conj(),
    "c last": torch.randn(2, 3, 2, 1, dtype=torch.complex128).to(memory_format=torch.channels_last),
    **{
        str(dtype): torch.arange(4).to(dtype)
        for dtype in (
            torch.float64, torch.float32, torch.float16, torch.bfloat16, torch.int64, torch.int32,
            torch.int16, torch.int8, torch.uint8, torch.uint16, torch.uint32, torch.complex64,
            torch.float8_e4m3fn,
        )
    },
}  # fmt: skip


def assert_same(one: Any, other: Any, place: str = "") -> None:
    """Asserts that two trees agree in every type and every bit."""
    assert type(one) is type(other), place
    if isinstance(one, dict):
        assert len(one) == len(other), place
        for (key, item), (other_key, other_item) in zip(one.items(), other.items(), strict=True):
            assert_same(key, other_key, f"{place} key")
            assert_same(item, other_item, f"{place}/{key!r}")
    elif isinstance(one, (list, tuple)):
        assert len(one) == len(other), place
        for item, other_item in zip(one, other, strict=True):
            assert_same(item, other_item, place)
    elif isinstance(one, torch.Tensor):
        assert (one.dtype, one.shape) == (other.dtype, other.shape), place
        if one.numel():
            # As a copy would be laid out, which a fused optimiser relies on.
            assert torch.empty_like(one).stride() == other.stride(), place
        bits = [t.resolve_conj().contiguous().view(-1).view(torch.uint8) for t in (one, other)]
        assert torch.equal(*bits), place
    elif isinstance(one, float):
        assert np.float64(one).tobytes() == np.float64(other).tobytes(), place
    else:
        assert one == other, place


def test_everything_comes_back_with_its_type(tmp_path: Path) -> None:
    check_plain(STATE, "The state")
    write_state(tmp_path / "s", STATE, KIND)
    assert_same(STATE, read_state(tmp_path / "s", KIND))
    assert [path.name for path in tmp_path.iterdir()] == ["s"]


def test_networks_and_optimisers_go_on_from_it(tmp_path: Path) -> None:
    torch.manual_seed(0)
    network = torch.nn.Sequential(
        torch.nn.Conv2d(3, 4, 3).to(memory_format=torch.channels_last), torch.nn.BatchNorm2d(4)
    )
    optimizer = torch.optim.Adam(network.parameters(), fused=True)
    network(torch.randn(2, 3, 5, 5)).square().sum().backward()
    optimizer.step()
    state = {"network": network.state_dict(), "optimizer": optimizer.state_dict()}
    write_state(tmp_path / "s", state, KIND)
    found = read_state(tmp_path / "s", KIND)
    assert_same(state, found)
    assert found["network"]._metadata == state["network"]._metadata


def test_what_shares_its_memory_is_written_once_and_is_one_again(tmp_path: Path) -> None:
    tensor = torch.randn(1000)
    write_state(tmp_path / "one", {"a": tensor}, KIND)
    write_state(tmp_path / "two", {"a": tensor, "b": [tensor.detach()], "c": tensor[:5]}, KIND)
    assert (tmp_path / "two").stat().st_size < (tmp_path / "one").stat().st_size + 400
    found = read_state(tmp_path / "two", KIND)
    assert found["a"] is found["b"][0]
    assert torch.equal(found["c"], tensor[:5])
    other = read_state(tmp_path / "two", KIND)
    found["a"].zero_()
    assert torch.equal(other["a"], tensor), "what is read is a copy, not the file"


def test_other_programs_find_the_tensors_by_their_place(tmp_path: Path) -> None:
    state = {"generator": OrderedDict({"0.weight": BASE}), "list": [BASE[:1], {2: BASE[:2]}]}
    write_state(tmp_path / "s", {**state, "generator/0.weight": torch.ones(1)}, KIND)
    found = load_file(tmp_path / "s")
    assert found.keys() == {
        "generator/0.weight", "generator/0.weight #2", "list/0", "list/1/2",
    }  # fmt: skip
    assert torch.equal(found["generator/0.weight"], BASE)


def test_another_kind_of_file_is_refused(tmp_path: Path) -> None:
    write_state(tmp_path / "s", {"a": 1}, "a test 2")
    with pytest.raises(DamagedError, match="has format 'a test 2'; this version reads 'a test 1'"):
        read_state(tmp_path / "s", KIND)


def _deep() -> Any:
    value: Any = []
    for _ in range(200):
        value = [value]
    return value


def _circle() -> Any:
    value: list[Any] = []
    value.append(value)
    return value


@pytest.mark.parametrize(
    ("value", "says"),
    [
        (object(), "is a object"), ({1, 2}, "is a set"), (np.float64(1), "is a float64"),
        (torch.nn.Parameter(torch.ones(1)), "is a Parameter"), (b"x", "bytes"), (1j, "complex"),
        (torch.eye(2).to_sparse(), "sparse"), (_deep(), "nested too deep"), (_circle(), "too deep"),
    ],
)  # fmt: skip
def test_what_no_file_can_hold_is_refused_before_one_is_written(
    tmp_path: Path, value: Any, says: str
) -> None:
    for state in ({"a": value}, {"a": {"b": (value,)}}):
        with pytest.raises(PluginError, match=says):
            check_plain(state, "The state of plugin 'p'")
        with pytest.raises(PluginError, match=says):
            write_state(tmp_path / "s", state, KIND)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "tree",
    [
        "", "{", "NaN", '{"tensor": "absent"}', '{"tensor": 3}', '{"unknown": 1}', "{}",
        '{"dict": [1]}', '{"dict": [[1]]}', '{"dict": [[[], 1]]}', '{"dict": 1}', '{"int": "x"}',
        '{"int": 3}', '{"float": "x"}', '{"tuple": 1}', '{"tensor": "x", "dtype": "nn"}',
        '{"tensor": "x", "dtype": "complex128"}', '{"tensor": "x", "strides": [1]}',
        '{"tensor": "x", "strides": [9, 9]}', '{"tensor": "x", "strides": [1, -2]}',
        '{"tensor": "x", "strides": ["a", 1]}', '{"dict": [], "tuple": []}', "1" * 400,
        "[" * 100_000, '{"ordered": [], "about": {"tensor": "absent"}}',
    ],
)  # fmt: skip
def test_a_tree_that_no_run_writes_is_refused(tmp_path: Path, tree: str) -> None:
    content = np.zeros(6, np.uint8)
    entry = [("x", "U8", (2, 3), content)]
    write_tensors(tmp_path / "s", entry, {"format": KIND, "state": '{"tensor":"x"}'})
    assert read_state(tmp_path / "s", KIND).shape == (2, 3)
    write_tensors(tmp_path / "s", entry, {"format": KIND, "state": tree})
    with pytest.raises(DamagedError):
        read_state(tmp_path / "s", KIND)


def test_the_form_is_as_documented(tmp_path: Path) -> None:
    write_state(tmp_path / "s", {"t": (1, torch.ones(1)), "n": float("nan"), 5: None}, KIND)
    raw = (tmp_path / "s").read_bytes()
    header = json.loads(raw[8 : 8 + int.from_bytes(raw[:8], "little")])
    assert json.loads(header["__metadata__"]["state"]) == {
        "dict": [["t", {"tuple": [1, {"tensor": "t/1"}]}], ["n", {"float": "nan"}], [5, None]]
    }
    assert len(header["__metadata__"]["sha256"]) == 64
