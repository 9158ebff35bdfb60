from __future__ import annotations

import os
from pathlib import Path

import pytest
import yaml

from gan_registry.config.load import apply_settings, read_config
from gan_registry.config.yaml_text import (
    MAX_BYTES,
    MAX_DEPTH,
    MAX_DIGITS,
    MAX_NODES,
    MAX_SCALAR,
    YamlError,
    load_yaml,
    read_yaml_file,
)
from gan_registry.errors import UserError

BOMB = "a: &a [x,x,x,x,x,x,x,x,x]\n" + "".join(
    f"{new}: &{new} [{','.join([f'*{old}'] * 9)}]\n"
    for old, new in zip("abcdefgh", "bcdefghi", strict=True)
)

# What a file holds, as text or bytes, and what the one line about it says.
HOSTILE: dict[str, tuple[str | bytes, str]] = {
    "a bomb of aliases": (BOMB, "more than 10,000 values (line 5)"),
    "a bomb of merges": (
        f"a: &a {{{', '.join(f'k{i}: 1' for i in range(3000))}}}\n"
        "b: [{<<: *a}, {<<: *a}]\n",
        "more than 10,000 values",
    ),
    "deep lists": ("a: " + "[" * 100_000, "more than 32 levels"),
    "deep mappings": ("{a: " * 40 + "1" + "}" * 40, "more than 32 levels"),
    "deep blocks": ("".join(f"{' ' * i}a:\n" for i in range(600)), "more than 32 levels"),
    "deep dashes": ("- " * 3000, "more than 32 levels"),
    "deep questions": ("? " * 3000, "more than 32 levels"),
    "deep by an alias": (
        f"a: &a {'[' * 20}{']' * 20}\nb: {'[' * 20}*a{']' * 20}", "more than 32 levels",
    ),
    "many values": ("a: [" + "1," * 20_000 + "]", "more than 10,000 values"),
    "many keys": ("".join(f"k{i}: 1\n" for i in range(9000)), "more than 10,000 values"),
    "many pairs": ("[" + "a: 1," * 50_000, "more than 10,000 values"),
    "a large file": (b"#" * (MAX_BYTES + 1), "more than 1,048,576"),
    "a long text": ("a: " + "x" * 70_000, "longer than 65,536 characters"),
    "a long escaped text": ('a: "' + r"\x41" * 70_000 + '"', "longer than 65,536"),
    "an integer": ("a: " + "9" * 10_000, "more than 40 characters"),
    "a hexadecimal integer": ("a: 0x" + "f" * 10_000, "more than 40 characters"),
    "a float": ("a: 1." + "9" * 10_000, "more than 40 characters"),
    "a sexagesimal": ("a: " + ":".join(["59"] * 3000), "more than 40 characters"),
    "more than 64 bits": ("a: 99999999999999999999999", "too large (line 1)"),
    "no digits": ("a: 0x_", "what is no value"),
    "no binary digits": ("a: 0b_", "what is no value"),
    "a list in itself": ("a: &a [*a]", "names nothing that is complete"),
    "a mapping in itself": ("&a {b: *a}", "names nothing that is complete"),
    "a merge with itself": ("a: &a\n  <<: *a\n", "names nothing that is complete"),
    "an alias of nothing": ("a: *b", "names nothing that is complete"),
    "a merge of text": ("<<: 1", "for merging"),
    "a merge of numbers": ("<<: [1, 2]", "for merging"),
    "code": ("a: !!python/object/apply:os.system [true]", "tags such as"),
    "a tag of one's own": ("!own a", "tags such as !own are not read"),
    "a plain tag": ("a: ! b", "tags such as"),
    "bytes": ("a: !!binary aaaa", "tags such as"),
    "a set": ("!!set {a, b}", "tags such as"),
    "a key twice": ("MODEL: {z_dim: 1}\nMODEL: {}", "'MODEL' stands there twice (line 2)"),
    "a key twice within": ("MODEL: {z_dim: 1, z_dim: 2}", "'z_dim' stands there twice"),
    "a number as key": ("1: 2", "keys must be text, but '1' is none; put it in quotes"),
    "a truth value as key": ("on: 2", "keys must be text, but 'on'"),
    "nothing as key": ("~: 1", "keys must be text, but '~'"),
    "a list as key": ("[a]: b", "keys must be text, not lists"),
    "a mapping as key": ("{a: b}: c", "keys must be text, not lists or mappings"),
    "an equals sign": ("a: =", "(line 1)"),
    "a character beyond all": (r'a: "\UFFFFFFFF"', "what is no value"),
    "half a character": (r'a: "\uD800"', "the character U+D800 is not allowed (line 1)"),
    "the other half": (r'a: "\uDFFF"', "the character U+DFFF is not allowed"),
    "an escaped NUL": (r'a: "\0"', "the character U+0000 is not allowed"),
    "a NUL": (b"a: \0", "#x0000"),
    "an ESC": (b"a: \x1b[31m", "#x001b"),
    "a tab": ("a:\n\tb: 1", "cannot start any token (line 2)"),
    "an open list": ("a: [", "stream end"),
    "an open quote": ("a: 'b", "end of stream"),
    "two documents": ("a: 1\n---\nb: 2", "found another document"),
    "another version": ("%YAML 9.9\n---\na: 1", "version 1.* is required"),
    "a directive alone": ("%FOO", "document start"),
    "a reserved sign": ("a: @b", "cannot start any token"),
    "commas": ("a: [,,,]", "expected the node content"),
    "a colon": (":", "expected <block end>"),
    "UTF-16": ("a: 1".encode("utf-16"), "it is written in UTF-16; save it as UTF-8"),
    "Latin-1": (b"a: caf\xe9", "it is no UTF-8 (byte 6)"),
}  # fmt: skip


