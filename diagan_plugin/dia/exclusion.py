"""The samples that `--dia-exclude FILE` lists: read once, then part of the run."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray

from diagan_plugin.report.export import load_export
from gan_registry.errors import UserError
from gan_registry.formatting import printable
from gan_registry.numpy_files import load_arrays
from gan_registry.regular_files import read_regular
from gan_registry.state_checks import tensor

if TYPE_CHECKING:
    from gan_registry.datasets.base import Dataset
    from gan_registry.live_run import LiveRun

Integers = NDArray[np.int64]
FLAG = "--dia-exclude"
_MAX_FILE = 2**30  # bytes
_COLUMNS = ("path", "index")


def settled(run: LiveRun, file: str, recorded: Integers | None) -> Integers | None:
    """Returns the samples to exclude in a run that begins or goes on.

    Args:
        run: The run, with its dataset.
        file: The list; "" where there is none.
        recorded: What the run began with; None where it begins. A list that has been deleted since
            is not missed.

    Raises:
        UserError: The list cannot be used, or is another one than the run began with.
    """
    if not file or (recorded is not None and not Path(file).expanduser().exists()):
        return recorded
    found = read_listed(Path(file).expanduser(), run.dataset, run.config.DATA.path)
    if recorded is not None:
        _check_same(found, recorded, file)
    return found


def restored(
    state: Mapping[str, Any], num_samples: int, found: Integers | None, file: str
) -> Integers | None:
    """Returns the samples that a checkpoint says were excluded; `found` are those just read.

    Raises:
        UserError: They differ.
        ValueError: The checkpoint holds no indices of samples.
    """
    if state.get("excluded") is None:
        return found
    recorded: Integers = tensor(state, "excluded", torch.int64, (None,)).numpy()
    if recorded.size and not (recorded.min() >= 0 and recorded.max() < num_samples):
        raise ValueError(f"'excluded' must lie in [0, {num_samples})")
    if found is not None:
        _check_same(found, recorded, file)
    return recorded


def _check_same(found: Integers, recorded: Integers, file: str) -> None:
    if not np.array_equal(found, recorded):
        raise UserError(
            f"{FLAG} {file} lists {found.size:,} samples, other ones than the {recorded.size:,} "
            "with which this run began: put that list back, or start anew in another folder with "
            "--out."
        )


def read_listed(file: Path, dataset: Dataset, data: Path | str | None = None) -> Integers:
    """Reads which samples of a dataset a file lists.

    Args:
        file: Text with a name or an index a line, where lines that begin with # are remarks; a .csv
            or .parquet file with a column `path` or `index`, such as a part of what `diagan export`
            writes; or a .npy array of names, of indices, or with one of these columns.
        dataset: The training data, whose `sample_names` are meant.
        data: The data's folder; a path may begin with it.

    Returns:
        Their indices, int64, ascending, each once.

    Raises:
        UserError: The file is missing or of another form, or lists what is not in the dataset.
    """
    if not file.is_file():
        raise UserError(f"{FLAG} {file} is no file; give a list of samples, one a line.")
    names = _Names(dataset, data)
    found, unknown = set[int](), list[str]()
    for entry in _entries(file):
        index = names.find(entry)
        if index is None:
            unknown.append(str(entry))
        else:
            found.add(index)
    if unknown:
        raise UserError(
            f"{FLAG} {file} lists {printable(unknown[0])!r}"
            f"{f' and {len(unknown) - 1:,} more' if len(unknown) > 1 else ''}, which the dataset "
            f"{dataset.name!r} does not have. Its {len(dataset):,} samples are called such as "
            f"{printable(names.first)!r}: list these names, or indices from 0 on."
        )
    return np.array(sorted(found), np.int64)


class _Names:
    """Finds samples by what a list may call them."""

    def __init__(self, dataset: Dataset, data: Path | str | None) -> None:
        self._count = len(dataset)
        names = dataset.sample_names(np.arange(self._count, dtype=np.int64))
        self.first = names[0]
        # A name as it is shown, with escapes, is that sample too.
        self._places = {printable(name): index for index, name in enumerate(names)}
        self._places |= {name: index for index, name in enumerate(names)}
        self._data = None if data is None else os.path.abspath(os.path.expanduser(data))

    def find(self, entry: Any) -> int | None:
        """Returns the index of the sample that an entry means; None if there is none."""
        if isinstance(entry, str):
            for name in self._readings(entry):
                if name in self._places:
                    return self._places[name]
            if not entry.isdecimal():
                return None
        index = int(entry)
        return index if 0 <= index < self._count else None

    def _readings(self, entry: str) -> Iterator[str]:
        yield entry
        yield entry.removeprefix("./")
        if self._data is not None:
            yield Path(os.path.relpath(os.path.abspath(entry), self._data)).as_posix()


def _entries(file: Path) -> Iterable[Any]:
    """Returns the names (text) and indices (whole numbers) that a file lists."""
    if file.suffix.lower() == ".npy":
        array = _load_array(file)
        if array.dtype.names is None:
            return list(array)
    if file.suffix.lower() in (".npy", ".csv", ".parquet"):
        columns = load_export(file)
        for name in _COLUMNS:
            if name in columns:
                return list(columns[name])
        raise UserError(
            f"{FLAG} {file} has neither a column 'path' nor 'index', but "
            f"{', '.join(map(printable, columns)) or 'none at all'}."
        )
    text = read_regular(file, _MAX_FILE).decode("utf-8-sig", "surrogateescape")
    lines = (line.strip(" \t\r") for line in text.split("\n"))
    return [line for line in lines if line and not line.startswith("#")]


def _load_array(file: Path) -> NDArray[Any]:
    array = load_arrays(file).get("x")
    if array is None or array.ndim != 1 or array.dtype.kind not in "iuUV":
        raise UserError(f"{FLAG} {file} must hold a list of indices or names.")
    return array
