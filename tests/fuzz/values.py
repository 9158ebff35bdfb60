"""Strategies that several targets draw from: what a user may write where something else belongs."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

# Lone surrogates are no text: as names of files have them, they are drawn apart.
TEXT = st.text(st.characters(exclude_categories=("Cs",)), max_size=12)

ODD_NUMBERS = st.sampled_from(
    [0, -1, 1, 2**31, 2**63, 2**64, -(2**63), 10**30, 0.0, -0.0, 1e-320, 1e308, -1e308,
     float("nan"), float("inf"), -float("inf"), 0.1]
)  # fmt: skip

ODD_TEXTS = st.sampled_from(
    ["", " ", "N/A", "null", "nan", "-1", "1e5", "0x10", "../..", "/dev/null", "/dev/zero", ".",
     "a\nb", "\x1b[31m", "\u2028", "caf\udce9", "%s", "{0}", "--", "'", "x" * 300, "\x00", "🙂"]
)  # fmt: skip

SCALARS = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), TEXT, ODD_NUMBERS, ODD_TEXTS
)

PLAIN: st.SearchStrategy[Any] = st.recursive(
    SCALARS,
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(TEXT, inner, max_size=3)),
    max_leaves=6,
)
"""Anything that YAML or JSON can hold."""


def seldom(probability: float, usual: st.SearchStrategy[Any], else_: st.SearchStrategy[Any]) -> Any:
    """Draws from the second strategy with a probability, from the first otherwise."""
    parts = max(2, round(1 / probability))
    return st.integers(0, parts - 1).flatmap(lambda n: else_ if n == parts - 1 else usual)
