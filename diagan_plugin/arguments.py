"""Checks that several parts make of their arguments. Free of torch."""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterable, Mapping
from typing import Any, SupportsFloat, SupportsIndex, TypeVar

__all__ = ["as_array", "as_kind", "as_real", "as_state", "as_whole", "as_work", "check_data"]

KindT = TypeVar("KindT")
WorkT = TypeVar("WorkT", bound=Callable[..., Any])


def as_whole(name: str, value: SupportsIndex, least: int | None = None) -> int:
    """Returns a whole number of any type as an int; 2.5 is not silently taken for 2.

    Args:
        name: What to call it in the message.
        value: The number.
        least: The smallest that it may be, if there is one.

    Raises:
        TypeError: It is no whole number.
        ValueError: It is below the smallest.
    """
    try:
        number = operator.index(value)
    except (TypeError, ValueError, RuntimeError):  # of a tensor torch says what it likes
        raise TypeError(
            f"Argument `{name}` must be a whole number, but got {_shown(value)}."
        ) from None
    if least is not None and number < least:
        raise ValueError(f"Argument `{name}` must be at least {least}, but got {number}.")
    return number


def as_real(name: str, value: SupportsFloat) -> float:
    """Returns a number of any type as a float; text is none.

    Raises:
        TypeError: It is no number.
    """
    try:
        if not isinstance(value, (str, bytes)):
            return float(value)
    except (TypeError, ValueError, RuntimeError, OverflowError):
        pass
    raise TypeError(f"Argument `{name}` must be a number, but got {_shown(value)}.")


def as_kind(name: str, value: Any, kind: type[KindT]) -> KindT:
    """Returns a value that is of a kind.

    Raises:
        TypeError: It is not.
    """
    if not isinstance(value, kind):
        raise TypeError(f"Argument `{name}` must be a {kind.__name__}, but got {_shown(value)}.")
    return value


def as_work(name: str, value: WorkT) -> WorkT:
    """Returns something that can be called.

    Raises:
        TypeError: It cannot.
    """
    if not callable(value):
        raise TypeError(f"Argument `{name}` must be a function, but got {_shown(value)}.")
    return value


def as_state(state: Any, keys: Iterable[str] = ()) -> Mapping[str, Any]:
    """Returns a state to load that has these keys.

    Raises:
        TypeError: It is no mapping.
        ValueError: A key is missing.
    """
    if not isinstance(state, Mapping):
        raise TypeError(f"Argument `state` must be a mapping, but got {_shown(state)}.")
    if missing := [key for key in keys if key not in state]:
        raise ValueError(f"Argument `state` must hold {missing[0]!r}, but does not.")
    return state


def check_data(name: str, values: Any) -> None:
    """Refuses tensors without plain numbers in memory (meta, sparse, quantised), and no numbers.

    Raises:
        TypeError: It is such.
    """
    if hasattr(values, "is_meta"):
        if values.is_meta or values.is_quantized or str(values.layout) != "torch.strided":
            kind = "meta" if values.is_meta else "sparse or quantised"
            raise TypeError(
                f"Argument `{name}` must be a plain, dense tensor, but got a {kind} one."
            )
    elif not hasattr(values, "dtype"):
        import numpy as np

        try:
            found = np.asarray(values).dtype.kind
        except (TypeError, ValueError, RuntimeError, OverflowError):
            found = "O"
        if found not in "iufbc":
            raise TypeError(f"Argument `{name}` must be real numbers, but got {_shown(values)}.")
    elif getattr(values.dtype, "kind", "f") not in "iufbc":
        raise TypeError(f"Argument `{name}` must be real numbers, but got dtype {values.dtype}.")


def as_array(name: str, values: Any) -> Any:
    """Returns the array of a tensor on any device and of any type, of an array or of a list.

    Raises:
        TypeError: As for :func:`check_data`.
    """
    import numpy as np

    check_data(name, values)
    if hasattr(values, "detach"):
        values = values.detach().cpu()
        values = (values.double() if values.is_floating_point() else values).numpy()
    return np.asarray(values)


def _shown(value: Any) -> str:
    """Shows a value in a line, a tensor or an array by its kind and shape."""
    if hasattr(value, "shape"):
        return f"{type(value).__name__} {list(value.shape)}"
    text = " ".join(repr(value).split())
    return text if len(text) <= 80 else f"{text[:79]}…"
