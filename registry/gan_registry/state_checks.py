"""What a plugin takes back from a checkpoint, checked: a number that is one, a tensor that fits.

A file may have been written by anybody; what is wrong with it shall be said where it is read.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor


def whole(state: Mapping[str, Any], key: str, low: int = 0, high: int = 2**53) -> int:
    """Returns a whole number of a state.

    Raises:
        KeyError: There is none of that name.
        ValueError: It is something else, or not within [low, high].
    """
    value = state[key]
    if type(value) is not int or not low <= value <= high:
        raise ValueError(f"{key!r} must be a whole number in [{low}, {high}], not {_shown(value)}")
    return value


def wholes(state: Mapping[str, Any], key: str) -> list[int]:
    """Returns a list of whole numbers of a state, of 0 or more, increasing.

    Raises:
        KeyError: There is none of that name.
        ValueError: It is something else.
    """
    values = state[key]
    if not isinstance(values, list) or not all(type(v) is int and v >= 0 for v in values):
        raise ValueError(f"{key!r} must be a list of whole numbers, not {_shown(values)}")
    if any(after <= before for before, after in itertools.pairwise(values)):
        raise ValueError(f"{key!r} must increase")
    return values


def tensor(
    state: Mapping[str, Any], key: str, dtype: torch.dtype | None, shape: tuple[int | None, ...]
) -> Tensor:
    """Returns a tensor of a state.

    Args:
        state: The state.
        key: Its name.
        dtype: Its type; None stands for any.
        shape: Its shape; None stands for any size.

    Raises:
        KeyError: There is none of that name.
        ValueError: It is something else.
    """
    value = state[key]
    if (
        not isinstance(value, Tensor)
        or dtype not in (None, value.dtype)
        or value.dim() != len(shape)
        or any(asked not in (None, size) for asked, size in zip(shape, value.shape, strict=True))
    ):
        sizes = ", ".join("any" if size is None else str(size) for size in shape)
        raise ValueError(
            f"{key!r} must be a tensor [{sizes}] of {dtype or 'any type'}, not {_shown(value)}"
        )
    return value


def _shown(value: Any) -> str:
    if isinstance(value, Tensor):
        return f"one {list(value.shape)} of {value.dtype}"
    if isinstance(value, int) and abs(value) >= 2**63:
        return "one beyond all bounds"
    if isinstance(value, (str, int, float)):
        return repr(value)[:60]
    return f"a {type(value).__name__}"
