"""Reads CelebA's two lists: 40 attributes of each image, and the split each belongs to."""

from __future__ import annotations

import re
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from gan_registry.datasets.base import Ints
from gan_registry.datasets.labels import shown_names
from gan_registry.errors import UserError
from gan_registry.formatting import printable
from gan_registry.regular_files import read_regular

_MAX_TABLE = 2**28  # bytes; that of the 202,599 images has 26 million


class Attributes(NamedTuple):
    """A table of attributes.

    Attributes:
        files: Name of each image [N].
        names: Name of each attribute [A].
        values: bool [N, A].
    """

    files: list[str]
    names: tuple[str, ...]
    values: npt.NDArray[np.bool_]


def read_attributes(path: Path) -> Attributes:
    """Reads `list_attr_celeba.txt`, or Kaggle's .csv of it.

    The text has the number of images, the names of attributes, then a line for each image with its
    name and 1 or -1 for each attribute. The .csv lacks the first line and has commas.

    Raises:
        UserError: A line is not of that form; the message names it.
    """
    lines = _lines(path)
    is_csv = path.suffix == ".csv"
    start = 1 if is_csv else 2
    if len(lines) <= start:
        raise UserError(f"{path} is damaged: it has only {len(lines)} lines.")
    names = shown_names(lines[0].split(",")[1:] if is_csv else lines[1].split(), path)
    if not names or (not is_csv and not lines[0].strip().isdecimal()):
        raise UserError(
            f"{path} is no list of attributes: its first two lines must be the number of images "
            "and the attributes' names."
        )
    files, rows = list[str](), list[list[bool]]()
    allowed = {"1", "-1"}
    for number, line in enumerate(lines[start:], start + 1):
        file, *values = _parts(line, is_csv)
        if len(values) != len(names) or not allowed.issuperset(values):
            raise UserError(
                f"{path}, line {number}: expected an image's name and {len(names)} times 1 or -1, "
                f"but got {_shorten(line)!r}."
            )
        files.append(file)
        rows.append([value == "1" for value in values])
    if not is_csv and lines[0].strip().lstrip("0") != str(len(files)):
        raise UserError(
            f"{path} is damaged: line 1 announces {lines[0].strip()} images, but it has "
            f"{len(files)}."
        )
    return Attributes(files, names, np.array(rows, np.bool_))


def read_partition(path: Path, files: list[str]) -> Ints:
    """Reads the split of each of the files from `list_eval_partition.txt` (or .csv).

    A line is an image's name and a number: 0 train, 1 valid, 2 test.

    Returns:
        int64 [N] in the order of `files`.

    Raises:
        UserError: A line is not of that form, or an image is missing; the message names it.
    """
    is_csv = path.suffix == ".csv"
    found = dict[str, int]()
    for number, line in enumerate(_lines(path), 1):
        if is_csv and number == 1:
            continue
        parts = _parts(line, is_csv)
        if len(parts) != 2 or parts[1] not in ("0", "1", "2"):
            raise UserError(
                f"{path}, line {number}: expected an image's name and 0, 1 or 2, but got "
                f"{_shorten(line)!r}."
            )
        found[parts[0]] = int(parts[1])
    missing = next((file for file in files if file not in found), None)
    if missing is not None:
        raise UserError(f"{path} does not say to which split {missing} belongs.")
    return np.array([found[file] for file in files], np.int64)


def _lines(path: Path) -> list[str]:
    # Names may be no UTF-8, and splitlines would end a line at characters that names may have.
    text = read_regular(path, _MAX_TABLE).decode("utf-8-sig", "surrogateescape")
    lines = [line.removesuffix("\r") for line in text.split("\n")]
    return lines if lines[-1] else lines[:-1]


def _parts(line: str, is_csv: bool) -> list[str]:
    """Takes a line apart at commas or blanks; not at other white space, which names may have."""
    return line.split(",") if is_csv else re.split("[ \t]+", line.strip(" \t"))


def _shorten(line: str) -> str:
    return printable(line if len(line) <= 60 else line[:57] + "…")
