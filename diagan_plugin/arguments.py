"""Checks that several parts make of their arguments."""

from __future__ import annotations

import operator
from typing import SupportsIndex

__all__ = ["as_whole"]


def as_whole(name: str, value: SupportsIndex) -> int:
    """Returns a whole number of any type as an int; 2.5 is not silently taken for 2.

    Args:
        name: What to call it in the message.
        value: The number.

    Raises:
        TypeError: It is no whole number.
    """
    try:
        return operator.index(value)
    except TypeError:
        raise TypeError(f"Argument `{name}` must be a whole number, but got {value!r}.") from None
