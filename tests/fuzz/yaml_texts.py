"""YAML: texts with the grammar's own pieces, damaged configurations, and bytes that are no text."""

from __future__ import annotations

from importlib import resources
from pathlib import Path

from hypothesis import strategies as st

from gan_registry.config.load import load_config, packaged_configs
from tests.fuzz.harness import Target, is_refused, scratch
from tests.fuzz.values import ODD_TEXTS, TEXT, seldom

_SCALARS = st.one_of(
    TEXT,
    ODD_TEXTS,
    st.integers().map(str),
    st.floats().map(str),
    st.sampled_from(
        ["0x_", "0b", "0o8", "1_000", ".inf", ".nan", "1:30", "190:20:30.15", "2001-01-01", "~",
         "yes", "off", "=", "<<", "1e400", "9" * 50, "!!python/object:os.system", "!!binary aGk=",
         "!!set {a, b}", "&a", "*a", "|", ">-", "'", '"', '"\\ud800"', '"\\x00"', "@x", "`x",
         "%TAG ! x", "---", "...", "- ", "? ", ": ", "#", "\t", "{", "[", "}", "]", ","]
    ),
)  # fmt: skip
_KEYS = st.one_of(
    st.sampled_from(["DATA", "MODEL", "LOSS", "PLUGINS", "RUN", "name", "z_dim", "dia", "k", "<<"]),
    _SCALARS,
)


def _collection(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    pairs = st.lists(st.tuples(_KEYS, inner), max_size=4)
    anchors = st.sampled_from(["", "", "&a ", "&b ", "!!map ", "!x "])
    return st.one_of(
        st.lists(inner, max_size=4).map(lambda each: f"[{', '.join(each)}]"),
        st.tuples(anchors, pairs).map(
            lambda each: f"{each[0]}{{{', '.join(f'{k}: {v}' for k, v in each[1])}}}"
        ),
        pairs.map(lambda each: "\n" + "\n".join(f"  {k}: {v}" for k, v in each)),
    )


_VALUES = st.recursive(_SCALARS, _collection, max_leaves=10)
_STRUCTURED = st.lists(st.tuples(_KEYS, _VALUES), max_size=5).map(
    lambda pairs: "\n".join(f"{key}: {value}" for key, value in pairs).encode(errors="replace")
)


@st.composite
def _damaged(draw: st.DrawFn) -> bytes:
    """A packaged configuration of which pieces are cut, put twice or put elsewhere."""
    name = draw(st.sampled_from(packaged_configs()))
    text = resources.files("gan_registry.configs").joinpath(f"{name}.yaml").read_bytes()
    for _ in range(draw(st.integers(0, 3))):
        start = draw(st.integers(0, len(text)))
        stop = draw(st.integers(start, min(len(text), start + 40)))
        piece = draw(st.one_of(st.just(b""), st.just(2 * text[start:stop]), st.binary(max_size=4)))
        text = text[:start] + piece + text[stop:]
    return text


def read(content: bytes) -> bool:
    """Reads a file of that content as a configuration."""
    with scratch():
        Path("case.yaml").write_bytes(content)
        return not is_refused(lambda: load_config("case.yaml"), ["case.yaml"])


def bomb(name: str, times: int) -> bytes:
    """Aliases of aliases."""
    lines = [f"{name}0: &{name}0 [x, x]"]
    lines += [f"{name}{i}: &{name}{i} [*{name}{i - 1}, *{name}{i - 1}]" for i in range(1, times)]
    return "\n".join(lines).encode()


TARGETS = (
    Target(
        "yaml",
        seldom(0.2, st.one_of(_STRUCTURED, _damaged()), st.binary(max_size=60)),
        read,
        100,
        least=0.02,
        pinned=(b"", b"\xff\xfea", b"a: [", bomb("a", 60), b"[" * 5000, b"{a: " * 5000),
    ),
)