def test_there_are_enough_of_them() -> None:
    assert len(HOSTILE) >= 45


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_file_is_one_short_line(tmp_path: Path, name: str) -> None:
    content, says = HOSTILE[name]
    path = tmp_path / "c.yaml"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(UserError) as caught:
        read_config(str(path))
    line = str(caught.value)
    assert str(path) in line
    assert says in line
    assert "\n" not in line
    assert len(line) < 300 + len(str(path))


@pytest.mark.parametrize("name", [n for n in HOSTILE if isinstance(HOSTILE[n][0], str)])
def test_a_hostile_setting_is_one_short_line(name: str) -> None:
    content, says = HOSTILE[name]
    with pytest.raises(UserError) as caught:
        apply_settings({}, [f"MODEL.x={content}"])
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 500


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("a: 5e-4", {"a": 0.0005}),
        ("a: 1e3", {"a": 1000.0}),
        ("a: 2020-13-45", {"a": "2020-13-45"}),  # no such day; dates are text
        ("a: 2020-01-01", {"a": "2020-01-01"}),
        ("a: &a [1]\nb: *a", {"a": [1], "b": [1]}),  # as PyYAML itself writes a list twice
        ("a: &a {x: 1, y: 2}\nb: {<<: *a, x: 3}", {"a": {"x": 1, "y": 2}, "b": {"x": 3, "y": 2}}),
        (f"a: {2**64 - 1}", {"a": 2**64 - 1}),
        ("a: 'two\n\n  lines\ttab'", {"a": "two\nlines\ttab"}),
        (r'a: "caf\uDCE9\e\N"', {"a": "caf\udce9\x1b\x85"}),  # a path, as PyYAML writes it
        ("", None),
    ],
)
def test_what_is_read(text: str, value: object) -> None:
    assert load_yaml(text) == value


def test_up_to_the_limits_it_is_read() -> None:
    assert len(load_yaml("[" + "1," * (MAX_NODES - 1) + "]")) == MAX_NODES - 1
    deep = load_yaml("[" * MAX_DEPTH + "]" * MAX_DEPTH)
    for _ in range(MAX_DEPTH - 1):
        (deep,) = deep
    assert deep == []
    assert len(load_yaml("x" * MAX_SCALAR)) == MAX_SCALAR
    assert load_yaml("0." + "1" * (MAX_DIGITS - 2)) == pytest.approx(1 / 9)
    assert load_yaml("#" * MAX_BYTES) is None
    for beyond in ("[" + "1," * MAX_NODES + "]", "x" * (MAX_SCALAR + 1), "#" * (MAX_BYTES + 1)):
        with pytest.raises(YamlError):
            load_yaml(beyond)


def test_the_error_is_one_of_pyyamls() -> None:
    with pytest.raises(yaml.YAMLError):
        load_yaml("a: [")


def test_a_byte_order_mark_of_utf8_is_passed_over(tmp_path: Path) -> None:
    path = tmp_path / "c.yaml"
    path.write_bytes(b"\xef\xbb\xbfMODEL: {z_dim: 3}\n")
    assert read_config(str(path))[2] == {"MODEL": {"z_dim": 3}}


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no named pipes")
def test_what_is_no_regular_file_is_refused_and_never_waited_for(tmp_path: Path) -> None:
    pipe, folder, loop = tmp_path / "pipe.yaml", tmp_path / "folder.yaml", tmp_path / "loop.yaml"
    os.mkfifo(pipe)
    folder.mkdir()
    loop.symlink_to(loop)
    for path, says in ((pipe, "a pipe"), (folder, "a folder"), (Path("/dev/zero"), "a device")):
        with pytest.raises(UserError, match=f"Cannot read the file {path}: it is {says}"):
            read_yaml_file(path)
    with pytest.raises(UserError, match=r"loop\.yaml"):
        read_yaml_file(loop)
