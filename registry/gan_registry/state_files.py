"""State in files: trees of tensors and plain values, as safetensors files that carry no code.

Each tensor of the tree is one of the file, named after its place (`generator/0.weight`); the tree
itself is JSON in the entry `state` of the file's metadata:

    null, true, "text", 3, 0.5     themselves; an integer beyond 63 bits is {"int": "0x…"}, a float
                                   that is not finite {"float": "nan"}
    [...]                          a list
    {"tuple": [...]}               a tuple
    {"dict": [[key, value], ...]}  a dict, with keys of any kind
    {"ordered": [...]}             an OrderedDict; with "about" where it is a network's state, which
                                   tells of the versions of its modules
    {"tensor": name}               a tensor; with "dtype" where it is of a type that safetensors
                                   files do not all have: its bytes are the last dimension then;
                                   with "strides" where its memory has another order (channels
                                   last), which fused optimisers expect to find again

What has the same memory, shape and type is written once, and is one tensor again when it is read.
"""

from __future__ import annotations

import json
import math
from collections import OrderedDict
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from gan_registry.errors import PluginError
from gan_registry.files import atomic_write
from gan_registry.integrity import (
    ITEM_SIZES,
    DamagedError,
    Entry,
    parse_json,
    read_tensors,
    write_tensors,
)
from gan_registry.plain_values import MAX_DEPTH, check_plain

_TYPES = {
    torch.float64: "F64", torch.int64: "I64", torch.float32: "F32", torch.int32: "I32",
    torch.float16: "F16", torch.bfloat16: "BF16", torch.int16: "I16", torch.int8: "I8",
    torch.uint8: "U8", torch.bool: "BOOL",
}  # fmt: skip
_DEPTH = MAX_DEPTH + 8
_LARGE = 1 << 63


def write_state(path: str | Path, state: Mapping[str, Any], kind: str) -> None:
    """Writes a tree of tensors and plain values, whole or not at all.

    Args:
        path: The file.
        state: The tree; see :func:`gan_registry.plain_values.check_plain` for what it may hold.
        kind: What kind of file it is and in which version, to be asked for when it is read.

    Raises:
        PluginError: It holds something else, or more plain values than fit into a header.
        UserError: The disk is full, read-only or not writable.
    """
    writer = _Writer()
    tree = json.dumps(writer.encode(state, "", "The state", 0), separators=(",", ":"))
    entries = sorted(writer.entries, key=lambda entry: -ITEM_SIZES[entry[1]])
    with atomic_write(path) as temporary:
        try:
            write_tensors(temporary, entries, {"format": kind, "state": tree})
        except ValueError as error:
            raise PluginError(
                f"{path} cannot be written: {error} Plugins keep long lists as tensors."
            ) from error


def read_state(path: str | Path, kind: str) -> Any:
    """Reads what :func:`write_state` wrote; tensors come on the CPU.

    Raises:
        FileNotFoundError: There is no such file.
        DamagedError: It is not as it was written, of another kind, or none of these files.
    """
    tensors, metadata = read_tensors(path, "pt")
    if metadata.get("format") != kind:
        raise DamagedError(f"has format {metadata.get('format')!r}; this version reads {kind!r}")
    tree = parse_json(metadata.get("state", ""), 4 * _DEPTH)
    try:
        return _Reader(tensors).decode(tree)
    except DamagedError:
        raise
    except Exception as error:  # whoever wrote it may have written anything
        raise DamagedError(f"holds no state ({type(error).__name__})") from error


def write_named(path: Path, tensors: Mapping[str, Tensor], metadata: Mapping[str, str]) -> None:
    """Writes tensors by name into a file that is not yet renamed.

    Args:
        path: The file.
        tensors: Tensors of the types that all safetensors files have.
        metadata: Text to keep beside them.
    """
    entries = [_entry(name, tensor) for name, tensor in tensors.items()]
    write_tensors(path, sorted(entries, key=lambda entry: -ITEM_SIZES[entry[1]]), metadata)


