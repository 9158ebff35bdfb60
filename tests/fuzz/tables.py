"""Tables of samples, as `diagan export` writes them, and lists of samples for `--dia-exclude`."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from hypothesis import strategies as st

from diagan_plugin import DiaSampler, load_export
from diagan_plugin.dia.exclusion import read_listed
from diagan_plugin.report.sample_table import COLUMNS
from gan_registry.datasets.base import ArrayDataset
from gan_registry.errors import UserError
from tests.fuzz.files import EDITS, Edit, edited
from tests.fuzz.harness import Target, check_message, is_refused, scratch
from tests.fuzz.values import ODD_TEXTS, TEXT

NUM = 5
_DATA = ArrayDataset("fuzzed", np.zeros((NUM, 2), np.float32), np.zeros(NUM, np.int64))
_CELLS = st.one_of(
    st.sampled_from(["0", "4", "5", "-1", "row 2", "./row 2", "nan", "inf", "1e400", "", "0.25"]),
    st.integers().map(str),
    TEXT,
    ODD_TEXTS,
)
_ARRAYS = st.sampled_from(
    [np.arange(3), np.array(["row 1", "x"]), np.array([b"row 1"]), np.array(2), np.zeros((2, 2)),
     np.array([0.0, 1.5, np.nan]), np.array([True, False]), np.zeros(0, np.int64),
     np.array(["2001-01-01"], "datetime64[D]"), np.array([2**63], np.uint64), np.array([1 + 2j]),
     np.array([(1, "row 1", 0.5)], [("index", "i8"), ("path", "U9"), ("probability", "f8")]),
     np.array([([1, 2],)], [("index", "i8", 2)]), np.array([(1,), (2,)], [("x", "i8")]),
     np.array([{"a": 1}], object)]
)  # fmt: skip


def _saved(array: np.ndarray[Any, Any]) -> bytes:
    file = io.BytesIO()
    np.save(file, array)
    return file.getvalue()


@st.composite
def tables(draw: Any) -> tuple[str, bytes, list[Edit]]:
    """How a file ends, what it holds, and what is done to that."""
    suffix = draw(st.sampled_from([".csv", ".csv", ".npy", ".txt"]))
    edits = draw(st.lists(EDITS, max_size=2))
    if suffix == ".npy":
        return suffix, _saved(draw(_ARRAYS)), edits
    head = draw(st.lists(st.sampled_from([*COLUMNS, "x", ""]), min_size=1, max_size=4))
    rows = draw(st.lists(st.lists(_CELLS, min_size=len(head), max_size=len(head)), max_size=4))
    lines = [head, *rows] if suffix == ".csv" else rows
    text = "".join(f"{','.join(line)}\n" for line in lines)
    return suffix, text.encode("utf-8", "surrogateescape"), edits


def read_tables(case: tuple[str, bytes, list[Edit]]) -> bool:
    """Reads such a file as a list of samples and as an export, and draws by its weights."""
    suffix, content, edits = case
    for edit in edits:
        content = edited(content, edit) if content else content
    with scratch():
        path = Path(f"samples{suffix}")
        path.write_bytes(content)
        taken = _is_taken(lambda: read_listed(path, _DATA))
        columns: dict[str, Any] = {}
        taken |= _is_taken(lambda: columns.update(load_export(path)))
        if "probability" in columns:
            is_refused(lambda: DiaSampler.from_weights(columns["probability"]), ("weights", "num_"))
        return taken


def _is_taken(read: Callable[[], Any]) -> bool:
    """Whether a file is read, rather than refused in a line."""
    try:
        read()
    except UserError as error:
        check_message(str(error))
        return False
    return True


_NO_TEXT = _saved(np.array(["row 1", "x"]))[:-1] + b"\xff"
_TWO_A_ROW = _saved(np.array([([1, 2],)], [("index", "i8", 2)]))
_BROKEN_HEADER = _saved(np.array([b"row 1"])).replace(b"(1,), }", b"(1,), ")
TARGETS = (
    Target(
        "tables",
        tables(),
        read_tables,
        40,
        least=0.2,
        pinned=[(".npy", content, []) for content in (_NO_TEXT, _TWO_A_ROW, _BROKEN_HEADER)],
    ),
)
