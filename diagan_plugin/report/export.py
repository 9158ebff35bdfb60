"""The table of samples as a file, .csv, .parquet or .npy, and read from one."""

from __future__ import annotations

import csv
import importlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from diagan_plugin.report.diagnosis import Diagnosis
from diagan_plugin.report.sample_table import COLUMNS, data_frame, sample_columns
from gan_registry.errors import UserError
from gan_registry.files import atomic_write
from gan_registry.formatting import one_line
from gan_registry.numpy_files import load_arrays

Columns = dict[str, NDArray[Any]]
_WHOLE = ("index", "cluster")
_REAL = ("LDRM", "LDRV", "score", "probability")


def write_export(diagnosis: Diagnosis, path: str | Path) -> Path:
    """Writes the table of samples of a diagnosis, whole or not at all.

    Args:
        diagnosis: What is written, a row a sample; the columns are those of
            :func:`~diagan_plugin.report.sample_table.sample_columns`.
        path: A file that ends in .csv (UTF-8, an empty cell for what is unknown), .parquet (takes
            the extra `pandas`) or .npy (a structured array; texts have a fixed width).

    Returns:
        The path.

    Raises:
        UserError: It ends otherwise, a package is missing, or it cannot be written.
    """
    path = Path(path)
    write = _choose(path, _WRITERS)
    with atomic_write(path) as temporary:
        write(diagnosis, temporary)
    return path


def load_export(path: str | Path) -> Columns:
    """Reads a file that `diagan export` wrote, or a part of one.

    Returns:
        Column → array [N]. Those of `diagan export` that are there have their types (`index` and
        `cluster` int64, the statistics float64, others text); further ones are text.

    Raises:
        UserError: There is none, it is of another kind, or damaged; the message says what is.

    Example:
        >>> weights = load_export("samples.csv")["probability"]  # doctest: +SKIP
        >>> sampler = WeightedRandomSampler(weights, len(weights))  # doctest: +SKIP
    """
    path = Path(path)
    read = _choose(path, _READERS)
    if not path.is_file():
        raise UserError(f"There is no file {path}; 'diagan export' writes one.")
    try:
        return {name: _typed(name, column) for name, column in read(path).items()}
    except UserError:
        raise
    except Exception as error:  # of pandas and NumPy: whatever a damaged file makes them raise
        reason = one_line(error) or type(error).__name__
        raise UserError(f"Cannot read {path} as {path.suffix}: {reason}") from error


def check_suffix(path: Path) -> None:
    """Refuses a file of another kind.

    Raises:
        UserError: Its name ends otherwise.
    """
    _choose(path, _WRITERS)


def _choose(path: Path, ways: dict[str, Callable[..., Any]]) -> Callable[..., Any]:
    try:
        return ways[path.suffix.lower()]
    except KeyError:
        raise UserError(f"{path} must end in .csv, .parquet or .npy.") from None


def _write_csv(diagnosis: Diagnosis, path: Path) -> None:
    cells = []
    for name, column in sample_columns(diagnosis).items():
        values = column.tolist()
        if name in _REAL:
            values = [
                "" if value != value else repr(value) for value in values
            ]  # NaN is not itself
        elif name == "cluster":
            values = ["" if value < 0 else value for value in values]
        cells.append(values)
    with path.open("w", encoding="utf-8", errors="surrogateescape", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(COLUMNS)
        writer.writerows(zip(*cells, strict=True))


def _write_parquet(diagnosis: Diagnosis, path: Path) -> None:
    frame = data_frame(diagnosis)
    try:
        frame.to_parquet(path, index=False)
    except ImportError as error:
        raise UserError(
            "A .parquet file needs pyarrow: pip install 'diagan-plugin[pandas]'."
        ) from error


def _write_npy(diagnosis: Diagnosis, path: Path) -> None:
    columns = sample_columns(diagnosis)
    plain = {n: c.astype(np.str_) if c.dtype == object else c for n, c in columns.items()}
    table = np.empty(
        diagnosis.num_samples, [(name, column.dtype) for name, column in plain.items()]
    )
    for name, column in plain.items():
        table[name] = column
    with path.open("wb") as file:  # given a name, NumPy would add a suffix
        np.save(file, table, allow_pickle=False)


def _read_csv(path: Path) -> Columns:
    with path.open(encoding="utf-8-sig", errors="surrogateescape", newline="") as file:
        rows = list(csv.reader(file, strict=True))
    if not rows:
        raise ValueError("it is empty.")
    head, rows = rows[0], [row for row in rows[1:] if row]
    for number, row in enumerate(rows, 2):
        if len(row) != len(head):
            raise ValueError(f"row {number} has {len(row)} cells, but the head {len(head)}.")
    return {name: np.array([row[place] for row in rows], object) for place, name in enumerate(head)}


def _read_parquet(path: Path) -> Columns:
    try:
        pd: Any = importlib.import_module("pandas")

        frame = pd.read_parquet(path)
    except ImportError as error:
        raise UserError(
            "A .parquet file needs pandas and pyarrow: pip install 'diagan-plugin[pandas]'."
        ) from error
    if "cluster" in frame:
        frame["cluster"] = frame["cluster"].fillna(-1)
    return {str(name): frame[name].to_numpy() for name in frame}


def _read_npy(path: Path) -> Columns:
    table = load_arrays(path).get("x")
    if table is None or table.dtype.names is None or table.ndim != 1:
        raise ValueError("it is no table of samples, but an array.")
    return {name: table[name] for name in table.dtype.names}


def _typed(name: str, column: NDArray[Any]) -> NDArray[Any]:
    if column.ndim != 1:
        raise ValueError(f"its column {name!r} holds several values a row.")
    if name not in (*_WHOLE, *_REAL):
        return column.astype(object)
    if column.dtype == object:
        empty = "-1" if name == "cluster" else "nan"
        column = np.array([empty if value == "" else value for value in column], object)
    try:
        return column.astype(np.int64 if name in _WHOLE else np.float64)
    except (ValueError, TypeError, OverflowError):
        raise ValueError(f"its column {name!r} holds more than numbers.") from None


_WRITERS: dict[str, Callable[[Diagnosis, Path], None]] = {
    ".csv": _write_csv, ".parquet": _write_parquet, ".npy": _write_npy,
}  # fmt: skip
_READERS: dict[str, Callable[[Path], Columns]] = {
    ".csv": _read_csv, ".parquet": _read_parquet, ".npy": _read_npy,
}  # fmt: skip
