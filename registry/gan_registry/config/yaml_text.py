"""Reads YAML that a stranger may have written: its size is known before anything is built.

Every YAML text of the project is read here. Beyond YAML 1.1: `5e-4` is a number, which YAML takes
for text as it lacks the point; dates are text.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import yaml

from gan_registry.regular_files import read_regular

MAX_BYTES = 2**20
MAX_DEPTH = 32
MAX_NODES = 10_000
MAX_SCALAR = 65_536
MAX_DIGITS = 40
_LARGEST = 2**64
# Written as escapes only, as PyYAML writes what names of files may have: other controls, and
# U+DC80 to U+DCFF, which are Python's for the bytes of names that are no UTF-8.
_NO_TEXT = re.compile("[\x00\ud800-\udc7f\udd00-\udfff]")


class YamlError(yaml.YAMLError):
    """A text is no YAML that is read here; the message is one line, without a full stop."""


class _Loader(yaml.SafeLoader):
    """The types of a configuration: no tags, no dates, unique keys that are text."""

    yaml_implicit_resolvers = {  # noqa: RUF012  # as PyYAML declares it
        first: [pair for pair in pairs if not pair[0].endswith(":timestamp")]
        for first, pairs in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }

    def construct_mapping(self, node: Any, deep: bool = False) -> dict[Any, Any]:
        for key, _ in node.value:  # before what `<<` merges is added, which may be overridden
            if not isinstance(key, yaml.ScalarNode):
                raise YamlError(f"keys must be text, not lists or mappings{_place(key)}")
        own = [key for key, _ in node.value if not key.tag.endswith(":merge")]
        seen = set[str]()
        for key in own:
            if not key.tag.endswith(":str"):
                raise YamlError(
                    f"keys must be text, but {_short(key.value)!r} is none; "
                    f"put it in quotes{_place(key)}"
                )
            if key.value in seen:
                raise YamlError(f"the key {_short(key.value)!r} stands there twice{_place(key)}")
            seen.add(key.value)
        return super().construct_mapping(node, deep)

    def construct_yaml_map(self, node: Any) -> Any:
        # Checked as soon as the node is met, also where PyYAML would fill it later.
        return self.construct_mapping(node, deep=True)

    def construct_yaml_int(self, node: Any) -> int:
        value = int(super().construct_yaml_int(_bounded(node)))
        if abs(value) >= _LARGEST:
            raise YamlError(f"the number {node.value} is too large{_place(node)}")
        return value

    def construct_yaml_float(self, node: Any) -> float:
        return float(super().construct_yaml_float(_bounded(node)))


_Loader.add_constructor("tag:yaml.org,2002:map", _Loader.construct_yaml_map)
_Loader.add_constructor("tag:yaml.org,2002:int", _Loader.construct_yaml_int)
_Loader.add_constructor("tag:yaml.org,2002:float", _Loader.construct_yaml_float)
_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(r"^[-+]?[0-9]+(\.[0-9]*)?[eE][-+]?[0-9]+$"),
    list("-+0123456789"),
)


def load_yaml(text: str) -> Any:
    """Reads one YAML document: mappings with text for keys, lists, text, numbers, truth values.

    Read are at most 1 MiB, 32 levels, 10,000 values (each `*alias` counts as what it stands for),
    65,536 characters of a text, 40 of a number, and integers of 64 bits. Refused are tags, keys
    that stand twice, control characters that are no escapes, and anything that contains itself.

    Raises:
        YamlError: It is not valid, or beyond a limit. (A `yaml.YAMLError`, for those who catch it.)
    """
    if len(text) > MAX_BYTES:  # of a file, bytes are counted before
        raise YamlError(f"it is longer than {MAX_BYTES:,} characters")
    try:
        _check_events(text)
        return yaml.load(text, _Loader)
    except YamlError:
        raise
    except yaml.MarkedYAMLError as error:
        said = ", ".join(part for part in (error.context, error.problem) if part)
        mark = error.problem_mark or error.context_mark
        raise YamlError(f"{said}{'' if mark is None else _line(mark)}") from error
    except yaml.YAMLError as error:
        raise YamlError(" ".join(str(error).split()).rstrip(".")) from error
    except (ValueError, TypeError, OverflowError, RecursionError) as error:
        # PyYAML lets through what Python's own int() and chr() say, e.g. of `0x_`.
        raise YamlError(f"it holds what is no value ({' '.join(str(error).split())})") from error


def read_yaml_file(path: Path) -> Any:
    """Reads a YAML file; UTF-8, with or without a byte-order mark.

    Raises:
        UserError: It cannot be read, or is larger than 1 MiB.
        YamlError: It is not valid, or beyond a limit of :func:`load_yaml`.
    """
    return load_yaml(decode_yaml(read_regular(path, MAX_BYTES)))


def decode_yaml(content: bytes) -> str:
    """Turns the bytes of a YAML file into text.

    Raises:
        YamlError: They are no UTF-8.
    """
    if content.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise YamlError("it is written in UTF-16; save it as UTF-8")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise YamlError(f"it is no UTF-8 (byte {error.start}); save it as UTF-8") from error


def _check_events(text: str) -> None:
    """Goes through a document without building anything.

    Raises:
        YamlError: It is beyond a limit, or holds what is refused.
    """
    sizes = dict[str, tuple[int, int]]()  # anchor → nodes and levels of what it names
    # Of each collection that is open: its anchor, and the nodes and levels found in it so far.
    open_ones: list[tuple[str | None, int, int]] = []

    def add(nodes: int, levels: int, anchor: str | None, event: Any) -> None:
        if anchor is not None:
            sizes[anchor] = nodes, levels
        if open_ones:
            name, so_far, deepest = open_ones[-1]
            open_ones[-1] = name, so_far + nodes, max(deepest, levels + 1)
        if sum(so_far for _, so_far, _ in open_ones) > MAX_NODES:
            raise YamlError(f"it holds more than {MAX_NODES:,} values{_place(event)}")
        if len(open_ones) + levels > MAX_DEPTH:
            raise YamlError(f"it is nested in more than {MAX_DEPTH} levels{_place(event)}")

    event: Any
    for event in yaml.parse(text, yaml.SafeLoader):
        if getattr(event, "tag", None) is not None:
            raise YamlError(f"tags such as {_short(str(event.tag))} are not read{_place(event)}")
        if isinstance(event, yaml.AliasEvent):
            if event.anchor not in sizes:
                raise YamlError(
                    f"*{_short(str(event.anchor))} names nothing that is complete{_place(event)}"
                )
            add(*sizes[event.anchor], None, event)
        elif isinstance(event, yaml.ScalarEvent):
            _check_scalar(event)
            add(1, 0, event.anchor, event)
        elif isinstance(event, yaml.CollectionStartEvent):
            sizes.pop(str(event.anchor), None)
            open_ones.append((event.anchor, 1, 1))
            if len(open_ones) > MAX_DEPTH:
                raise YamlError(f"it is nested in more than {MAX_DEPTH} levels{_place(event)}")
        elif isinstance(event, yaml.CollectionEndEvent):
            anchor, nodes, levels = open_ones.pop()
            add(nodes, levels, anchor, event)


def _check_scalar(event: Any) -> None:
    if len(event.value) > MAX_SCALAR:
        raise YamlError(f"a text is longer than {MAX_SCALAR:,} characters{_place(event)}")
    if refused := _NO_TEXT.search(event.value):
        raise YamlError(f"the character U+{ord(refused[0]):04X} is not allowed{_place(event)}")


def _bounded(node: Any) -> Any:
    if len(node.value) > MAX_DIGITS:
        raise YamlError(f"a number has more than {MAX_DIGITS} characters{_place(node)}")
    return node


def _short(text: str) -> str:
    return text if len(text) <= 40 else f"{text[:39]}…"


def _place(where: Any) -> str:
    return _line(where.start_mark)


def _line(mark: Any) -> str:
    return f" (line {mark.line + 1})"