class _Writer:
    """Turns a tree into JSON and gathers its tensors."""

    def __init__(self) -> None:
        self.entries: list[Entry] = []
        self._names = {"__metadata__"}
        self._written: dict[Any, dict[str, Any]] = {}

    def encode(self, value: Any, place: str, where: str, depth: int) -> Any:
        """Returns the node of a value; its tensors are named after `place`."""
        check_plain(value if type(value) not in _CONTAINERS else None, where)
        if depth > _DEPTH:
            raise PluginError(f"{where[:200]} … is nested too deep for a checkpoint.")

        def inner(key: Any, item: Any, suffix: str = "") -> Any:
            return self.encode(
                item, f"{place}/{key}{suffix}" if place else f"{key}{suffix}",
                f"{where}[{key!r}]", depth + 1,
            )  # fmt: skip

        if isinstance(value, (dict, OrderedDict)):
            pairs = [[inner(key, key, " key"), inner(key, item)] for key, item in value.items()]
            if type(value) is dict:
                return {"dict": pairs}
            about = getattr(value, "_metadata", None)
            more = {} if about is None else {"about": inner("_metadata", about)}
            return {"ordered": pairs, **more}
        if isinstance(value, (list, tuple)):
            items = [inner(number, item) for number, item in enumerate(value)]
            return items if type(value) is list else {"tuple": items}
        if isinstance(value, Tensor):
            return self._tensor(value, place)
        if isinstance(value, float) and not math.isfinite(value):
            return {"float": str(value)}
        if type(value) is int and not -_LARGE <= value < _LARGE:
            return {"int": hex(value)}
        return value

    def _tensor(self, tensor: Tensor, place: str) -> dict[str, Any]:
        view: Any = (
            tensor.data_ptr(), tensor.device, tensor.dtype, tensor.shape, tensor.stride(),
            tensor.is_conj(), tensor.is_neg(),
        ) if tensor.numel() else id(tensor)  # fmt: skip
        if view not in self._written:
            name = stem = place.encode("ascii", "backslashreplace").decode()
            number = 1
            while name in self._names:
                number += 1
                name = f"{stem} #{number}"
            self._names.add(name)
            self.entries.append(_entry(name, tensor))
            node: dict[str, Any] = {"tensor": name}
            if tensor.dtype not in _TYPES:
                node["dtype"] = str(tensor.dtype).removeprefix("torch.")
            # What a copy that keeps the layout would have.
            strides = torch.empty_like(tensor, device="meta").stride()
            if tensor.numel() and strides != torch.empty(tensor.shape, device="meta").stride():
                node["strides"] = list(strides)
            self._written[view] = node
        return self._written[view]


_CONTAINERS = (dict, OrderedDict, list, tuple)


class _Reader:
    """Turns JSON into the tree that it was made of."""

    def __init__(self, tensors: dict[str, Tensor]) -> None:
        self._tensors = tensors
        self._made: dict[str, Tensor] = {}

    def decode(self, node: Any) -> Any:
        """Returns the value of a node."""
        if isinstance(node, list):
            return [self.decode(item) for item in node]
        if not isinstance(node, dict):
            return node
        kinds: dict[str, Callable[[], Any]] = {
            "dict": lambda: dict(self._pairs(node["dict"])),
            "ordered": lambda: self._ordered(node),
            "tuple": lambda: tuple(map(self.decode, node["tuple"])),
            "tensor": lambda: self._tensor(node),
            "int": lambda: int(node["int"], 16),
            "float": lambda: float(node["float"]),
        }
        (kind,) = kinds.keys() & node.keys()
        return kinds[kind]()

    def _pairs(self, pairs: list[Any]) -> list[tuple[Any, Any]]:
        return [(self.decode(key), self.decode(value)) for key, value in pairs]

    def _ordered(self, node: dict[str, Any]) -> OrderedDict[Any, Any]:
        found = OrderedDict(self._pairs(node["ordered"]))
        if "about" in node:
            found._metadata = self.decode(node["about"])  # type: ignore[attr-defined]
        return found

    def _tensor(self, node: dict[str, Any]) -> Tensor:
        name = node["tensor"]
        if name not in self._made:
            tensor = self._tensors[name]
            if "dtype" in node:
                dtype = getattr(torch, node["dtype"])
                tensor = tensor.reshape(-1).view(dtype).reshape(tensor.shape[:-1])
            self._made[name] = _laid_out(tensor, node["strides"]) if "strides" in node else tensor
        return self._made[name]


def _laid_out(tensor: Tensor, strides: list[int]) -> Tensor:
    """Returns a tensor in another order of its dimensions in memory, e.g. channels last.

    Raises:
        ValueError: The strides are none of a tensor without gaps.
    """
    order = sorted(range(tensor.dim()), key=lambda dim: (-strides[dim], -tensor.shape[dim], dim))
    inverse = [order.index(dim) for dim in range(tensor.dim())]
    turned = tensor.permute(order).contiguous().permute(inverse)
    given = zip(tensor.shape, turned.stride(), strides, strict=True)
    if any(size > 1 and own != other for size, own, other in given):
        raise ValueError(f"strides {strides} do not fit the shape {list(tensor.shape)}")
    return turned.as_strided(tensor.shape, strides)


def _entry(name: str, tensor: Tensor) -> Entry:
    """Returns what is written of a tensor; its bytes are fetched when their turn comes."""
    kind, shape = _TYPES.get(tensor.dtype), tuple(tensor.shape)
    if kind is None:
        kind, shape = "U8", (*shape, tensor.element_size())

    def content() -> Any:
        plain = tensor.detach().cpu().resolve_conj().resolve_neg().contiguous()
        return plain.reshape(-1).view(torch.uint8).numpy()

    return name, kind, shape, content
