"""A diagnosis as a table of samples: for pandas, for notebooks, and for the exported files.

A :class:`~diagan_plugin.report.diagnosis.Diagnosis` calls these; so it is not imported here.
"""

from __future__ import annotations

import html
import importlib
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from diagan_plugin.report.names import row_name
from gan_registry.errors import UserError
from gan_registry.formatting import format_cell, printable

COLUMNS = (
    "index", "path", "label", "group", "LDRM", "LDRV", "score", "probability", "cluster", "verdict",
)  # fmt: skip
_SHOWN = 10
_NOTHING = ""


def sample_columns(diagnosis: Any) -> dict[str, NDArray[Any]]:
    """Returns a diagnosis as columns of one value a sample, by the names in :data:`COLUMNS`.

    `path` is what the sample is called; `label` and `group` are names where the run knew such, else
    numbers, and "" where unknown; `cluster` is -1 and `verdict` "" where nothing is known.
    """
    num = diagnosis.num_samples
    index = np.arange(num, dtype=np.int64)
    unknown = np.full(num, -1, np.int64)
    return {
        "index": index,
        "path": _text(diagnosis.names or map(row_name, range(num)), num),
        "label": _named(
            diagnosis.label if diagnosis.label.size else unknown, diagnosis.label_names
        ),
        "group": _named(diagnosis.group, diagnosis.group_names),
        "LDRM": diagnosis.ldrm,
        "LDRV": diagnosis.ldrv,
        "score": diagnosis.score,
        "probability": diagnosis.probability,
        "cluster": diagnosis.cluster if diagnosis.cluster.size else unknown,
        "verdict": _text(map(diagnosis.verdict, range(num)), num),
    }


def data_frame(diagnosis: Any) -> Any:
    """Returns a pandas DataFrame with :data:`COLUMNS`; a cluster that is none is missing there.

    Raises:
        UserError: pandas is not installed.
    """
    try:
        pd: Any = importlib.import_module("pandas")
    except ImportError as error:
        raise UserError(
            "A data frame needs pandas: pip install 'diagan-plugin[pandas]'."
        ) from error
    columns = sample_columns(diagnosis)
    # As shown: pandas and Parquet cannot hold names that are no UTF-8.
    columns["path"] = _text(map(printable, columns["path"]), diagnosis.num_samples)
    frame = pd.DataFrame(columns)
    frame["cluster"] = frame["cluster"].astype("Int64").where(frame["cluster"] >= 0)
    return frame


def html_table(diagnosis: Any) -> str:
    """Returns the samples with the highest scores as an HTML table, for a notebook."""
    score = diagnosis.score
    ranked = np.argsort(np.where(np.isnan(score), -np.inf, score), kind="stable")[::-1][:_SHOWN]
    rows = [
        (
            f"{index:,}",
            diagnosis.name(index),
            _name(int(diagnosis.group[index]), diagnosis.group_names),
            *(format_cell(float(array[index]), ".4g")
              for array in (diagnosis.ldrm, diagnosis.ldrv, score)),
        )
        for index in ranked.tolist()
    ]  # fmt: skip
    head = ("index", "path", "group", "LDRM", "LDRV", "score")
    lines = [
        f"<p>{html.escape(repr(diagnosis))}. The {len(rows)} with the highest score:</p>",
        "<table>",
        _row(head, "th"),
        *(_row(row, "td") for row in rows),
        "</table>",
    ]
    return "\n".join(lines)


def _row(cells: Sequence[str], tag: str) -> str:
    inner = "".join(f"<{tag}>{html.escape(printable(cell))}</{tag}>" for cell in cells)
    return f"<tr>{inner}</tr>"


def _named(numbers: NDArray[np.int64], names: Sequence[str]) -> NDArray[Any]:
    """Returns a name for each number [N], "" for -1; the number itself where it has no name."""
    found, places = np.unique(numbers, return_inverse=True)
    return np.array([_name(number, names) for number in found.tolist()], object)[places]


def _name(number: int, names: Sequence[str]) -> str:
    if number < 0:
        return _NOTHING
    return names[number] if number < len(names) else str(number)


def _text(texts: Any, count: int) -> NDArray[Any]:
    column = np.empty(count, object)
    column[:] = list(texts)
    return column
