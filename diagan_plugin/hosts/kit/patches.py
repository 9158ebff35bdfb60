"""Replaces attributes for a while, and puts them back."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any


class Patches:
    """Attributes that are replaced until :meth:`undo`.

    A replacement is called with the original as its first argument.
    """

    def __init__(self) -> None:
        self._undo: list[tuple[Any, str, Any]] = []

    def around(self, owner: Any, name: str, replacement: Callable[..., Any]) -> None:
        """Lets `replacement(original, *args, **kwargs)` be called instead of `owner.name`."""
        original = getattr(owner, name)

        # A function of its own, not a partial: as an attribute of a class it becomes a method, and
        # with the original's name it is pickled by reference.
        @functools.wraps(original, updated=())
        def replaced(*args: Any, **kwargs: Any) -> Any:
            return replacement(original, *args, **kwargs)

        self.put(owner, name, replaced)

    def put(self, owner: Any, name: str, value: Any) -> None:
        """Puts a value in the place of `owner.name`."""
        self._undo.append((owner, name, getattr(owner, name)))
        setattr(owner, name, value)

    def undo(self) -> None:
        """Puts the originals back."""
        while self._undo:
            owner, name, original = self._undo.pop()
            setattr(owner, name, original)
